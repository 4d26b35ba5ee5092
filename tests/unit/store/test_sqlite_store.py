"""SQLite's store: the contract, a model, being killed, and its file's size."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from weft.core.errors import ConflictError, UnavailableError
from weft.store.base import CompactedError, Compare, Delete, Event, Operation, Put
from weft.store.sqlite import Retention, SqliteStore
from weft.testing.store import StoreContract, collect, put


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    yield store
    await store.stop()


class TestSqliteStore(StoreContract):
    """The contract suite."""


async def test_state_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    await store.start()
    first = await put(store, "/a", "1")
    await put(store, "/a", "2")
    await store.txn([], [Delete("/a")])
    await store.compact(store.revision)
    last = store.revision
    await store.stop()
    store = SqliteStore(path)
    await store.start()
    assert (store.revision, store.compacted) == (last, last)
    assert await store.get("/a") is None
    assert await put(store, "/a", "3") == last + 1
    with pytest.raises(CompactedError):
        await collect(store, "/", first, 1)
    await store.stop()
    with pytest.raises(UnavailableError):
        await store.get("/a")


async def test_one_process_at_a_time(store: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="another process uses it"):
        await SqliteStore(tmp_path / "store.db").start()


async def test_watches_end_when_the_store_stops(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()

    async def count() -> int:
        return len([batch async for batch in store.watch("/", 1)])

    watching = asyncio.create_task(count())
    await asyncio.sleep(0.02)
    await store.stop()
    assert await asyncio.wait_for(watching, 5) == 1


async def test_many_writers_share_commits(store: SqliteStore) -> None:
    commits = 0

    def on_statement(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    store._writer.set_trace_callback(on_statement)
    await asyncio.gather(*(put(store, f"/{n}", "x" * 1000) for n in range(300)))
    store._writer.set_trace_callback(None)
    assert commits < 30


async def test_history_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, Retention(seconds=3600, revisions=50, interval=0.05))
    await store.start()
    for round_ in range(20):
        await asyncio.gather(*(put(store, f"/{n}", f"{round_}" * 2000) for n in range(50)))
    for _ in range(100):
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        if size < 500_000:
            break
        await asyncio.sleep(0.05)
    await store.stop()
    assert size < 500_000
    assert store.compacted == store.revision - 50


_WRITER = """
import asyncio, sys
from pathlib import Path
from weft.store.base import Put
from weft.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.start()
    async def write(worker):
        for n in range(10**9):
            await store.txn([], [Put(f"/{worker}", b"%d" % n)])
            print(worker, n, flush=True)
    await asyncio.gather(*(write(worker) for worker in range(4)))

asyncio.run(main())
"""


async def test_acknowledged_writes_survive_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(100)]
        os.kill(process.pid, signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
    acknowledged: dict[str, int] = {}
    for line in lines:
        worker, n = line.split()
        acknowledged[worker] = int(n)
    store = SqliteStore(path)
    await store.start()
    for worker, n in acknowledged.items():
        found = await store.get(f"/{worker}")
        assert found is not None
        assert int(found.value) in (n, n + 1)  # one more may have been durable without having been told
    await store.stop()


KEYS = st.sampled_from(["/a", "/a/b", "/b", "/ü"])


class StoreMachine(RuleBasedStateMachine):
    """The store beside a model that keeps every revision as a dict."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="weft-b-")
        self.path = Path(self.directory.name) / "store.db"
        self.store = SqliteStore(self.path)
        self.runner.run(self.store.start())
        self.states: dict[int, dict[str, tuple[bytes, int]]] = {1: {}}
        self.events: list[tuple[str, bytes | None, int]] = []

    def teardown(self) -> None:
        self.runner.run(self.store.stop())
        self.runner.close()
        self.directory.cleanup()

    @property
    def now(self) -> int:
        return max(self.states)

    @rule(
        writes=st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), min_size=1, max_size=3),
        compared=KEYS,
        right=st.booleans(),
    )
    def txn(self, writes: dict[str, bytes | None], compared: str, right: bool) -> None:
        state = self.states[self.now]
        actual = state[compared][1] if compared in state else 0
        operations: list[Operation] = [Delete(k) if v is None else Put(k, v) for k, v in writes.items()]
        compare = Compare(compared, actual if right else actual + 1)
        result = self.runner.run(self.store.txn([compare], operations))
        assert result.succeeded == right
        changes = {k: v for k, v in writes.items() if v is not None or k in state}
        if right and changes:
            revision = self.now + 1
            after = {k: v for k, v in state.items() if k not in changes}
            after |= {k: (v, revision) for k, v in changes.items() if v is not None}
            self.states[revision] = after
            self.events += [(k, v, revision) for k, v in changes.items()]
        assert result.revision == self.now

    @rule(data=st.data())
    def read_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.sampled_from(sorted(self.states)))
        if revision < self.store.compacted:
            with pytest.raises(CompactedError):
                self.runner.run(self.store.range("/", revision))
            return
        found = self.runner.run(self.store.range("/", revision))
        assert [(i.key, i.value, i.mod_revision) for i in found.items] == [
            (key, *value) for key, value in sorted(self.states[revision].items())
        ]

    @rule(data=st.data())
    def watch_from_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.sampled_from(sorted(self.states)))
        expected = [event for event in self.events if event[2] >= revision]
        if revision < self.store.compacted or not expected:
            return
        events: list[Event] = self.runner.run(collect(self.store, "/", revision, len(expected)))
        assert [(e.key, e.value, e.revision) for e in events] == expected

    @precondition(lambda self: self.now > 3)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.runner.run(self.store.compact(data.draw(st.sampled_from(sorted(self.states)))))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.stop())
        self.store = SqliteStore(self.path)
        self.runner.run(self.store.start())

    @invariant()
    def the_present_agrees(self) -> None:
        assert self.store.revision == self.now
        found = self.runner.run(self.store.range("/"))
        assert {i.key: (i.value, i.mod_revision) for i in found.items} == self.states[self.now]


def test_store_agrees_with_a_model() -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
