"""A cluster of one node in a root of its own, its two halves as processes; nothing of it may stay behind."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from weft.container.runtime.cgroups import cleanup_host, hierarchies
from weft.core.settings import Settings
from weft.network.cluster.cleanup import remove_all
from weft.testing import leftovers


class Cluster:
    """The processes, and kubectl."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings.load_or_create(root, api_port=0, kubelet_port=0, registry_port=0)
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, part: str) -> None:
        with open(self.root / f"{part}.log", "a") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("node_parts.py")), part, str(self.root)],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        output = self.processes[part].stdout
        assert output is not None
        assert output.readline() == "ready\n", self.logs()

    def end(self, part: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(part)
        process.send_signal(number)
        code = process.wait(timeout=20)
        if process.stdout is not None:
            process.stdout.close()
        assert number == signal.SIGKILL or code == 0, self.logs()

    def end_quietly(self, part: str) -> AssertionError | None:
        """At the end of all: the other part is still to be ended."""
        try:
            self.end(part)
        except AssertionError as error:
            return error
        return None

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-6000:]}" for file in self.root.glob("*.log"))

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["kubectl", f"--cache-dir={self.root}/kubectl-cache", *arguments],
            env={**os.environ, "KUBECONFIG": str(self.settings.paths.kubeconfig), "HOME": str(self.root)},
            input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(
                f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
            )
        return done

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json").stdout)
        return found

    def status(self, name: str, container: int = 0) -> dict[str, Any]:
        """The status of one container of a pod; empty where there is none yet."""
        statuses = self.get("pod", name).get("status", {}).get("containerStatuses") or [{}]
        found: dict[str, Any] = statuses[container]
        return found

    def wait_ready(self, *names: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", "--timeout=30s", *(f"pod/{name}" for name in names))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        pytest.fail(f"not within {seconds} s: {what}\n{self.logs()}")

    def containers(self) -> list[Path]:
        """Bundles of the engine's running containers."""
        directory = self.settings.paths.run / "containers"
        return list(directory.iterdir()) if directory.is_dir() else []

    def remove_pods(self) -> None:
        self.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=30s")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    root = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp")).resolve()
    before = leftovers.snapshot(root / "run/weft")
    cluster = Cluster(root)
    run: set[str] = set()
    try:
        cluster.start("server")
        cluster.start("node")
        cluster.kubectl("wait", "--for=condition=Ready", "node/weft", "--timeout=20s")
        yield cluster
        cluster.remove_pods()
        run = leftovers.snapshot(root / "run/weft")["run files"]
    finally:
        failures = [error for part in list(cluster.processes) if (error := cluster.end_quietly(part))]
        settings = cluster.settings
        asyncio.run(remove_all(settings))
        for top in hierarchies():
            for directory, _, _ in os.walk(top / settings.instance, topdown=False):
                os.rmdir(directory)
        cleanup_host(settings.paths)
        pods = list((settings.paths.lib / "pods").glob("*"))
        shutil.rmtree(root)
    assert not failures, failures
    after = leftovers.snapshot(root / "run/weft")
    left = leftovers.new(before, after, only=(str(root), settings.instance))
    assert not left, "left behind:\n" + "\n".join(left)
    stale = [name for name in run if any(part in name for part in ("/containers/", "/sandboxes/", "/netns/"))]
    assert not stale, f"run-time files of removed pods: {stale}"
    assert not pods, f"files of removed pods: {pods}"
