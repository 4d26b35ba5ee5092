"""Decoded objects of all resources, kept equal to the store by one watch, and the fan-out of changes.

In: event batches of one store watch over everything. Out: present objects (`Hub.entries`, no disk, no JSON) and
subscriptions to the changes of one resource, any number of them. Who is next: `objects` for reads and writes,
`verbs.watch` for watches. Objects handed out are shared by everyone: frozen by convention.

Keys read `/registry/<group or "core">/<resource>/[<namespace>/]<name>`; a hub holds those of one resource.
"""

import asyncio
import bisect
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Literal

import orjson

from weft.apiserver.sharing import Sharing
from weft.core.errors import UnavailableError
from weft.store.base import CompactedError, Event, KeyValue, RangeResult, Store

_log = logging.getLogger(__name__)

Object = dict[str, Any]
_SHARING = Sharing()
ROOT = "/registry/"

# Changes kept per resource, so that a client that comes back soon is served from memory.
_RECENT = 1000
# A subscriber this far behind is cut off; it will list again.
_BACKLOG = 20_000
# Between two tries to read a store that does not answer.
_PATIENCE_SECONDS = 0.5


class Entry:
    """An object at one revision; decoded when it is first looked at."""

    __slots__ = ("_object", "_raw", "create_revision", "key", "revision")

    def __init__(self, key: str, revision: int, create_revision: int, raw: bytes, obj: Object | None = None) -> None:
        self.key = key
        self.revision = revision
        self.create_revision = create_revision
        self._raw: bytes | None = raw
        self._object: Object | None = None
        if obj is not None:
            self._keep(obj)

    @classmethod
    def of(cls, item: KeyValue) -> "Entry":
        return cls(item.key, item.mod_revision, item.create_revision, item.value)

    @property
    def object(self) -> Object:
        if self._object is None:
            assert self._raw is not None
            self._keep(orjson.loads(self._raw))
        assert self._object is not None
        return self._object

    def _keep(self, obj: Object) -> None:
        metadata = obj.get("metadata")
        if isinstance(metadata, dict):  # allocations have none
            metadata["resourceVersion"] = str(self.revision)
            _SHARING.share(obj)
        self._object = obj
        self._raw = None


class Change:
    """One change of one object; for DELETED, `object` is its last state with the deletion's resourceVersion."""

    __slots__ = ("_entry", "_line", "_object", "_old", "key", "revision", "type")

    def __init__(self, key: str, revision: int, entry: Entry | None, old: Entry | None) -> None:
        self.key = key
        self.revision = revision
        self.type: Literal["ADDED", "MODIFIED", "DELETED"]
        self.type = "DELETED" if entry is None else "MODIFIED" if old is not None else "ADDED"
        self._entry = entry
        self._old = old
        self._object: Object | None = None
        self._line: bytes | None = None

    @property
    def object(self) -> Object:
        if self._entry is not None:
            return self._entry.object
        if self._object is None:
            last = self.old or {}
            metadata = {**last.get("metadata", {}), "resourceVersion": str(self.revision)}
            self._object = {**last, "metadata": metadata}
        return self._object

    @property
    def old(self) -> Object | None:
        """The object before the change."""
        return self._old.object if self._old is not None else None

    def line(self) -> bytes:
        """The change as a line of a watch's body; encoded once for all watchers."""
        if self._line is None:
            self._line = orjson.dumps({"type": self.type, "object": self.object}) + b"\n"
        return self._line


class Subscription:
    """Changes of one hub below a key prefix, in order, as they come."""

    def __init__(self, hub: "Hub", prefix: str) -> None:
        self._hub = hub
        self._prefix = prefix
        self._pending: deque[Change] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def push(self, change: Change) -> None:
        if not change.key.startswith(self._prefix):
            return
        if len(self._pending) >= _BACKLOG:
            self.close()
            return
        self._pending.append(change)
        self._wake.set()

    def take(self) -> list[Change]:
        """What waits, without waiting."""
        changes = list(self._pending)
        self._pending.clear()
        return changes

    async def wait(self, timeout: float | None = None) -> bool:
        """Waits for changes; False where the time ran out."""
        if self._pending or self._closed:
            return True
        self._wake.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    @property
    def closed(self) -> bool:
        """The server stops, or this subscriber was too slow."""
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._hub.subscriptions.discard(self)


