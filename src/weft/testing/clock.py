"""A clock that runs with the machine's until it is frozen; then it moves only when a test moves it.

In: `freeze`, `advance`, `resume`. Out: `weft.core.clock.Clock` for every loop of a cluster under test. Waits shorter
than `CREEP` seconds go on while the clock is frozen (it moves by as much): they are retries and batches of the loops,
without which nothing would get done.
"""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable

CREEP = 0.5
_TOGETHER = 0.1


class SteeredClock:
    """Belongs to one event loop; call it there."""

    def __init__(self) -> None:
        self._base = time.time()
        self._since = time.monotonic()
        self._frozen = False
        self._changed = asyncio.Event()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int]] = []

    @property
    def frozen(self) -> bool:
        return self._frozen

    def now(self) -> float:
        return self._base if self._frozen else self._base + time.monotonic() - self._since

    def monotonic(self) -> float:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        deadline = self.now() + seconds
        entry = (deadline, next(self._order))
        heapq.heappush(self._sleepers, entry)
        try:
            while (left := deadline - self.now()) > 0:
                await self._wait(left)
                if self._frozen and left <= CREEP and not self._changed.is_set():
                    self._base = max(self._base, deadline)
        finally:
            self._sleepers.remove(entry)
            heapq.heapify(self._sleepers)
        if seconds <= 0:
            await asyncio.sleep(0)

    async def _wait(self, left: float) -> None:
        changed = self._changed
        timeout = None if self._frozen and left > CREEP else left
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await changed.wait()

    def freeze(self) -> None:
        self._base, self._frozen = self.now(), True
        self._tell()

    def resume(self) -> None:
        if self._frozen:
            self._since, self._frozen = time.monotonic(), False
            self._tell()

    async def advance(self, seconds: float, settle: Callable[[], Awaitable[None]]) -> None:
        """Moves a frozen clock on, stopping at each deadline on the way until `settle` says that all is done."""
        end = self._base + seconds
        while self._base < end:
            ahead = [deadline for deadline, _ in self._sleepers if deadline > self._base]
            # Deadlines that are close together are met at once, as by a machine that is busy.
            self._base = min(end, min(ahead, default=end) + _TOGETHER)
            self._tell()
            await settle()
        await settle()

    def _tell(self) -> None:
        """Wakes all sleepers to look at the time again."""
        self._changed.set()
        self._changed = asyncio.Event()
