"""The other runtime: the same engine over runc."""

from typing import Any

RUNTIME = "runc"
EngineProcess = Any


def test_the_whole_life_of_a_container(engine: EngineProcess) -> None:
    assert engine.docker("info", "--format", "{{.DefaultRuntime}}").stdout == "runc\n"
    done = engine.docker(
        "run", "--rm", "-i", "-w", "/made", "busybox", "sh", "-c", "pwd; cat; exit 3", stdin="in\n", check=False
    )
    assert (done.returncode, done.stdout) == (3, "/made\nin\n")
    engine.docker("run", "-d", "--name", "long", "-m", "64m", "busybox", "sleep", "1000")
    assert engine.docker("exec", "-u", "bob", "long", "id", "-u").stdout == "1000\n"
    engine.docker("pause", "long")
    engine.docker("unpause", "long")
    engine.docker("stop", "-t", "0", "long")
    engine.docker("start", "long")
    engine.docker("rm", "-f", "long")


def test_failures(engine: EngineProcess) -> None:
    assert engine.docker("run", "--rm", "busybox", "nosuch", check=False).returncode == 127
    assert engine.docker("run", "--rm", "busybox", "/etc/passwd", check=False).returncode == 126
    assert engine.docker("ps", "-aq").stdout == ""
