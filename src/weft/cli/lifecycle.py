"""`weft up`, `weft down` and `weft status`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from weft.cli.process import READY_FD
from weft.core.errors import WeftError
from weft.core.settings import Settings

_START_SECONDS = 60.0


def running(root: Path) -> dict[str, Any] | None:
    """What the supervisor wrote of itself, if it lives."""
    try:
        state: dict[str, Any] = json.loads((root / "run/weft/weft.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state if _is_weft(state.get("supervisor", 0), "weft.cli.supervisor") else None


def _is_weft(pid: int, module: str) -> bool:
    """Whether `pid` lives and runs `module`: pids are reused."""
    try:
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def up(root: Path, *, detach: bool, overrides: dict[str, Any]) -> None:
    """Starts the supervisor and waits until all answers; raises WeftError with the reason where it cannot."""
    began = time.monotonic()
    if running(root):
        if overrides:
            raise WeftError("weft is up already: `weft down` first to change its settings")
        click.echo(summary(Settings.load(root), "weft is up already"))
        return
    settings = Settings.load_or_create(root, **overrides)
    for name, port in (("api-port", settings.api_port), ("registry-port", settings.registry_port)):
        _check_free(settings.api_address, port, name)
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "weft.cli.supervisor", str(root), str(began)]
    log = settings.paths.lib / "log/supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(write_end,),
            env={**os.environ, READY_FD: str(write_end)},
            start_new_session=detach,
        )
    os.close(write_end)
    answer = _read_answer(read_end)
    if answer != "ready":
        process.terminate()
        process.wait()
        raise WeftError(f"cannot start: {answer.removeprefix('error ') or f'no answer; see {log}'}")
    seconds = (running(root) or {}).get("ready", time.monotonic() - began)
    click.echo(summary(settings, f"weft is up in {seconds:.1f} s"))
    if not detach:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()


def _check_free(address: str, port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise WeftError(f"cannot listen on {address}:{port} (--{name}): {error.strerror}") from error


def _read_answer(descriptor: int) -> str:
    """The supervisor's line; empty after a minute without one, or when it died."""
    import select

    with os.fdopen(descriptor, "r") as pipe:
        readable, _, _ = select.select([pipe], [], [], _START_SECONDS)
        return pipe.readline().strip() if readable else ""


def summary(settings: Settings, head: str) -> str:
    return (
        f"{head}: docker unix://{settings.paths.docker_socket}, "
        f"kubernetes https://{settings.api_address}:{settings.api_port}, "
        f"registry http://{settings.registry_address}:{settings.registry_port}"
    )


def down(root: Path, *, seconds: float, purge: bool) -> None:
    """Ends the processes, then the containers, then removes every object of the kernel and run-time file."""
    from weft.cli.teardown import purge_state, teardown

    try:
        settings = Settings.load(root)
    except FileNotFoundError:
        click.echo(f"weft is not up in {root}, and was never")
        return
    was_up = stop_processes(root)
    teardown(settings, seconds)
    if purge:
        purge_state(settings)
    click.echo("weft is down" if was_up else "weft was not up; what it had left is removed")


def stop_processes(root: Path) -> bool:
    """Ends supervisor, server and node; whether there was anything to end."""
    try:
        state = json.loads((root / "run/weft/weft.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    found = False
    for part, number in (("supervisor", signal.SIGTERM), ("node", signal.SIGTERM), ("server", signal.SIGTERM)):
        pid = state.get(part, 0)
        if not _is_weft(pid, f"weft.cli.{part}"):
            continue
        found = True
        _end(pid, number)
    return found


def _end(pid: int, number: signal.Signals) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    try:
        signal.pidfd_send_signal(descriptor, number)
        if not select.select([descriptor], [], [], 20.0)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 5.0)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
