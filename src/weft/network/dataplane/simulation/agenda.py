"""Virtual time: what is to happen, in the order of its time, and among equals in the order of its planning.

In: calls with the time at which they are due. Out: those calls, with `now` at that time. There is no other clock in a
simulation, so that the same seed gives the same run.
"""

import heapq
from collections.abc import Callable
from typing import Any

from weft.core.errors import WeftError

FOREVER = float("inf")


class Agenda:
    """`now` is in seconds since the start; `done` counts the calls made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """A time that has passed means: next."""
        self._planned += 1
        heapq.heappush(self._heap, (max(when, self.now), self._planned, call, arguments))

    def after(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        self.at(self.now + seconds, call, *arguments)

    def next(self) -> float:
        """When the next call is due; `FOREVER` if there is none."""
        return self._heap[0][0] if self._heap else FOREVER

    def run(self, until: float, most: int = 1_000_000_000) -> None:
        """All calls up to a time, which it is then. Raises WeftError after `most` calls: it does not come to rest."""
        last = self.done + most
        heap = self._heap
        while heap and heap[0][0] <= until:
            if self.done >= last:
                raise WeftError(f"cannot go on with the simulation: {most} events by {self.now:g} s, and no end")
            self.now, _, call, arguments = heapq.heappop(heap)
            self.done += 1
            call(*arguments)
        self.now = max(self.now, until)
