"""SQLite's store: the contract, a model, being killed, and its file's size."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from weft.core.errors import ConflictError, UnavailableError
from weft.store.base import CompactedError, Delete, Store
from weft.store.retention import Retention
from weft.store.sqlite import SqliteStore
from weft.testing.store import StoreContract, StoreMachine, collect, put


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
        commits += statement.startswith("INSERT INTO log")

    store._writer.set_trace_callback(on_statement)
    await asyncio.gather(*(put(store, f"/{n}", "x" * 1000) for n in range(300)))
    store._writer.set_trace_callback(None)
    assert 0 < commits < 30


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


class SqliteMachine(StoreMachine):
    """The store beside the model, in a directory of its own."""

    def place(self) -> Callable[[], Store]:
        self.directory = tempfile.TemporaryDirectory(prefix="weft-b-")
        return lambda: SqliteStore(Path(self.directory.name) / "store.db")

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


def test_store_agrees_with_a_model() -> None:
    run_state_machine_as_test(
        SqliteMachine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
