"""An engine, its Docker API and a registry as a child process, in a root of its own; nothing of it may stay behind."""

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


class Daemon:
    """The child, and the commands that talk to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> Settings:
        return Settings.load(self.root)

    @property
    def registry(self) -> str:
        return f"127.0.0.1:{self.settings.registry_port}"

    def start(self) -> None:
        (self.root / "docker").mkdir(exist_ok=True)
        (self.root / "docker/config.json").write_text("{}")
        with open(self.root / "daemon.log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("images_daemon.py")), str(self.root)],
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
        return (self.root / "daemon.log").read_text()

    @property
    def env(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return clean | {
            "DOCKER_HOST": f"unix://{self.settings.paths.docker_socket}",
            "DOCKER_CONFIG": str(self.root / "docker"),
            "DOCKER_BUILDKIT": "0",
            "HOME": str(self.root),
            "XDG_RUNTIME_DIR": str(self.root),
        }

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, env=self.env, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}")
        return done

    def docker(self, *arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run("docker", *arguments, check=check, stdin=stdin)

    def skopeo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("skopeo", "--insecure-policy", *arguments)

    def mounts(self) -> list[str]:
        """Of this instance."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if f" {self.root}/" in line]

    def temporary(self) -> list[str]:
        """Files that a step in progress has, and nothing else may have."""
        lib = self.settings.paths.lib
        found = [
            *lib.glob("tmp/*"),
            *lib.glob("content/ingest/*"),
            *lib.glob("overlay/l/tmp-*"),
            *lib.glob("overlay/c/*"),
        ]
        return [str(path) for path in found]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    root = Path(tempfile.mkdtemp(prefix="wi", dir="/tmp")).resolve()
    before = leftovers.snapshot(root / "run/weft")
    Settings.load_or_create(root, registry_port=0)
    daemon = Daemon(root)
    try:
        daemon.start()
        yield daemon
        if ids := daemon.docker("ps", "-aq").stdout.split():
            daemon.docker("rm", "-f", "-v", *ids)
    finally:
        daemon.end()
        settings = daemon.settings
        asyncio.run(remove_all(settings))
        for top in hierarchies():
            for directory, _, _ in os.walk(top / settings.instance, topdown=False):
                os.rmdir(directory)
        cleanup_host(settings.paths)
        mounts = daemon.mounts()
        if not mounts:
            shutil.rmtree(root)
    assert not mounts
    after = leftovers.snapshot(root / "run/weft")
    left = leftovers.new(before, after, only=(str(root), settings.instance))
    assert not left, "left behind:\n" + "\n".join(left)
