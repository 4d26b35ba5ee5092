"""The embedded store: one SQLite file in WAL mode, one writer thread that many callers share.

In: transactions from any task of one event loop. They queue up while the writer thread commits, and the next commit
takes all that wait, so that concurrent writers share one fsync (synchronous=FULL: what was acknowledged survives
`kill -9` and loss of power). Out: results and events, handed to the loop in the order of revisions; events before
results, so that a caller's own watch knows of a write before the caller does. Watchers never poll.

Every version of a key is a row of `log` until compaction; the newest row of a key that is not a deletion is its
present value. An index of present keys (no values) is kept in memory by the writer thread, so compares read no disk.
SQLite's own documentation: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous.
"""

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from weft.core.errors import ConflictError, UnavailableError, WeftError
from weft.store.base import (
    CompactedError,
    Compare,
    Delete,
    Event,
    FutureRevisionError,
    KeyValue,
    Operation,
    RangeResult,
    TxnResult,
    WatchBatch,
)
from weft.store.fanout import Fanout
from weft.store.retention import Retention, compact_regularly

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    previous_revision INTEGER NOT NULL,
    value BLOB
);
CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
CREATE INDEX IF NOT EXISTS log_revision ON log (revision);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""

# How many transactions one commit takes at most, and how many revisions one step of a compaction looks at: both bound
# how long a caller can wait behind others.
_GROUP = 512
_COMPACT_REVISIONS = 1000
# Sizes of the statement that inserts; rows without a revision fill it up.
_ROWS = (512, 128, 32, 8, 1)
_INSERT = {
    size: "INSERT INTO log (revision, key, create_revision, previous_revision, value) "
    f"SELECT * FROM (VALUES {', '.join(['(?, ?, ?, ?, ?)'] * size)}) WHERE column1 IS NOT NULL"
    for size in _ROWS
}


@dataclass(slots=True)
class _Txn:
    compares: Sequence[Compare]
    then: Sequence[Operation]
    future: "asyncio.Future[TxnResult]"


@dataclass(slots=True)
class _Step:
    """Work of the writer thread other than a transaction, committed on its own."""

    work: Callable[[sqlite3.Connection], None]
    future: "asyncio.Future[None]"


class _Stop:
    """Tells the writer thread to end."""


_STOP = _Stop()


@dataclass(slots=True)
class _Done:
    """What one commit gives back to the loop."""

    results: list[tuple["asyncio.Future[TxnResult]", TxnResult]]
    events: list[Event]
    revision: int


