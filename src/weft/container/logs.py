"""Reading conmon's log files (k8s-file): `TIME STREAM P|F DATA`, where P marks a line that goes on in the next entry.

`read` yields what there is; with `follow` it goes on, woken by inotify, until the container has ended.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from weft.container.base import LogLine
from weft.container.inotify import Watch

_BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Selection:
    """Which lines: by stream, by time, the last `tail`."""

    stdout: bool = True
    stderr: bool = True
    since: float = 0
    until: float = 0
    tail: int | None = None

    def has(self, line: LogLine) -> bool:
        if not (self.stdout if line.stream == "stdout" else self.stderr):
            return False
        return line.time >= self.since and not (self.until and line.time > self.until)


def parse_line(entry: bytes) -> LogLine | None:
    """One entry without its newline; None where it is malformed, as after a loss of power."""
    parts = entry.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    try:
        time = datetime.fromisoformat(parts[0].decode()).timestamp()
    except ValueError:
        return None
    data = parts[3] + b"\n" if parts[2].startswith(b"F") else parts[3]
    return LogLine("stderr" if parts[1] == b"stderr" else "stdout", time, data)


async def read(path: Path, selection: Selection, follow: "asyncio.Future[int] | None" = None) -> AsyncIterator[LogLine]:
    """The selected lines; `follow` is the container's end, None to stop at what is there now."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file, Watch(path) as watch:
        file.seek(_tail_offset(path, selection))
        rest = b""
        while True:
            ended = follow is None or follow.done()
            while block := file.read(_BLOCK):
                *entries, rest = (rest + block).split(b"\n")
                for entry in entries:
                    line = parse_line(entry)
                    if line is not None and selection.until and line.time > selection.until:
                        return
                    if line is not None and selection.has(line):
                        yield line
                await asyncio.sleep(0)
            if ended or follow is None:
                return
            await _either(watch, follow)


async def _either(watch: Watch, end: "asyncio.Future[int]") -> None:
    change = asyncio.get_running_loop().create_task(watch.changed())
    try:
        waiting: set[asyncio.Future[Any]] = {change, end}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        change.cancel()


def _tail_offset(path: Path, selection: Selection) -> int:
    """Where the last `tail` whole lines of the selected streams begin, found from the end of the file."""
    size = os.path.getsize(path)
    if selection.tail is None or selection.tail < 0:
        return 0
    if selection.tail == 0:
        return size
    position, rest, wanted = size, b"", selection.tail
    with open(path, "rb") as file:
        while position > 0:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            entries = (file.read(step) + rest).split(b"\n")
            rest, offset = entries[0], position + len(entries[0]) + 1
            starts = []
            for entry in entries[1:]:
                starts.append((offset, entry))
                offset += len(entry) + 1
            for start, entry in reversed(starts):
                wanted, found = _count(entry, selection, wanted)
                if found:
                    return start + len(entry) + 1
        _, found = _count(rest, selection, wanted)
        return len(rest) + 1 if found else 0


def _count(entry: bytes, selection: Selection, wanted: int) -> tuple[int, bool]:
    """Counts down at the end of each line; true at the end of the line before the first wanted one."""
    line = parse_line(entry)
    if line is None or not selection.has(line) or not line.data.endswith(b"\n"):
        return wanted, False
    return (wanted, True) if wanted == 0 else (wanted - 1, False)
