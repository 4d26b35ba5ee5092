"""How figures are taken and told: medians of several runs, ratios against a peer of the same run."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: `unit` of both medians; `peer` empty where no peer runs here."""

    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    def cells(self) -> list[str]:
        theirs = f"{self.theirs:,.4g}" if self.theirs is not None else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        return [self.what, self.unit, f"{self.ours:,.4g}", self.peer, theirs, ratio, self.note]


def median_ms(action: Callable[[], object], runs: int, warm_up: int = 2) -> float:
    """The median duration of `action` in milliseconds, after a few runs that do not count."""
    for _ in range(warm_up):
        action()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def interleaved_ms(actions: dict[str, Callable[[], object]], runs: int, warm_up: int = 2) -> dict[str, float]:
    """Medians in milliseconds of several actions, run in turns so that a drift of the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(warm_up + runs):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            if turn >= warm_up:
                times[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}
