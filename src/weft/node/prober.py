"""Probes the containers of this node: a task for each running container that has probes.

In: containers that started or stopped. Out: their health, and a call when it changes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from weft.core.clock import Clock
from weft.node.handlers import Handlers, Target
from weft.node.pods.model import Health
from weft.node.probes import Checks, probes_of


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of changes, and of failures worth an event (its message)."""

    changed: Callable[[], None]
    unhealthy: Callable[[str], None]


class Prober:
    """One pod's probes, by container id."""

    def __init__(self, handlers: Handlers, clock: Clock) -> None:
        self._handlers, self._clock = handlers, clock
        self._checks: dict[str, tuple[str, Checks]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, target: Target, started_at: float, listener: Listener, *, ready: bool) -> None:
        """Begins with a container, once; `ready` is what it was known to be before this process lived."""
        probes = probes_of(target.container)
        if target.id in self._checks or not probes:
            return
        name = target.container["name"]
        self._checks[target.id] = (name, Checks(probes, started_at, ready=ready))
        loop = asyncio.get_running_loop()
        self._tasks[target.id] = loop.create_task(self._run(target, listener), name=f"probe {name}")

    def health(self, id: str) -> Health | None:
        """None where it has no probes."""
        if id not in self._checks:
            return None
        name, checks = self._checks[id]
        return checks.health(name)

    def keep(self, ids: frozenset[str]) -> None:
        """Ends the probes of all others."""
        for id in [id for id in self._checks if id not in ids]:
            del self._checks[id]
            self._tasks.pop(id).cancel()

    def stop(self) -> None:
        """Ends all probing; the last health stays."""
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self.keep(frozenset())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, target: Target, listener: Listener) -> None:
        name, checks = self._checks[target.id]
        while (next_probe := checks.due()) is not None:
            probe, at = next_probe
            if (delay := at - self._clock.now()) > 0:
                await self._clock.sleep(delay)
            result = await self._handlers.run(probe.handler, target, probe.timeout)
            before = checks.health(name)
            if checks.record(probe.kind, result, self._clock.now()):
                listener.unhealthy(f"{probe.kind.word} probe failed: {result.message}")
            if checks.health(name) != before:
                listener.changed()
