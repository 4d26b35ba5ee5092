"""An engine with its Docker API as a child process, in a root of its own; nothing of it may stay behind."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft.container.runtime.cgroups import cleanup_host, hierarchies
from weft.core.settings import Settings
from weft.network.cluster.cleanup import remove_all
from weft.testing import leftovers


class EngineProcess:
    """The child and the environment in which docker talks to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> Settings:
        return Settings.load(self.root)

    @property
    def socket(self) -> Path:
        return self.settings.paths.docker_socket

    @property
    def env(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return clean | {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.root / "docker")}

    def start(self) -> None:
        with open(self.root / "engine.log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("engine_daemon.py")), str(self.root)],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.log()

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        assert number == signal.SIGKILL or code == 0, self.log()

    def log(self) -> str:
        return (self.root / "engine.log").read_text()

    def docker(self, *arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *arguments], env=self.env, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode != 0:
            pytest.fail(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}")
        return done

    def remove_containers(self) -> None:
        if ids := self.docker("ps", "-aq").stdout.split():
            self.docker("rm", "-f", "-v", *ids)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[EngineProcess]:
    """A module may name another runtime by `RUNTIME`."""
    root = Path(tempfile.mkdtemp(prefix="we", dir="/tmp")).resolve()
    Settings.load_or_create(root, runtime=getattr(request.module, "RUNTIME", "auto"))
    before = leftovers.snapshot(root / "run/weft")
    engine = EngineProcess(root)
    try:
        engine.start()
        yield engine
        engine.remove_containers()
    finally:
        engine.end()
        settings = engine.settings
        asyncio.run(remove_all(settings))
        for top in hierarchies():
            for directory, _, _ in os.walk(top / settings.instance, topdown=False):
                os.rmdir(directory)
        cleanup_host(settings.paths)
        run = leftovers.snapshot(root / "run/weft")["run files"]
        shutil.rmtree(root)
    after = leftovers.snapshot(root / "run/weft")
    left = leftovers.new(before, after, only=(str(root), settings.instance))
    assert not left, "left behind:\n" + "\n".join(left)
    stale = [name for name in run if any(part in name for part in ("/containers/", "/exits/", "/crun/", "/runc/"))]
    assert not stale, f"run-time files of removed containers: {stale}"