class Hub:
    """The present objects of one resource, sorted by key, its recent changes and its subscribers."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.entries: dict[str, Entry] = {}
        self.keys: list[str] = []
        self.recent: deque[Change] = deque(maxlen=_RECENT)
        self.forgotten = 0  # changes up to this revision are no longer in `recent`
        self.changed_at = 0
        self.subscriptions: set[Subscription] = set()
        self.listeners: list[Callable[[Change], None]] = []

    def below(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Entries whose key begins with `prefix`, in order."""
        index = bisect.bisect_right(self.keys, start_after) if start_after else bisect.bisect_left(self.keys, prefix)
        keys, entries = self.keys, self.entries
        whole = prefix == self.prefix
        for position in range(index, len(keys)):
            key = keys[position]
            if not whole and not key.startswith(prefix):
                return
            yield entries[key]

    def count_below(self, prefix: str, start_after: str) -> int:
        """How many entries `below` would give."""
        end = bisect.bisect_left(self.keys, prefix + "\U0010ffff")
        return end - bisect.bisect_right(self.keys, start_after)

    def load(self, entry: Entry) -> None:
        """Takes over an entry at the start, in order of keys."""
        self.entries[entry.key] = entry
        self.keys.append(entry.key)

    def apply(self, key: str, revision: int, entry: Entry | None) -> None:
        old = self.entries.get(key)
        if entry is not None:
            self.entries[key] = entry
            if old is None:
                bisect.insort(self.keys, key)
        elif old is not None:
            del self.entries[key]
            del self.keys[bisect.bisect_left(self.keys, key)]
        else:
            return
        change = Change(key, revision, entry, old)
        if len(self.recent) == _RECENT:
            self.forgotten = self.recent[0].revision
        self.recent.append(change)
        self.changed_at = revision
        for listener in self.listeners:
            listener(change)
        for subscription in tuple(self.subscriptions):
            subscription.push(change)


