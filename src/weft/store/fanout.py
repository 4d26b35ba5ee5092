"""Watches that wait in memory: a store pushes each commit once, every watcher takes what it has asked for.

In: the events of whole revisions, in order. Out: `WatchBatch`es, one stream for each watcher, with the past read from
the store first. Who is next: whoever called the store's `watch`. Both stores watch through this.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from weft.store.base import Event, WatchBatch


class _Watcher:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.batches: deque[WatchBatch] = deque()
        self.wake = asyncio.Event()
        self.failure: Exception | None = None


class Fanout:
    """`push` from the store, `watch` for its callers; `revision` is that of the newest push."""

    def __init__(self) -> None:
        self.revision = 1
        self._watchers: set[_Watcher] = set()
        self._ended = False

    def push(self, events: Sequence[Event], revision: int) -> None:
        self.revision = revision
        for watcher in self._watchers:
            ours = tuple(event for event in events if event.key.startswith(watcher.prefix))
            watcher.batches.append(WatchBatch(ours, revision))
            watcher.wake.set()

    def begin(self, revision: int) -> None:
        self.revision = revision
        self._ended = False

    def end(self) -> None:
        """Every watch ends after what was pushed."""
        self._ended = True
        for watcher in self._watchers:
            watcher.wake.set()

    def fail(self, error: Exception) -> None:
        """Every present watch raises `error` after what was pushed: something is missing behind it."""
        for watcher in self._watchers:
            watcher.failure = error
            watcher.wake.set()
        self._watchers.clear()

    async def watch(
        self, prefix: str, from_revision: int, history: Callable[[int], Awaitable[tuple[Event, ...]]]
    ) -> AsyncGenerator[WatchBatch, None]:
        """`history(upto)` gives what the store keeps of [from_revision, upto]; everything later was pushed."""
        watcher = _Watcher(prefix)
        known = self.revision
        self._watchers.add(watcher)  # from here on everything after `known` is pushed to us
        try:
            yield WatchBatch(await history(known) if from_revision <= known else (), known)
            while True:
                while watcher.batches:
                    batch = watcher.batches.popleft()
                    if batch.revision < from_revision:
                        continue
                    if batch.events and batch.events[0].revision < from_revision:
                        late = tuple(event for event in batch.events if event.revision >= from_revision)
                        batch = WatchBatch(late, batch.revision)
                    yield batch
                if watcher.failure is not None:
                    raise watcher.failure
                if self._ended:
                    return
                await watcher.wake.wait()
                watcher.wake.clear()
        finally:
            self._watchers.discard(watcher)
