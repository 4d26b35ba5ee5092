"""Processes that are not our children: known by pid and start time, awaited and signalled by pidfd.

A pid alone may be used again by another process; the start time (proc(5), stat, field 22) tells them apart.
"""

import asyncio
import os
import signal


def start_time(pid: int) -> int:
    """Clock ticks since boot, 0 where there is no such process (or only its zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_same(pid: int, started: int) -> bool:
    return pid > 0 and started > 0 and start_time(pid) == started


def send(pid: int, started: int, number: int) -> bool:
    """Signals exactly that process; False where it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_same(pid, started):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


async def readable(descriptor: int) -> None:
    """Waits until a file descriptor can be read from; a pidfd can when its process has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def ended(pid: int, started: int) -> None:
    """Returns once that process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_same(pid, started):
            await readable(descriptor)
    finally:
        os.close(descriptor)
