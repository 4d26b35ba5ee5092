"""Health checks, live limits, borrowed volumes and files in volumes, by the docker CLI."""

import json
import time
from pathlib import Path
from typing import Any

EngineProcess = Any


def inspect(engine: EngineProcess, name: str, path: str) -> str:
    return engine.docker("inspect", "--format", path, name).stdout.strip()


def wait_for(engine: EngineProcess, name: str, path: str, wanted: str) -> None:
    for _ in range(100):
        if inspect(engine, name, path) == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name}: {path} is {inspect(engine, name, path)}, not {wanted}")


def test_health_follows_the_check(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "well", "--health-cmd", "cat /tmp/ok", "--health-interval", "300ms",
                "--health-retries", "2", "busybox", "sh", "-c", "touch /tmp/ok; sleep 1000")  # fmt: skip
    try:
        wait_for(engine, "well", "{{.State.Health.Status}}", "healthy")
        assert "(healthy)" in engine.docker("ps", "--filter", "health=healthy", "--format", "{{.Status}}").stdout
        engine.docker("exec", "well", "rm", "/tmp/ok")
        wait_for(engine, "well", "{{.State.Health.Status}}", "unhealthy")
        log = json.loads(inspect(engine, "well", "{{json .State.Health.Log}}"))
        assert log[-1]["ExitCode"] == 1
        assert "No such file" in log[-1]["Output"]
    finally:
        engine.docker("rm", "-f", "well")


def test_a_check_that_hangs_is_ended_and_counts_as_failed(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "slow", "--health-cmd", "sleep 77", "--health-interval", "200ms",
                "--health-timeout", "300ms", "--health-retries", "1", "busybox", "sleep", "1000")  # fmt: skip
    try:
        wait_for(engine, "slow", "{{.State.Health.Status}}", "unhealthy")
        assert "exceeded timeout (0.3s)" in inspect(engine, "slow", "{{json .State.Health.Log}}")
    finally:
        engine.docker("rm", "-f", "slow")


def test_limits_change_while_it_runs(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "grows", "-m", "32m", "busybox", "sleep", "1000")
    try:
        engine.docker("update", "-m", "64m", "--memory-swap", "128m", "--restart", "on-failure:3", "grows")
        assert (
            inspect(engine, "grows", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}")
            == "67108864 on-failure"
        )
        shown = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "grows").stdout
        assert "64MiB" in shown
        refused = engine.docker("update", "-m", "1m", "grows", check=False)
        assert refused.returncode != 0
        assert "Minimum memory limit allowed is 6MB" in refused.stderr
        assert inspect(engine, "grows", "{{.HostConfig.Memory}}") == "67108864"
    finally:
        engine.docker("rm", "-f", "grows")


def test_volumes_of_another_container_and_files_in_them_before_it_runs(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("kept\n")
    engine.docker("create", "--name", "owner", "-v", "/data", "busybox", "true")
    try:
        engine.docker("cp", str(tmp_path / "note.txt"), "owner:/data/note.txt")
        engine.docker("cp", "owner:/data/note.txt", str(tmp_path / "back.txt"))
        assert (tmp_path / "back.txt").read_text() == "kept\n"
        engine.docker("cp", "owner:/data", str(tmp_path / "all"))
        assert (tmp_path / "all/note.txt").read_text() == "kept\n"
        script = "cat /data/note.txt; touch /data/x || echo refused"
        read = engine.docker("run", "--rm", "--volumes-from", "owner:ro", "busybox", "sh", "-c", script)
        assert read.stdout == "kept\nrefused\n"
        none = engine.docker("run", "--rm", "--volumes-from", "nobody", "busybox", "true", check=False)
        assert "No such container: nobody" in none.stderr
    finally:
        engine.docker("rm", "-fv", "owner")


def test_a_log_driver_that_is_not_there_and_none(engine: EngineProcess) -> None:
    refused = engine.docker("run", "--rm", "--log-driver", "asdf", "busybox", "true", check=False)
    assert "logger: no log driver named 'asdf' is registered" in refused.stderr
    engine.docker("run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "hello")
    try:
        done = engine.docker("logs", "mute", check=False)
        assert "configured logging driver does not support reading" in done.stderr
    finally:
        engine.docker("rm", "-f", "mute")


def test_there_is_no_swarm(engine: EngineProcess) -> None:
    for words in (("node", "ls"), ("service", "ls"), ("secret", "ls")):
        assert "This node is not a swarm manager" in engine.docker(*words, check=False).stderr