class SqliteStore:
    """`SqliteStore(path)`; one process and one event loop at a time."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self._path = path
        self._retention = retention or Retention()
        self._revision = 1
        self._compacted = 0
        self._swept = 0
        self._index: dict[str, tuple[int, int]] = {}
        self._queue: queue.SimpleQueue[_Txn | _Step | _Stop] = queue.SimpleQueue()
        self._fanout = Fanout()
        self._running = False

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def compacted(self) -> int:
        return self._compacted

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(lock(self._path))
        self._readers = ThreadPoolExecutor(1, "store-reader")
        try:
            self._writer = await self._loop.run_in_executor(self._readers, self._open)
            self._reader = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            self._lock.close()
            self._readers.shutdown()
            raise WeftError(f"cannot open the store {self._path}: {error}") from error
        self._running = True
        self._fanout.begin(self._revision)
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()
        self._compactor = asyncio.create_task(
            compact_regularly(self._retention, lambda: self._revision, self.compact), name="store-compactor"
        )

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._compactor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._compactor
        self._queue.put(_STOP)
        await asyncio.to_thread(self._thread.join)
        await asyncio.sleep(0)  # the writer's last results are handed over by call_soon
        self._fanout.end()
        self._readers.shutdown()
        self._reader.close()
        self._writer.close()
        self._lock.close()

    async def fresh(self) -> int:
        return self._check(None)

    async def get(self, key: str, at_revision: int | None = None) -> KeyValue | None:
        revision = self._check(at_revision)
        statement = (
            "SELECT key, value, create_revision, revision FROM log WHERE key = ? AND revision <= ? "
            "ORDER BY revision DESC LIMIT 1"
        )
        rows = await self._read(statement, (key, revision))
        self._check(at_revision)  # a compaction may have overtaken the read
        return KeyValue(*rows[0]) if rows and rows[0][1] is not None else None

    async def range(
        self, prefix: str, at_revision: int | None = None, limit: int = 0, start_after: str = ""
    ) -> RangeResult:
        revision = self._check(at_revision)
        # max() makes SQLite take the other columns from the same row (sqlite.org/lang_select.html#bareagg).
        statement = (
            "SELECT key, value, create_revision, max(revision) FROM log "
            "WHERE key >= ? AND key > ? AND key < ? AND revision <= ? "
            "GROUP BY key HAVING value IS NOT NULL ORDER BY key LIMIT ?"
        )
        # No text has U+10FFFF twice in a row here: it bounds all keys that begin with the prefix.
        bounds = (prefix, start_after, prefix + "\U0010ffff\U0010ffff", revision, limit + 1 if limit else -1)
        rows = await self._read(statement, bounds)
        self._check(at_revision)
        more = bool(limit) and len(rows) > limit
        return RangeResult(tuple(KeyValue(*row) for row in (rows[:limit] if more else rows)), revision, more)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Operation]) -> TxnResult:
        if not self._running:
            raise UnavailableError("cannot write: the store is stopped")
        keys = [operation.key for operation in then]
        if len(set(keys)) != len(keys):
            raise ValueError("a transaction may write a key only once")
        future: asyncio.Future[TxnResult] = self._loop.create_future()
        self._queue.put(_Txn(compares, then, future))
        return await future

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        self._check_watch(from_revision)

        async def history(known: int) -> tuple[Event, ...]:
            events = await self._history(prefix, from_revision, known)
            self._check_watch(from_revision)  # a compaction may have overtaken the read
            return events

        async with contextlib.aclosing(self._fanout.watch(prefix, from_revision, history)) as batches:
            async for batch in batches:
                yield batch

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevisionError(f"cannot compact revision {revision}: the store is at {self._revision}")
        if revision <= self._compacted or not self._running:
            return
        self._compacted = revision
        while self._swept < revision:
            after, upto = self._swept, min(revision, self._swept + _COMPACT_REVISIONS)
            await self._step(functools.partial(_compact, after=after, upto=upto, compacted=revision))
            self._swept = upto
        await self._step(_shrink)

    # --- in the loop ---

    def _check(self, at_revision: int | None) -> int:
        if not self._running:
            raise UnavailableError("cannot read: the store is stopped")
        if at_revision is None:
            return self._revision
        if at_revision < self._compacted:
            raise CompactedError(at_revision, self._compacted)
        if at_revision > self._revision:
            raise FutureRevisionError(f"cannot read revision {at_revision}: the store is at {self._revision}")
        return at_revision

    def _check_watch(self, from_revision: int) -> None:
        if from_revision < self._compacted:
            raise CompactedError(from_revision, self._compacted)

    async def _read(self, statement: str, values: tuple[str | int, ...]) -> list[tuple[str, bytes, int, int]]:
        def read() -> list[tuple[str, bytes, int, int]]:
            return self._reader.execute(statement, values).fetchall()

        return await self._loop.run_in_executor(self._readers, read)

    async def _history(self, prefix: str, first: int, last: int) -> tuple[Event, ...]:
        if first > last:
            return ()

        def read() -> tuple[Event, ...]:
            rows = self._reader.execute(
                "SELECT key, value, revision, create_revision, previous_revision FROM log "
                "WHERE revision >= ? AND revision <= ? AND key >= ? AND key < ? ORDER BY id",
                (first, last, prefix, prefix + "\U0010ffff\U0010ffff"),
            )
            return tuple(Event(*row) for row in rows)

        return await self._loop.run_in_executor(self._readers, read)

    async def _step(self, work: Callable[[sqlite3.Connection], None]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Step(work, future))
        await future

    def _deliver(self, done: _Done) -> None:
        self._revision = done.revision
        if done.events:
            self._fanout.push(done.events, done.revision)
        for future, result in done.results:
            if not future.done():
                future.set_result(result)

    # --- before and in the writer thread ---

    def _open(self) -> sqlite3.Connection:
        connection = open_file(self._path)
        numbers = dict(connection.execute("SELECT name, number FROM meta").fetchall())
        self._compacted, self._swept = numbers.get("compacted", 0), numbers.get("swept", 0)
        newest = connection.execute("SELECT max(revision) FROM log").fetchone()[0] or 0
        # A compaction may have removed the newest rows (deletions): revisions must not run backwards all the same.
        self._revision = max(newest, self._compacted, 1)
        present = connection.execute(
            "SELECT key, create_revision, max(revision) FROM log GROUP BY key HAVING value IS NOT NULL"
        )
        self._index = {key: (created, modified) for key, created, modified in present}
        return connection

    def _write(self) -> None:
        revision = self._revision
        while True:
            group, last = self._next_group()
            if group:
                revision = self._commit(group, revision)
            if isinstance(last, _Step):
                self._run_step(last)
            elif last is _STOP:
                return

    def _next_group(self) -> tuple[list[_Txn], _Step | _Stop | None]:
        """Waits for work and takes all transactions that are there; with them what ended the group, if anything."""
        group: list[_Txn] = []
        item = self._queue.get()
        while isinstance(item, _Txn):
            group.append(item)
            try:
                if len(group) == _GROUP:
                    return group, None
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, None
        return group, item

    def _commit(self, group: list[_Txn], revision: int) -> int:
        done = _Done([], [], revision)
        before: dict[str, tuple[int, int] | None] = {}
        for txn in group:
            self._apply(txn, done, before)
        try:
            self._insert(done.events)
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            for key, entry in before.items():
                if entry is None:
                    self._index.pop(key, None)
                else:
                    self._index[key] = entry
            failure = UnavailableError(f"cannot write to the store: {error}")
            for txn in group:
                self._loop.call_soon_threadsafe(_fail, txn.future, failure)
            return revision
        self._loop.call_soon_threadsafe(self._deliver, done)
        return done.revision

    def _insert(self, events: list[Event]) -> None:
        """One statement is one transaction, and gives up the interpreter's lock once for all its rows and the fsync.

        Statements of a few sizes only, so that SQLite's cache of prepared ones holds them.
        """
        whole = len(events) > _ROWS[0]
        if whole:
            self._writer.execute("BEGIN IMMEDIATE")
        for start in range(0, len(events), _ROWS[0]):
            part = events[start : start + _ROWS[0]]
            size = next(size for size in reversed(_ROWS) if size >= len(part))
            values: list[object] = []
            for event in part:
                values += (event.revision, event.key, event.create_revision, event.previous_revision, event.value)
            values += [None] * (5 * (size - len(part)))
            self._writer.execute(_INSERT[size], values)
        if whole:
            self._writer.execute("COMMIT")

    def _apply(self, txn: _Txn, done: _Done, before: dict[str, tuple[int, int] | None]) -> None:
        absent = (0, 0)
        if any(self._index.get(compare.key, absent)[1] != compare.mod_revision for compare in txn.compares):
            done.results.append((txn.future, TxnResult(False, done.revision)))
            return
        revision = done.revision + 1
        changed = False
        for operation in txn.then:
            key = operation.key
            old = self._index.get(key)
            if isinstance(operation, Delete):
                if old is None:
                    continue
                value, created = None, old[0]
            else:
                value, created = operation.value, old[0] if old else revision
            before.setdefault(key, old)
            event = Event(key, value, revision, created, old[1] if old else 0)
            if value is None:
                del self._index[key]
            else:
                self._index[key] = (created, revision)
            done.events.append(event)
            changed = True
        if changed:
            done.revision = revision
        done.results.append((txn.future, TxnResult(True, done.revision)))

    def _run_step(self, step: _Step) -> None:
        try:
            step.work(self._writer)
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            failure = UnavailableError(f"cannot compact the store: {error}")
            self._loop.call_soon_threadsafe(_fail, step.future, failure)
        else:
            self._loop.call_soon_threadsafe(_succeed, step.future)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keeps other processes from the store meanwhile; raises ConflictError where one has it."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"cannot open the store {path}: another process uses it") from None
        yield
    finally:
        os.close(descriptor)


def open_file(path: Path) -> sqlite3.Connection:
    """The file, made where there is none; raises sqlite3.Error."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # secrets live in it
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.executescript(_SCHEMA)
    return connection


def _fail(future: "asyncio.Future[TxnResult] | asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _succeed(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _compact(connection: sqlite3.Connection, after: int, upto: int, compacted: int) -> None:
    """Removes what the revisions in (after, upto] overwrote or deleted; everything before them is done already.

    The deletions of `upto` itself stay until the next time: a watch may still begin there.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?), ('swept', ?)", (compacted, upto))
    connection.execute(
        "DELETE FROM log WHERE id IN (SELECT old.id FROM log AS new JOIN log AS old "
        "ON old.key = new.key AND old.revision = new.previous_revision "
        "WHERE new.revision > ? AND new.revision <= ?)",
        (after, upto),
    )
    connection.execute(
        "DELETE FROM log WHERE value IS NULL AND revision >= ? AND revision < ?",
        (after, upto),
    )
    connection.execute("COMMIT")


def _shrink(connection: sqlite3.Connection) -> None:
    """Gives free pages back to the file system and starts the write-ahead log anew."""
    # execute() would step the statement once, which frees one page; executescript() runs it to its end.
    connection.executescript("PRAGMA incremental_vacuum(4096)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