class Cache:
    """All hubs, and the task that follows the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hubs: dict[str, Hub] = {}
        self._handed: dict[int, Object] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.revision = 0
        self._floor = 0

    async def start(self) -> None:
        found = await self._store.range(ROOT)
        self.revision = self._floor = found.revision
        for item in found.items:
            self.hub(_hub_prefix(item.key)).load(Entry.of(item))
        self._task = asyncio.create_task(self._follow(found.revision + 1), name="apiserver-cache")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end()

    def end_watches(self) -> None:
        for hub in self._hubs.values():
            for subscription in tuple(hub.subscriptions):
                subscription.close()

    def hub(self, prefix: str) -> Hub:
        hub = self._hubs.get(prefix)
        if hub is None:
            hub = self._hubs[prefix] = Hub(prefix)
            hub.forgotten = self._floor
        return hub

    def hand_over(self, raw: bytes, obj: Object) -> None:
        """Spares decoding `raw` again when it comes back from the store."""
        self._handed[id(raw)] = obj

    def take_back(self, raw: bytes) -> None:
        self._handed.pop(id(raw), None)

    async def fresh(self) -> int:
        """Waits until everything is here that any server of the store had acknowledged before; the revision."""
        await self.reach(await self._store.fresh())
        return self.revision

    async def reach(self, revision: int) -> None:
        """Waits until everything up to `revision` is here."""
        if self.revision >= revision:
            return
        if self._task.done():
            raise UnavailableError("the API server is stopping")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        await future

    def subscribe(self, hub: Hub, prefix: str) -> Subscription:
        subscription = Subscription(hub, prefix)
        hub.subscriptions.add(subscription)
        return subscription

    async def since(self, hub: Hub, prefix: str, revision: int, upto: int) -> list[Change]:
        """The changes in (revision, upto]; raises CompactedError where the store has forgotten them."""
        if revision >= hub.forgotten:
            return [c for c in hub.recent if revision < c.revision <= upto and c.key.startswith(prefix)]
        async with aclosing(self._store.watch(prefix, revision + 1)) as batches:
            batch = await anext(batches)
        return [await self._past(event) for event in batch.events if event.revision <= upto]

    async def _past(self, event: Event) -> Change:
        old = None
        if event.previous_revision:
            try:
                found = await self._store.get(event.key, event.previous_revision)
            except CompactedError:
                found = await self._store.get(event.key, self._store.compacted)
            old = Entry.of(found) if found else None
        entry = None
        if event.value is not None:
            entry = Entry(event.key, event.revision, event.create_revision, event.value)
        return Change(event.key, event.revision, entry, old)

    async def _follow(self, from_revision: int) -> None:
        try:
            while True:
                try:
                    async with aclosing(self._store.watch(ROOT, from_revision)) as batches:
                        async for batch in batches:
                            for event in batch.events:
                                self._apply(event)
                            self._advance(batch.revision)
                    return
                except CompactedError:
                    from_revision = await self._load_again() + 1
        except Exception:
            _log.exception("the cache can no longer follow the store")
            raise
        finally:
            self._end()

    async def _load_again(self) -> int:
        """Makes the cache what the store is now, where the store can no longer tell the way there.

        Watches end and learn from 410 that they must list again: what came in between is lost to them too.
        """
        found = await self._load()
        self.end_watches()
        here = {item.key: item for item in found.items}
        for hub in list(self._hubs.values()):
            for key in [key for key in hub.keys if key not in here]:
                hub.apply(key, found.revision, None)
        for item in sorted(found.items, key=lambda item: item.mod_revision):
            hub = self.hub(_hub_prefix(item.key))
            entry = hub.entries.get(item.key)
            if entry is None or entry.revision != item.mod_revision:
                hub.apply(item.key, item.mod_revision, Entry.of(item))
        self._floor = found.revision
        for hub in self._hubs.values():
            hub.recent.clear()
            hub.forgotten = found.revision
        self._advance(found.revision)
        return found.revision

    async def _load(self) -> RangeResult:
        while True:
            try:
                return await self._store.range(ROOT)
            except UnavailableError as error:
                _log.warning("cannot read the store yet: %s", error)
                await asyncio.sleep(_PATIENCE_SECONDS)

    def _apply(self, event: Event) -> None:
        entry = None
        if event.value is not None:
            obj = self._handed.pop(id(event.value), None)
            entry = Entry(event.key, event.revision, event.create_revision, event.value, obj)
        self.hub(_hub_prefix(event.key)).apply(event.key, event.revision, entry)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        waiting = []
        for wanted, future in self._waiters:
            if wanted > self.revision:
                waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = waiting

    def _end(self) -> None:
        self.end_watches()
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(UnavailableError("the API server is stopping"))
        self._waiters = []


async def changes(
    cache: Cache, hub: Hub, prefix: str, revision: int, bookmark_every: float
) -> AsyncGenerator[list[Change] | int, None]:
    """All changes below `prefix` after `revision`, in lists; a bare revision where nothing came for a while.

    Ends when the server stops or the consumer is too slow. Raises CompactedError.
    """
    subscription = cache.subscribe(hub, prefix)
    try:
        known = cache.revision
        if revision < known:
            past = await cache.since(hub, prefix, revision, known)
            if past:
                yield past
        while True:
            came = await subscription.wait(bookmark_every)
            pending = [change for change in subscription.take() if change.revision > revision]
            if pending:
                yield pending
            elif subscription.closed:
                return
            elif not came:
                yield cache.revision
    finally:
        subscription.close()


def _hub_prefix(key: str) -> str:
    """`/registry/apps/deployments/` of `/registry/apps/deployments/default/web`."""
    return "/".join(key.split("/", 4)[:4]) + "/"
