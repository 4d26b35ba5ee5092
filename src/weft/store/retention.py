"""How much of the past a store keeps for watches that come back and for lists in pages.

In: the store's revision, looked at now and then. Out: the revision that may be compacted up to.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weft.core.errors import WeftError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept for watches and paged lists: the newer of `seconds` and `revisions` wins."""

    seconds: float = 600.0
    revisions: int = 20_000
    interval: float = 60.0


async def compact_regularly(
    retention: Retention, revision: Callable[[], int], compact: Callable[[int], Awaitable[None]]
) -> None:
    """Compacts for as long as it is left running; a failure is told and the next round tries again."""
    samples: deque[tuple[float, int]] = deque()
    while True:
        samples.append((time.monotonic(), revision()))
        await asyncio.sleep(retention.interval)
        target = max(revision() - retention.revisions, 0)
        while samples and samples[0][0] <= time.monotonic() - retention.seconds:
            target = max(target, samples.popleft()[1])
        try:
            await compact(target)
        except WeftError:
            _log.exception("cannot compact the store", extra={"revision": target})
