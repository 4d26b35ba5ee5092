"""The engine ends, or is killed, and comes back: containers are the same processes, nothing acknowledged is lost."""

import json
import os
import signal
import threading
import time
from typing import Any

import pytest

from weft.container.runtime import pidfd

EngineProcess = Any


def state(engine: EngineProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.docker("inspect", "-f", "{{json .State}}", name).stdout)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_containers_outlive_the_engine(engine: EngineProcess, number: int) -> None:
    counter = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    engine.docker("run", "-d", "--name", "lasting", "busybox", "sh", "-c", counter)
    engine.docker("run", "-d", "--name", "ending", "busybox", "sh", "-c", "sleep 0.5; exit 42")
    engine.docker("create", "--name", "made", "busybox", "true")
    before = state(engine, "lasting")
    engine.end(number)
    assert os.path.exists(f"/proc/{before['Pid']}")
    time.sleep(0.8)
    engine.start()
    after = state(engine, "lasting")
    assert (after["Status"], after["Pid"], after["StartedAt"]) == ("running", before["Pid"], before["StartedAt"])
    ended = state(engine, "ending")
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 42)
    assert state(engine, "made")["Status"] == "created"
    numbers = [int(line) for line in engine.docker("logs", "lasting").stdout.split()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert engine.docker("exec", "lasting", "echo", "still here").stdout == "still here\n"
    assert engine.docker("stop", "-t", "1", "lasting").returncode == 0
    assert engine.docker("start", "-a", "made").returncode == 0
    engine.docker("rm", "lasting", "ending", "made")


def test_killed_while_it_starts_and_removes(engine: EngineProcess) -> None:
    """Whatever was acknowledged is there afterwards; whatever is there can be removed."""
    acknowledged: list[str] = []

    def run() -> None:
        for index in range(40):
            done = engine.docker("run", "-d", "--name", f"storm{index}", "busybox", "sleep", "1000", check=False)
            if done.returncode != 0:
                return
            acknowledged.append(f"storm{index}")

    runner = threading.Thread(target=run)
    runner.start()
    deadline = time.monotonic() + 20
    while len(acknowledged) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.end(signal.SIGKILL)
    runner.join()
    engine.start()
    running = engine.docker("ps", "--format", "{{.Names}}").stdout.split()
    assert set(acknowledged) <= set(running)
    for name in engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split():
        if name not in running:
            engine.docker("start", name)
    engine.remove_containers()


def test_monitor_killed(engine: EngineProcess) -> None:
    """Without its monitor a container cannot go on: it is ended and said to have failed."""
    id = engine.docker("run", "-d", "--name", "orphan", "busybox", "sleep", "1000").stdout.strip()
    pid = state(engine, "orphan")["Pid"]
    monitor = int((engine.settings.paths.run / "containers" / id / "conmon.pid").read_text())
    os.kill(monitor, signal.SIGKILL)
    assert engine.docker("wait", "orphan").stdout == "137\n"
    assert pidfd.start_time(pid) == 0
    assert "monitor" in state(engine, "orphan")["Error"]
    engine.docker("rm", "orphan")


def test_restart_policies_after_a_reboot(engine: EngineProcess) -> None:
    """As after a reboot: the processes are gone without an exit code, and no run-time file is left."""
    engine.docker("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "never", "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000")
    engine.docker("stop", "-t", "0", "stopped")
    pids = [state(engine, name)["Pid"] for name in ("always", "never")]
    engine.end(signal.SIGKILL)
    for directory in (engine.settings.paths.run / "containers").iterdir():
        os.kill(int((directory / "conmon.pid").read_text()), signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    engine.start()
    for _ in range(100):
        if state(engine, "always")["Status"] == "running":
            break
        time.sleep(0.05)
    assert state(engine, "always")["Status"] == "running"
    assert (state(engine, "never")["Status"], state(engine, "never")["ExitCode"]) == ("exited", 255)
    assert state(engine, "stopped")["Status"] == "exited"
    engine.remove_containers()
