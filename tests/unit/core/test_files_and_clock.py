"""Atomic files, the fake clock, times and processes."""

import asyncio
from pathlib import Path

import pytest

from weft.core.clock import FakeClock, parse_rfc3339, rfc3339, rfc3339_micro
from weft.core.errors import UnsupportedError
from weft.core.files import write_atomic
from weft.core.process import ProcessError, run


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "new/place/key"
    write_atomic(file, b"one", 0o600)
    write_atomic(file, b"two", 0o600)
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["key"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_atomic(file, b"old")
    with pytest.raises(TypeError):
        write_atomic(file, "text")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic() - start))

    start = clock.monotonic()
    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    await clock.advance(2.5)
    assert woken == [(1, 1), (2, 2)]
    await clock.advance(1)
    assert woken[-1] == (3, 3)
    await asyncio.gather(*tasks)


def test_times_round_trip() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339_micro(1.5) == "1970-01-01T00:00:01.500000Z"
    assert parse_rfc3339(rfc3339(1_700_000_000)) == 1_700_000_000


async def test_a_program_that_fails_tells_its_last_words() -> None:
    with pytest.raises(ProcessError, match="exit code 3: oh no"):
        await run("sh", "-c", "echo oh no >&2; exit 3")
    assert (await run("cat", stdin=b"data")).stdout == b"data"
    with pytest.raises(UnsupportedError, match="not installed"):
        await run("no-such-program-here")
