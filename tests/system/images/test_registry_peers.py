"""The registry and the engine's own client, against skopeo, podman, docker and curl."""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Daemon = Any


def test_push_and_pull_by_docker(daemon: Daemon) -> None:
    name = f"{daemon.registry}/team/box:v1"
    daemon.docker("tag", "busybox", name)
    first = daemon.docker("push", name).stdout
    assert "Pushed" in first
    digest = first.split("digest: ")[1].split()[0]
    assert digest.startswith("sha256:")
    second = daemon.docker("push", name).stdout
    assert "Layer already exists" in second
    assert f"v1: digest: {digest} size: " in second
    inspected = json.loads(daemon.docker("inspect", name).stdout)[0]
    assert f"{daemon.registry}/team/box@{digest}" in inspected["RepoDigests"]
    daemon.docker("rmi", name)
    pulled = daemon.docker("pull", name).stdout
    assert f"Digest: {digest}" in pulled
    assert f"Status: Image is up to date for {name}" in pulled or "Downloaded newer image" in pulled
    again = json.loads(daemon.docker("inspect", f"{daemon.registry}/team/box@{digest}").stdout)[0]
    assert again["Id"] == inspected["Id"]
    assert daemon.docker("run", "--rm", name, "echo", "hello").stdout == "hello\n"
    daemon.docker("rmi", name)


def test_digests_survive_other_clients(daemon: Daemon, tmp_path: Path) -> None:
    """skopeo takes an image out and puts it back, as OCI and as Docker's; every layer and config stays the same."""
    name = f"{daemon.registry}/skopeo/box"
    daemon.docker("tag", "busybox", f"{name}:a")
    daemon.docker("push", f"{name}:a")
    remote = f"docker://{name}"
    before = json.loads(daemon.skopeo("inspect", "--tls-verify=false", f"{remote}:a").stdout)
    daemon.skopeo("copy", "--src-tls-verify=false", f"{remote}:a", f"oci:{tmp_path}/layout:x")
    daemon.skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:x", f"{remote}:oci")
    daemon.skopeo("copy", "--src-tls-verify=false", f"{remote}:a", f"dir:{tmp_path}/dir")
    daemon.skopeo("copy", "--dest-tls-verify=false", f"dir:{tmp_path}/dir", f"{remote}:dir")
    tags = json.loads(daemon.skopeo("list-tags", "--tls-verify=false", remote).stdout)["Tags"]
    assert tags == ["a", "dir", "oci"]
    after = json.loads(daemon.skopeo("inspect", "--tls-verify=false", f"{remote}:oci").stdout)
    assert after["Layers"] == before["Layers"]
    copied = json.loads(daemon.skopeo("inspect", "--tls-verify=false", f"{remote}:dir").stdout)
    assert copied["Digest"] == before["Digest"]
    image = json.loads(daemon.docker("inspect", "busybox").stdout)[0]["Id"]
    daemon.docker("pull", "-q", f"{name}:oci")
    assert daemon.docker("run", "--rm", f"{name}:oci", "cat", "/etc/group").stdout.startswith("root:")
    daemon.docker("pull", "-q", f"{name}:dir")
    assert json.loads(daemon.docker("inspect", f"{name}:dir").stdout)[0]["Id"] == image
    daemon.skopeo("delete", "--tls-verify=false", f"{remote}:oci")
    daemon.docker("rmi", f"{name}:a", f"{name}:oci", f"{name}:dir")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """podman takes no run root of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="wp", dir="/tmp") as directory:
        yield Path(directory)


def test_podman(daemon: Daemon, short_path: Path) -> None:
    name = f"{daemon.registry}/podman/box:v1"
    podman = [
        "podman", "--root", str(short_path / "root"), "--runroot", str(short_path / "run"), "--storage-driver", "vfs",
    ]  # fmt: skip
    daemon.docker("tag", "busybox", name)
    daemon.docker("push", name)
    try:
        daemon.run(*podman, "pull", "--tls-verify=false", name)
        daemon.run(*podman, "tag", name, f"{daemon.registry}/podman/box:v2")
        daemon.run(*podman, "push", "--tls-verify=false", f"{daemon.registry}/podman/box:v2")
    finally:
        daemon.run(*podman, "system", "reset", "--force", check=False)
    daemon.docker("pull", f"{daemon.registry}/podman/box:v2")
    assert daemon.docker("run", "--rm", f"{daemon.registry}/podman/box:v2", "echo", "ok").stdout == "ok\n"
    daemon.docker("rmi", name, f"{daemon.registry}/podman/box:v2")


def test_curl_ranges_and_a_resumed_upload(daemon: Daemon, tmp_path: Path) -> None:
    base = f"http://{daemon.registry}/v2/curl/blobs"
    data = os.urandom(3 << 20)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    half = tmp_path / "half"
    half.write_bytes(data[: 1 << 20])
    rest = tmp_path / "rest"
    rest.write_bytes(data[1 << 20 :])

    def curl(*arguments: str) -> str:
        return str(daemon.run("curl", "-sS", "--fail-with-body", *arguments).stdout)

    start = curl("-i", "-X", "POST", f"{base}/uploads/")
    place = next(line.split(": ")[1] for line in start.splitlines() if line.lower().startswith("location"))
    curl("-X", "PATCH", "--data-binary", f"@{half}", f"http://{daemon.registry}{place}")
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert "Range: 0-1048575" in curl("-i", f"http://{daemon.registry}{place}")
    curl("-X", "PUT", "--data-binary", f"@{rest}", f"http://{daemon.registry}{place}?digest={digest}")
    got = subprocess.run(["curl", "-sS", f"{base}/{digest}"], capture_output=True, check=True).stdout
    assert got == data
    got = subprocess.run(["curl", "-sS", "-r", "100-199", f"{base}/{digest}"], capture_output=True, check=True).stdout
    assert got == data[100:200]


def test_errors_in_docker_words(daemon: Daemon) -> None:
    missing = f"{daemon.registry}/no/such:v1"
    done = daemon.docker("pull", missing, check=False)
    assert done.returncode == 1
    assert f"manifest for {missing} not found: manifest unknown" in done.stderr
    done = daemon.docker("push", f"{daemon.registry}/not/here:v1", check=False)
    assert "An image does not exist locally with the tag: " in done.stderr
    done = daemon.docker("pull", "127.0.0.1:1/x:v1", check=False)
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in done.stderr
    done = daemon.docker("pull", "registry.invalid/x:v1", check=False)
    assert 'Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid' in done.stderr
    done = daemon.docker("pull", "localhost:5000/UPPER", check=False)
    assert "must be lowercase" in done.stderr
    assert not daemon.temporary()


def test_a_push_that_was_acknowledged_survives_a_kill(daemon: Daemon) -> None:
    name = f"{daemon.registry}/kill/box:v1"
    daemon.docker("tag", "busybox", name)
    daemon.docker("push", name)
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert json.loads(daemon.skopeo("inspect", "--tls-verify=false", f"docker://{name}").stdout)["Digest"]
    assert name in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    daemon.docker("rmi", name)
