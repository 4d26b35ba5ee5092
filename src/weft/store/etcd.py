"""The store in an etcd cluster, which several API servers on several machines share.

In: transactions; each becomes one etcd transaction that compares `mod_revision`s, and a resourceVersion is etcd's
revision. Out: results, once this process's own watch has brought the change; so a caller's watch knows of a write
before the caller does, as with the embedded store. Keys `/registry/...` stand below a prefix: `/weft/registry/...`.

One watch over everything follows the cluster, and all watchers wait on it in memory. When it breaks it goes on after
the last revision that it has seen whole, so nothing is lost or comes twice; where that has been compacted meanwhile,
watches end with CompactedError. The past is read by a watch of its own that ends at the newest event that the first
one has seen. `PREFIX.mark` is a key that is written only to be seen: it tells how far the watch is.
etcd.io: "KV API guarantees", "API reference".
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence

from weft.core.errors import ConflictError, TimedOutError, UnavailableError, WeftError
from weft.store import etcd_wire
from weft.store.base import (
    CompactedError,
    Compare,
    Event,
    FutureRevisionError,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    TxnResult,
    WatchBatch,
)
from weft.store.etcd_address import Address
from weft.store.etcd_link import CompactedOnServerError, Link
from weft.store.fanout import Fanout
from weft.store.retention import Retention, compact_regularly

_log = logging.getLogger(__name__)

RANGE = "/etcdserverpb.KV/Range"
_PUT = "/etcdserverpb.KV/Put"
TXN = "/etcdserverpb.KV/Txn"
_COMPACT = "/etcdserverpb.KV/Compact"

# After the prefix, the name of the key that `read_shift` reads.
SHIFT = b".shift"
# How many keys one request asks for: answers stay a few megabytes.
_PAGE = 2000
# How long a write that etcd has taken may wait for the watch to bring it.
_SEEN_SECONDS = 10.0
# How long a revision may belong to others that share the cluster before the mark is written.
_FOREIGN_SECONDS = 0.02
_RETRY_SECONDS = (0.05, 1.0)


class EtcdStore:
    """`EtcdStore(Address.parse("etcd://127.0.0.1:2379"))`; any number of processes at a time."""

    def __init__(self, address: Address, retention: Retention | None = None) -> None:
        self._address = address
        self._retention = retention or Retention()
        self._root = address.prefix.encode()
        self._mark = self._root + b".mark"
        self._wire = etcd_wire.Wire()
        self._shift = 0
        self._compacted = 0
        self._last = 0  # the revision of the newest event: where a read of the past ends
        self._fanout = Fanout()
        self._running = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._sent: dict[str, bytes] = {}
        self._asking: asyncio.Task[int] | None = None

    @property
    def revision(self) -> int:
        return self._fanout.revision

    @property
    def compacted(self) -> int:
        return self._compacted

    async def start(self) -> None:
        """Raises UnavailableError where no member answers, ForbiddenError where it may not."""
        self._link = Link(self._address)
        try:
            self._shift = await read_shift(self._link, self._root)
            self._wire = etcd_wire.Wire(self._shift)
            self._compacted = self._shift + 1 if self._shift else 0
            begin = await self._write_mark()
            await self._find_compacted(begin)
        except BaseException:
            await self._link.close()
            raise
        self._running = True
        self._fanout.begin(begin - 1)
        self._following = asyncio.create_task(self._follow(), name="store-watch")
        self._compactor = asyncio.create_task(
            compact_regularly(self._retention, lambda: self.revision, self.compact), name="store-compactor"
        )
        try:
            await self._seen(begin)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        tasks = [task for task in (self._compactor, self._following, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(UnavailableError("cannot write: the store is stopped"))
        self._fanout.end()
        await self._link.close()

    async def get(self, key: str, at_revision: int | None = None) -> KeyValue | None:
        self._check(at_revision)
        found = await self._range(self._wire.range(self._root + key.encode(), revision=at_revision or 0))
        self._check(at_revision)
        return self._key_value(found.items[0]) if found.items else None

    async def range(
        self, prefix: str, at_revision: int | None = None, limit: int = 0, start_after: str = ""
    ) -> RangeResult:
        self._check(at_revision)
        first, end = span(self._root + prefix.encode())
        if start_after:
            first = max(first, self._root + start_after.encode() + b"\0")
        items: list[KeyValue] = []
        at = at_revision or 0
        while True:
            page = min(_PAGE, limit - len(items)) if limit else _PAGE
            found = await self._range(self._wire.range(first, end, limit=page, revision=at))
            at = at or found.revision
            items += [self._key_value(item) for item in found.items]
            if not found.more or len(items) == limit:
                break
            first = found.items[-1].key + b"\0"
        self._check(at_revision)  # a compaction may have overtaken the read
        return RangeResult(tuple(items), at, found.more)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Operation]) -> TxnResult:
        self._need_running("write")
        keys = [operation.key for operation in then]
        if len(set(keys)) != len(keys):
            raise ValueError("a transaction may write a key only once")
        for operation in then:
            if isinstance(operation, Put):
                self._sent[operation.key] = operation.value
        try:
            answer = await self._link.call(TXN, self._wire.txn(self._root, compares, then), repeatable=False)
            done = self._wire.committed(answer)
            if done.succeeded:
                if done.changed:
                    await self._seen(done.revision)
            else:
                await self._see_reason(compares, done)
        finally:
            for operation in then:
                self._sent.pop(operation.key, None)
        return TxnResult(done.succeeded, done.revision if done.changed else self.revision)

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        self._need_running("watch")
        self._check(from_revision)

        async def history(known: int) -> tuple[Event, ...]:
            return await self._history(prefix, from_revision, known)

        async with contextlib.aclosing(self._fanout.watch(prefix, from_revision, history)) as batches:
            async for batch in batches:
                yield batch

    async def compact(self, revision: int) -> None:
        if revision > self.revision:
            raise FutureRevisionError(f"cannot compact revision {revision}: the store is at {self.revision}")
        if revision <= self._compacted or not self._running:
            return
        self._compacted = revision
        # One less than what is given up: a deletion at `revision` itself must stay, for a watch may begin there.
        with contextlib.suppress(CompactedOnServerError):  # another server did it
            await self._link.call(_COMPACT, self._wire.compact(revision - 1))

    async def fresh(self) -> int:
        """Callers share one question to the cluster, so long as it was put after they came."""
        self._need_running("read")
        asking = self._asking
        if asking is not None and not asking.done():
            await asyncio.wait([asking])  # it may have been answered before what this caller must see
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    # --- how far the watch is ---

    async def _ask(self) -> int:
        found = self._wire.ranged(await self._link.call(RANGE, self._wire.range(self._mark)))
        await self._reach(found.revision)
        return self.revision

    async def _reach(self, revision: int) -> None:
        """Waits for a revision that may be another prefix's, of which the watch says nothing."""
        try:
            async with asyncio.timeout(_FOREIGN_SECONDS):
                await self._seen(revision)
        except TimeoutError:
            await self._seen(await self._write_mark())

    async def _see_reason(self, compares: Sequence[Compare], done: etcd_wire.Committed) -> None:
        """Waits until the watch has brought what made a compare fail."""
        found = {item.key: item.mod_revision for item in done.items}
        absent = any(compare.mod_revision and self._root + compare.key.encode() not in found for compare in compares)
        if absent:  # deleted, and nobody says when
            await self._reach(done.revision)
        else:
            await self._seen(max(found.values(), default=0))

    async def _seen(self, revision: int) -> None:
        if self.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        try:
            async with asyncio.timeout(_SEEN_SECONDS):
                await future
        except TimeoutError:
            raise TimedOutError("etcdserver: request timed out") from None

    async def _write_mark(self) -> int:
        return self._wire.revision(await self._link.call(_PUT, self._wire.put(self._mark, b"")))

    # --- following ---

    async def _follow(self) -> None:
        delay = _RETRY_SECONDS[0]
        while True:
            known = self.revision
            try:
                await self._follow_once()
            except CompactedError as error:
                _log.warning("etcd has compacted what this server has not seen", extra={"known": self.revision})
                await self._begin_anew(error)
            except WeftError as error:
                _log.warning("the watch of etcd broke and begins again: %s", error, extra={"known": self.revision})
            except Exception:
                _log.exception("the watch of etcd failed and begins again", extra={"known": self.revision})
            delay = _RETRY_SECONDS[0] if self.revision > known else min(delay * 2, _RETRY_SECONDS[1])
            await asyncio.sleep(delay)

    async def _follow_once(self) -> None:
        first, end = self._root + b".", self._root + b"0"  # from the mark to the last key below `PREFIX/`
        request = self._wire.watch(first, end, self.revision + 1)
        async with contextlib.aclosing(self._link.watch(request)) as answers:
            async for data in answers:
                answer = self._wire.watched(data)
                self._check_answer(answer, self.revision + 1)
                if answer.changes:
                    self._last = answer.changes[-1].item.mod_revision
                    self._push([event for change in answer.changes if (event := self._event(change))], self._last)
                elif not answer.created:
                    self._push([], answer.revision)  # word of progress

    async def _begin_anew(self, error: CompactedError) -> None:
        """What lies between is lost: every watch ends, and new ones begin at the present."""
        with contextlib.suppress(WeftError):
            begin = await self._write_mark()
            self._fanout.fail(error)
            self._push([], begin)
            self._last = begin

    def _push(self, events: list[Event], revision: int) -> None:
        self._fanout.push(events, revision)
        waiting = []
        for wanted, future in self._waiters:
            if wanted > revision:
                waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = waiting

    async def _history(self, prefix: str, first: int, known: int) -> tuple[Event, ...]:
        last = self._last
        if last < first:
            return ()
        events: list[Event] = []
        request = self._wire.watch(self._root + b".", self._root + b"0", first)
        while True:
            try:
                async with contextlib.aclosing(self._link.watch(request)) as answers:
                    async for data in answers:
                        answer = self._wire.watched(data)
                        self._check_answer(answer, first)
                        for change in answer.changes:
                            event = self._event(change)
                            if event and event.revision <= known and event.key.startswith(prefix):
                                events.append(event)
                        if answer.changes and answer.changes[-1].item.mod_revision >= last:
                            return tuple(events)
            except UnavailableError:
                if not self._running:
                    raise
                events.clear()
                await asyncio.sleep(_RETRY_SECONDS[0])

    def _check_answer(self, answer: etcd_wire.Watched, first: int) -> None:
        if answer.compact_revision:
            self._compacted = max(self._compacted, answer.compact_revision + 1)
            raise CompactedError(first, self._compacted)
        if answer.canceled:
            raise UnavailableError(f"etcd ended the watch: {answer.reason or 'no reason given'}")

    # --- values ---

    def _event(self, change: etcd_wire.Change) -> Event | None:
        item, previous = change.item, change.previous
        if not item.key.startswith(self._root + b"/"):
            return None  # the mark
        key = item.key[len(self._root) :].decode()
        # Where etcd has compacted what was before, whatever it was can be read at the revision just before.
        unknown = 0 if item.version == 1 else item.mod_revision - 1
        before = previous.mod_revision if previous is not None else unknown
        if change.deleted:
            return Event(key, None, item.mod_revision, previous.create_revision if previous else before, before)
        # The writer's own bytes, where it was this process: the cache knows them and need not decode them again.
        sent = self._sent.get(key)
        value = sent if sent == item.value and sent is not None else item.value
        return Event(key, value, item.mod_revision, item.create_revision, before)

    def _key_value(self, item: etcd_wire.Item) -> KeyValue:
        return KeyValue(item.key[len(self._root) :].decode(), item.value, item.create_revision, item.mod_revision)

    async def _range(self, request: bytes) -> etcd_wire.Ranged:
        self._need_running("read")
        try:
            return self._wire.ranged(await self._link.call(RANGE, request))
        except CompactedOnServerError:
            await self._find_compacted(self.revision)
            raise CompactedError(self._compacted - 1, self._compacted) from None

    async def _find_compacted(self, newest: int) -> None:
        """The first revision that can be read: etcd tells it nobody, so it is looked for by halves."""
        first = low = max(self._compacted - 1, self._shift + 1)
        high = newest
        while low < high:
            middle = (low + high) // 2 if low > first else low
            try:
                request = self._wire.range(self._mark, revision=middle, count_only=True)
                await self._link.call(RANGE, request)
                high = middle
            except CompactedOnServerError:
                low = middle + 1
        if low > self._shift + 1:  # as `compact` does it, what stands at the first readable revision is given up
            self._compacted = max(self._compacted, min(low + 1, newest))

    def _check(self, at_revision: int | None) -> None:
        if at_revision is not None and at_revision < self._compacted:
            raise CompactedError(at_revision, self._compacted)

    def _need_running(self, verb: str) -> None:
        if not self._running:
            raise UnavailableError(f"cannot {verb}: the store is stopped")


async def read_shift(link: Link, root: bytes) -> int:
    """What a restored store adds to etcd's revisions, so that they go on where those of the backup ended."""
    found = etcd_wire.Wire().ranged(await link.call(RANGE, etcd_wire.Wire().range(root + SHIFT)))
    if not found.items:
        return 0
    value = found.items[0].value
    if not value.isdigit():
        raise ConflictError(f"cannot use the store below {root.decode()}: a restore into it was not finished")
    return int(value)


def span(prefix: bytes) -> tuple[bytes, bytes]:
    """The first key that begins with `prefix`, and the first one after them all."""
    return prefix, prefix[:-1] + bytes((prefix[-1] + 1,))
