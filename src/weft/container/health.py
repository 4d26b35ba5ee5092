"""Health checks: a command in the container, again and again, and what becomes of its answers.

In: the `Healthcheck` of a container or its image (Docker Engine API 1.47: Test, and times in nanoseconds). Out: the
container's `health`, and `health_status` events. One task a container, which ends with the container's run.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weft.container.attach import AttachStream
from weft.container.base import ExecSpec
from weft.container.records import Record
from weft.container.spec import Health, HealthResult, State
from weft.core.errors import InvalidError, WeftError

logger = logging.getLogger(__name__)
_NANO = 1_000_000_000
_LEAST = 1_000_000  # nanoseconds; the API refuses shorter times
_KEPT, _OUTPUT = 5, 4096  # results, and bytes of each, as dockerd keeps them
_TIMED_OUT = -1

Exec = Callable[[Record, ExecSpec], Awaitable[AttachStream]]


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Times in seconds. `retries` failures in a row make it unhealthy; those of the start period do not count."""

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    start_interval: float = 5.0
    retries: int = 3


def read(own: Mapping[str, Any] | None, image: Mapping[str, Any] | None, shell: tuple[str, ...]) -> HealthCheck | None:
    """The container's wish with what the image says filled in; None: no check. Raises InvalidError."""
    merged = {**(image or {}), **{key: value for key, value in (own or {}).items() if value}}
    test = merged.get("Test") or []
    if not isinstance(test, list) or not all(isinstance(word, str) for word in test):
        raise InvalidError("invalid Healthcheck: Test must be a list of strings")
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = merged.get(key) or 0
        if not isinstance(value, int) or value < 0 or 0 < value < _LEAST:
            raise InvalidError(f"{key} in Healthcheck cannot be less than 1ms")
    retries = merged.get("Retries") or 0
    if not isinstance(retries, int) or retries < 0:
        raise InvalidError("Retries in Healthcheck cannot be negative")
    if not test or test[0] == "NONE":
        return None
    if test[0] not in ("CMD", "CMD-SHELL"):
        raise InvalidError(f"Unknown healthcheck type '{test[0]}' (expected 'CMD')")
    command = tuple(test[1:]) if test[0] == "CMD" else (*shell, *test[1:])
    if len(test) < 2:
        raise InvalidError("invalid Healthcheck: Test has no command")
    return HealthCheck(
        command,
        (merged.get("Interval") or 30 * _NANO) / _NANO,
        (merged.get("Timeout") or 30 * _NANO) / _NANO,
        (merged.get("StartPeriod") or 0) / _NANO,
        (merged.get("StartInterval") or 5 * _NANO) / _NANO,
        retries or 3,
    )


def after(health: Health, result: HealthResult, check: HealthCheck, started: float) -> Health:
    """The health that follows from one more result. Pure."""
    log = (*health.log, result)[-_KEPT:]
    if result.exit_code == 0:
        return Health("healthy", 0, log)
    if health.status == "starting" and result.start - started < check.start_period:
        return Health("starting", health.failing_streak, log)
    streak = health.failing_streak + 1
    return Health("unhealthy" if streak >= check.retries else health.status, streak, log)


async def watch(record: Record, check: HealthCheck, execute: Exec, changed: Callable[[Record, str], None]) -> None:
    """Until this run of the container ends; `changed` is called with each new status, and with "" for a result that
    changes none."""
    life, started = record.life, record.container.started_at
    while record.life is life and record.is_running:
        health = record.container.health or Health()
        starting = health.status == "starting" and time.time() - started < check.start_period
        await asyncio.sleep(check.start_interval if starting else check.interval)
        if record.life is not life or record.container.state is not State.RUNNING:
            continue
        result = await _probe(record, check, execute)
        if record.life is not life or not record.is_running:
            return
        health = after(record.container.health or Health(), result, check, started)
        before = record.container.health.status if record.container.health else "starting"
        record.change(health=health)
        changed(record, health.status if health.status != before else "")


async def _probe(record: Record, check: HealthCheck, execute: Exec) -> HealthResult:
    began = time.time()
    output = bytearray()
    try:
        stream = await execute(record, ExecSpec(check.command))
    except WeftError as error:
        return HealthResult(began, time.time(), 1, str(error))

    async def answer() -> int:
        while (piece := await stream.read()) is not None:
            output.extend(piece[1][: max(0, _OUTPUT - len(output))])
        return await stream.wait()

    try:
        code = await asyncio.wait_for(answer(), check.timeout)
    except TimeoutError:
        try:
            os.kill(stream.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return HealthResult(
            began, time.time(), _TIMED_OUT, f"Health check exceeded timeout ({check.timeout:g}s): "
            + output.decode(errors="replace"),
        )  # fmt: skip
    finally:
        await stream.close()
    return HealthResult(began, time.time(), code, output.decode(errors="replace"))
