"""`weft network`: labs on another Kubernetes, of which nothing is known but a kubeconfig; here it is an API server
that has no part of the network in it, neither definitions nor checks nor controllers."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_labs import LABS, until, way

from weft.core.settings import Settings
from weft.network.southbound import netns
from weft.testing import leftovers
from weft.testing.apiserver import api_server


class Elsewhere:
    """A cluster in one directory, and `weft network` in another."""

    def __init__(self, base: Path) -> None:
        self.base, self.root = base, base / "weft"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Any = api_server(base / "cluster")
        running = asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result(30)
        self.kubeconfig = base / "only-this"
        shutil.copy(running.kubeconfig, self.kubeconfig)
        self.process: subprocess.Popen[bytes] | None = None

    def weft(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        log = self.base / "log"
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), "network"]
        with log.open("ab") as output:
            began = output.tell()
            self.process = subprocess.Popen([*command, f"--kubeconfig={self.kubeconfig}"], stdout=output, stderr=output)
        until("the process", lambda: b"weft: ready" in log.read_bytes()[began:] or self.process.poll() is not None)
        assert self.process.poll() is None, log.read_text()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kubectl(self, *arguments: str) -> str:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.base}/cache", *arguments]
        environment = {**os.environ, "HOME": str(self.base)}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout

    @property
    def instance(self) -> str:
        return Settings.load(self.root).instance

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(None, None, None), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    base = Path(tempfile.mkdtemp(prefix="weft-k-", dir="/tmp"))
    before = leftovers.snapshot(base)
    made = Elsewhere(base)
    try:
        yield made
    finally:
        made.close()
        prefix = f"{made.instance}-"
        left = leftovers.new(before, leftovers.snapshot(base), only=(prefix,))
        for path in Path("/run/netns").glob(f"{prefix}*"):
            netns.delete(path)
        shutil.rmtree(base)
    assert not left, "left behind:\n" + "\n".join(left)


def test_a_lab_on_a_cluster_that_is_known_by_its_kubeconfig_alone(elsewhere: Elsewhere) -> None:
    elsewhere.start()
    assert "is up" in elsewhere.weft("lab", "up", str(LABS / "ring.yaml"))
    assert way(elsewhere.weft("lab", "trace", "h1", "h3"))[-1] == "h3"
    assert "route tables changed, all in the kernel" in elsewhere.weft("lab", "cut", "r1-r2")
    assert way(elsewhere.weft("lab", "trace", "h1", "h3")) == ["r1", "r6", "r3", "h3"]
    routers = json.loads(elsewhere.kubectl("get", "routers", "-o", "json"))["items"]
    assert {each["status"]["phase"] for each in routers} == {"Ready"}
    assert elsewhere.kubectl("get", "lease", "weft-network", "-n", "kube-system", "-o", "name")

    assert elsewhere.stop() == 0
    assert way(elsewhere.weft("lab", "trace", "h1", "h3"))[-1] == "h3", "without the process the lab goes on"
    elsewhere.start()
    elsewhere.weft("lab", "restore", "r1-r2")
    elsewhere.weft("lab", "down")
    assert elsewhere.kubectl("get", "routers,links,routetables", "-o", "name") == ""
    assert elsewhere.stop() == 0


def test_a_root_with_a_kubernetes_of_its_own_is_refused(elsewhere: Elsewhere) -> None:
    own = elsewhere.base / "cluster"
    elsewhere.root.mkdir(exist_ok=True)
    Settings.load_or_create(elsewhere.root)
    command = [sys.executable, "-m", "weft.cli.main", "--root", str(own), "network", "--kubeconfig"]
    done = subprocess.run([*command, elsewhere.kubeconfig], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "has a Kubernetes of its own: choose another directory by --root" in done.stderr
