"""Backup and restore: one revision under load, equal objects, revisions that go on, and files that are not whole."""

import asyncio
import contextlib
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.core.errors import ConflictError, InvalidError, NotFoundError
from weft.store import backup, sqlite_copy
from weft.store.backup import Backup
from weft.store.base import CompactedError, Delete, KeyValue, Put
from weft.store.sqlite import SqliteStore
from weft.testing.store import collect, put


async def test_one_moment_of_a_busy_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    going = True

    async def write() -> None:
        n = 0
        while going:
            n += 1
            value = b"%d" % n
            await store.txn([], [Put("/x", value), Put("/y", value)])
            await store.txn([], [Put("/z", value)])

    writing = asyncio.create_task(write())
    for number in range(5):
        await asyncio.sleep(0.01)
        await asyncio.to_thread(asyncio.run, sqlite_copy.save(tmp_path / "store.db", tmp_path / f"b{number}", {}))
    going = False
    await writing
    await store.stop()
    revisions = []
    for number in range(5):
        found = Backup.open(tmp_path / f"b{number}")
        values = {item.key: int(item.value) for item in found.items()}
        assert values["/x"] == values["/y"]
        assert values["/z"] in (values["/x"], values["/x"] - 1)
        assert found.revision == 1 + values["/x"] + values["/z"]
        revisions.append(found.revision)
    assert revisions == sorted(revisions)


async def test_a_restored_store_goes_on_where_the_backup_was_made(tmp_path: Path) -> None:
    old = SqliteStore(tmp_path / "old" / "store.db")
    await old.start()
    await put(old, "/a", '{"a":1,"f":1.5e300,"u":"\u00fc"}')
    await put(old, "/b", "not JSON \x00")
    gone = await put(old, "/gone", "{}")
    await put(old, "/a/b", "[]")
    last = (await old.txn([], [Delete("/gone")])).revision
    expected = (await old.range("/")).items
    file = tmp_path / "backup"
    assert await sqlite_copy.save(tmp_path / "old" / "store.db", file, {}) == 3
    await old.stop()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    path = tmp_path / "new" / "store.db"
    assert await sqlite_copy.restore(path, file) == 3
    assert {entry.name for entry in path.parent.iterdir()} == {"store.db", "store.db.lock"}
    new = SqliteStore(path)
    await new.start()
    assert (await new.range("/")).items == expected
    assert new.revision == last
    with pytest.raises(CompactedError):
        await collect(new, "/", gone, 1)
    assert await put(new, "/c", "1") == last + 1
    assert [event.key for event in await collect(new, "/", last + 1, 1)] == ["/c"]
    with pytest.raises(ConflictError, match="another process"):
        await sqlite_copy.restore(path, file)
    await new.stop()
    with pytest.raises(ConflictError, match="not empty"):
        await sqlite_copy.restore(path, file)


async def test_an_empty_store_may_be_restored_into(tmp_path: Path) -> None:
    for name in ("full", "empty"):
        store = SqliteStore(tmp_path / name)
        await store.start()
        if name == "full":
            await put(store, "/a", "1")
        await store.stop()
    await sqlite_copy.save(tmp_path / "full", tmp_path / "backup", {})
    assert await sqlite_copy.restore(tmp_path / "empty", tmp_path / "backup") == 1


async def test_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await sqlite_copy.save(tmp_path / "none", tmp_path / "backup", {})
    assert list(tmp_path.iterdir()) == []


async def some(count: int) -> AsyncIterator[KeyValue]:
    for n in range(count):
        yield KeyValue(f"/{n:03}", orjson.dumps({"n": n}), n + 1, n + 1)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damaged_file_is_restored(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(prefix="weft-b-") as directory:
        file, store = Path(directory, "backup"), Path(directory, "store.db")
        asyncio.run(backup.write(file, 10, {}, some(data.draw(st.integers(0, 5)))))
        content = bytearray(file.read_bytes())
        where = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["cut", "flip", "drop a line", "twice"]))
        if how == "cut":
            if where == len(content) - 1:
                return  # the last line's end is not missed
            del content[where:]
        elif how == "flip":
            content[where] ^= 1 << data.draw(st.integers(0, 7))
        else:
            lines = bytes(content).splitlines(keepends=True)
            at = where % len(lines)
            lines[at : at + 1] = [] if how == "drop a line" else [lines[at]] * 2
            content = bytearray(b"".join(lines))
        file.write_bytes(content)
        whole = False
        with contextlib.suppress(InvalidError):
            # A flip in the last line may leave its meaning as it was (a space, the end of the line).
            whole = Backup.open(file).objects >= 0 and how == "flip"
        if not whole:
            with pytest.raises(InvalidError, match="cannot restore"):
                asyncio.run(sqlite_copy.restore(store, file))
            assert [entry.name for entry in Path(directory).iterdir()] == ["backup"]


HEAD = b'{"format":"weft-backup","version":1,"revision":5}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"hello\n", "no backup"),
        (b"{}\n", "no backup"),
        (b"[1]\n[2]\n", "no backup"),
        (b'{"format":"weft-backup","version":2,"revision":1}\n{}\n', "version is 2"),
        (b'{"format":"weft-backup","version":1,"revision":"x"}\n{}\n', "revision is 'x'"),
        (HEAD, "cut short"),
        (HEAD + b'{"key":"/a"}\n{}\n', "line 2 is malformed"),
        (HEAD + b'{"key":"a","create":1,"modified":1,"value":1}\n{}\n', "no key"),
        (HEAD + b'{"key":"/a","create":1,"modified":9,"value":1}\n{}\n', "order"),
    ],
)  # fmt: skip
def test_files_that_are_no_backup(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidError, match=message):
        Backup.open(tmp_path / "file")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="No such file"):
        Backup.open(tmp_path / "none")
