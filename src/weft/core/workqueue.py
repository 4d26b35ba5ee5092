"""A queue of keys for level-triggered loops: what has changed goes in, `reconcile` takes it out.

A key that waits is not queued twice; one that is added while it is being worked on is queued again when that is done,
so no key is ever worked on twice at once and no change is lost. After client-go's `util/workqueue`.
"""

import asyncio
import heapq
import itertools
from collections import deque
from typing import Generic, TypeVar

from weft.core.clock import Clock, SystemClock

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """`add`, `get`, `done`; `retry` adds again after a delay that doubles with each failure until `forget`."""

    def __init__(self, clock: Clock | None = None, *, base_delay: float = 0.005, max_delay: float = 60.0) -> None:
        self._clock = clock or SystemClock()
        self._base, self._max = base_delay, max_delay
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}  # the deadline that counts; an entry of `_timers` with another one is void
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Queues `key`, unless it waits already."""
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Queues `key` when `seconds` have passed, or sooner if that was asked for before."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        deadline = self._clock.monotonic() + seconds
        if self._due.get(key, deadline + 1) <= deadline:
            return
        self._due[key] = deadline
        entry = (deadline, next(self._order), key)
        heapq.heappush(self._timers, entry)
        if self._timers[0] is entry:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().create_task(self._run_timers())

    def retry(self, key: K) -> float:
        """Queues `key` after its back-off; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay: float = min(self._base * 2 ** min(failures, 30), self._max)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """`key` went well: its back-off starts anew."""
        self._failures.pop(key, None)

    async def get(self) -> K | None:
        """The next key, which is then being worked on until `done`; None once the queue is closed."""
        while not self._ready:
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on `key` has ended; it is queued again if it was added meanwhile."""
        self._working.discard(key)
        if key in self._dirty and not self._closed:
            self._ready.append(key)
            self._wake.set()

    def close(self) -> None:
        """No more keys: `get` returns None to everyone."""
        self._closed = True
        self._ready.clear()
        self._dirty.clear()
        self._timers.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._wake.set()

    async def _run_timers(self) -> None:
        while self._timers:
            deadline, _, key = self._timers[0]
            if self._due.get(key) != deadline:
                heapq.heappop(self._timers)
                continue
            delay = deadline - self._clock.monotonic()
            if delay > 0:
                await self._clock.sleep(delay)
                continue
            heapq.heappop(self._timers)
            del self._due[key]
            self.add(key)
