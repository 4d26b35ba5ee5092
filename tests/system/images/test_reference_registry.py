"""The engine's client against the reference registry (docker-registry), with and without a password."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from weft.core.settings import free_port

Daemon = Any
# `weft` with password `secret`, by htpasswd -B
HTPASSWD = "weft:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Callable[..., str]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(htpasswd: str = "") -> str:
        port = free_port()
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(tmp_path / f"registry{port}")}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if htpasswd:
            (tmp_path / "htpasswd").write_text(htpasswd)
            config["auth"] = {"htpasswd": {"realm": "weft", "path": str(tmp_path / "htpasswd")}}
        file = tmp_path / f"config{port}.yml"
        file.write_text(json.dumps(config))
        with open(tmp_path / "registry.log", "ab") as log:
            started.append(subprocess.Popen(["docker-registry", "serve", str(file)], stdout=log, stderr=log))
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                break
            except urllib.error.HTTPError:
                break  # it wants a password: it is there
            except OSError:
                time.sleep(0.05)
        return f"127.0.0.1:{port}"

    assert shutil.which("docker-registry"), "docker-registry is not installed: scripts/setup.sh test"
    yield start
    for process in started:
        process.kill()
        process.wait()


def test_push_and_pull(daemon: Daemon, reference: Callable[..., str]) -> None:
    name = f"{reference()}/team/box"
    daemon.docker("tag", "busybox", f"{name}:v1")
    pushed = daemon.docker("push", f"{name}:v1").stdout
    digest = pushed.split("digest: ")[1].split()[0]
    daemon.docker("tag", "busybox", f"{name}:v2")
    assert "Layer already exists" in daemon.docker("push", f"{name}:v2").stdout
    inspected = daemon.skopeo("inspect", "--tls-verify=false", f"docker://{name}:v1")
    assert json.loads(inspected.stdout)["Digest"] == digest
    daemon.docker("rmi", f"{name}:v1", f"{name}:v2")
    daemon.docker("pull", f"{name}@{digest}")
    assert daemon.docker("run", "--rm", f"{name}@{digest}", "echo", "ok").stdout == "ok\n"
    done = daemon.docker("pull", f"{name}:v9", check=False)
    assert "not found: manifest unknown" in done.stderr
    daemon.docker("rmi", f"{name}@{digest}")


def test_password(daemon: Daemon, reference: Callable[..., str]) -> None:
    registry = reference(HTPASSWD)
    name = f"{registry}/private/box:v1"
    daemon.docker("tag", "busybox", name)
    done = daemon.docker("push", name, check=False)
    assert "denied: requested access to the resource is denied" in done.stderr
    daemon.docker("login", "-u", "weft", "--password-stdin", registry, stdin="secret")
    daemon.docker("push", name)
    daemon.docker("rmi", name)
    daemon.docker("pull", name)
    daemon.docker("logout", registry)
    done = daemon.docker("pull", name, check=False)
    assert f"pull access denied for {registry}/private/box, repository does not exist or may require" in done.stderr
    daemon.docker("rmi", name)
