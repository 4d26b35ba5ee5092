"""Peers and our own instance, each started for a benchmark and gone after it.

dockerd and podman run inside a network namespace of their own, so that their bridges and firewall rules go with it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUSYBOX = "busybox"


def call(*argv: str, env: dict[str, str] | None = None, stdin: bytes | None = None, check: bool = True) -> str:
    """Runs a command to its end; its output in the error where it fails."""
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"bench: {' '.join(argv)} failed with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode()


def busybox_tar() -> bytes:
    """A root file system of busybox alone, as a tar."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (root / name).mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in ("sh", "true", "echo", "cat", "sleep", "hostname", "httpd"):
            (root / "bin" / applet).symlink_to("busybox")
        return subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True).stdout


@dataclass(frozen=True)
class Weft:
    """A running instance."""

    root: Path
    ready_seconds: float

    @property
    def env(self) -> dict[str, str]:
        return {
            "DOCKER_HOST": f"unix://{self.root}/run/weft/docker.sock",
            "KUBECONFIG": str(self.root / "etc/weft/kubeconfig"),
            "WEFT_ROOT": str(self.root),
        }


def weft_command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "weft.cli.main", "--root", str(root), *arguments]


@contextlib.contextmanager
def weft() -> Iterator[Weft]:
    """A Weft in a root of its own with the busybox image."""
    root = Path(tempfile.mkdtemp(prefix="wb", dir="/tmp")).resolve()
    ports = ["--api-port", "0", "--registry-port", "0", "--kubelet-port", "0"]
    try:
        began = time.perf_counter()
        call(*weft_command(root, "up", "--detach", *ports))
        instance = Weft(root, time.perf_counter() - began)
        call("docker", "import", "-", BUSYBOX, env=instance.env, stdin=busybox_tar())
        yield instance
    finally:
        call(*weft_command(root, "down", "--time", "1"), check=False)
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def network_namespace(name: str) -> Iterator[None]:
    call("ip", "netns", "add", name)
    try:
        call("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        call("ip", "netns", "del", name)


@dataclass(frozen=True)
class Dockerd:
    """Docker's own daemon."""

    env: dict[str, str]
    ready_seconds: float
    pids: tuple[int, ...]


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


@contextlib.contextmanager
def dockerd() -> Iterator[Dockerd | None]:
    """Docker's daemon with the busybox image, or None where it is not installed."""
    if not shutil.which("dockerd"):
        yield None
        return
    root = Path(tempfile.mkdtemp(prefix="bd", dir="/tmp"))
    socket = root / "s"
    env = {"DOCKER_HOST": f"unix://{socket}"}
    with network_namespace(f"bench-{os.getpid()}"):
        options = ["--data-root", f"{root}/d", "--exec-root", f"{root}/e", "-H", f"unix://{socket}"]
        options += ["--pidfile", f"{root}/p", "--storage-driver", "overlay2", "--log-level", "error"]
        began = time.perf_counter()
        daemon = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/bench-{os.getpid()}", "dockerd", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while subprocess.run(["docker", "version"], env={**os.environ, **env}, capture_output=True).returncode:
                if daemon.poll() is not None or time.perf_counter() - began > 60:
                    sys.exit("bench: dockerd did not start")
                time.sleep(0.02)
            ready = time.perf_counter() - began
            call("docker", "import", "-", BUSYBOX, env=env, stdin=busybox_tar())
            yield Dockerd(env, ready, tuple(_descendants(daemon.pid)))
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
            for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
                if mount.split()[1].startswith(str(root)):
                    call("umount", "-l", mount.split()[1], check=False)
            for cgroup in Path("/sys/fs/cgroup").glob("*/docker"):
                with contextlib.suppress(OSError):  # one with containers is another daemon's
                    cgroup.rmdir()
            shutil.rmtree(root, ignore_errors=True)


def resident_mb(pids: tuple[int, ...]) -> float:
    """The sum of the processes' resident memory in MB (2**20 bytes)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


@contextlib.contextmanager
def podman() -> Iterator[list[str] | None]:
    """The command line of podman with the busybox image, or None where it is not installed."""
    if not shutil.which("podman"):
        yield None
        return
    root = Path(tempfile.mkdtemp(prefix="bp", dir="/tmp"))
    name = f"benchp-{os.getpid()}"
    with network_namespace(name):
        base = ["nsenter", f"--net=/run/netns/{name}", "podman", "--root", f"{root}/r", "--runroot", f"{root}/rr"]
        base += ["--tmpdir", f"{root}/t", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        if shutil.which("crun"):
            base += ["--runtime", "crun"]
        try:
            call(*base, "import", "-", BUSYBOX, stdin=busybox_tar())
            yield base
        finally:
            call(*base, "rm", "--all", "--force", check=False)
            call("umount", "-l", f"{root}/r/overlay", check=False)
            shutil.rmtree(root, ignore_errors=True)
