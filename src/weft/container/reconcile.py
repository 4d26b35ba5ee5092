"""What an engine does when it opens: make its records agree with what really runs.

A container whose init still runs is the same one and is watched on; one whose conmon wrote an exit code has ended
with that; leftovers of an interrupted start or removal are cleared away; restart policies apply.
"""

import asyncio
import logging

from weft.container import restart
from weft.container.lifecycle import BOOT_ID, Lifecycle
from weft.container.records import Record
from weft.container.runtime import pidfd
from weft.container.spec import State
from weft.core.errors import WeftError

logger = logging.getLogger(__name__)

_LOST = 255  # the exit code of a container that the machine took down with it, as Docker gives it


async def reconcile(lifecycle: Lifecycle, records: list[Record]) -> list[Record]:
    """Settles every record; returns those that are to be started, which the caller does in the background."""
    outcomes = await asyncio.gather(*(_settle(lifecycle, record) for record in records), return_exceptions=True)
    wanted = []
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            logger.error("cannot settle a container", extra={"id": record.id, "cause": outcome})
        elif outcome:
            wanted.append(record)
    return wanted


async def _settle(lifecycle: Lifecycle, record: Record) -> bool:
    state, spec = record.container.state, record.container.spec
    if state in (State.RUNNING, State.PAUSED):
        if _monitor_lives(record):
            lifecycle.watch(record)
            return False
        async with record.lock:
            await lifecycle.finish(record, default_code=_LOST)
        return False
    if lifecycle.parts.bundles.directory(record.id).exists():
        logger.warning("clearing away an interrupted start or stop", extra={"id": record.id})
        await lifecycle.clean_run(record)
    if state is State.REMOVING:
        async with record.lock:
            await lifecycle.delete(record, volumes=spec.auto_remove)
        return False
    if state is State.RESTARTING:
        record.change(state=State.EXITED)
        return True
    if state is State.EXITED and spec.auto_remove:
        await lifecycle.remove(record, volumes=True)
        return False
    return state is State.EXITED and restart.should_start_at_boot(
        spec.restart, record.container.exit_code, manually_stopped=record.manually_stopped
    )


def _monitor_lives(record: Record) -> bool:
    life = record.life
    return life.boot_id == BOOT_ID and pidfd.is_same(life.monitor_pid, life.monitor_started)


async def start_all(lifecycle: Lifecycle, records: list[Record]) -> None:
    """One after the other: a boot is busy enough."""
    for record in records:
        try:
            await lifecycle.start(record)
        except (WeftError, OSError) as error:
            logger.warning("cannot start a container again", extra={"id": record.id, "cause": error})
