"""Cgroups as this machine has them: pure v2, hybrid or v1.

Comes in: a container's cgroup path. Goes out: its files by controller, its removal, and a host that crun accepts.

On a hybrid machine crun refuses to run while controllers are left on the unified hierarchy; `prepare_host` mounts
those as v1 hierarchies, remembers it under paths.run, and `cleanup_host` undoes exactly that.
"""

import contextlib
import ctypes
import logging
import os
from functools import cache
from pathlib import Path

from weft.core.errors import UnsupportedError
from weft.core.settings import Paths

logger = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
_MEMORY_FILE = "cgroup-mounts"
_libc = ctypes.CDLL(None, use_errno=True)


@cache
def is_unified() -> bool:
    """True on pure v2."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchy(controller: str) -> Path | None:
    """Where a controller's files are: the root on v2, its own mount on v1; None where it is not to be had."""
    if is_unified():
        return ROOT
    path = ROOT / controller
    return path if path.is_dir() else None


def hierarchies() -> list[Path]:
    """All mounted hierarchies."""
    return [ROOT] if is_unified() else sorted(path for path in ROOT.iterdir() if not path.is_symlink())


def directory(controller: str, cgroup: str) -> Path | None:
    """The directory of a container's cgroup for a controller, if it is there."""
    top = hierarchy(controller)
    if top is None:
        return None
    path = top / cgroup.lstrip("/")
    return path if path.is_dir() else None


def read(controller: str, cgroup: str, file: str) -> str | None:
    path = directory(controller, cgroup)
    if path is None:
        return None
    try:
        return (path / file).read_text()
    except OSError:
        return None


def remove(cgroup: str) -> None:
    """Removes an empty cgroup, with empty children, from every hierarchy."""
    for top in hierarchies():
        path = top / cgroup.lstrip("/")
        for child, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(child)


def own_path() -> str:
    """Our own cgroup where a service manager would look for what to kill: v2, or v1's name=systemd."""
    found = "/"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd") and path != "/":
            found = path
    return found


def move(pid: int, cgroup: str) -> None:
    """Moves a process to a cgroup of v2 and name=systemd, so that the end of our service is not its end."""
    for top in [ROOT] if is_unified() else [ROOT / "systemd", ROOT / "unified"]:
        if (top / "cgroup.procs").exists():
            path = top / cgroup.lstrip("/")
            path.mkdir(parents=True, exist_ok=True)
            (path / "cgroup.procs").write_text(str(pid))


def prepare_host(paths: Paths) -> None:
    """Makes a hybrid machine fit for crun; a no-op elsewhere. Raises UnsupportedError where the kernel refuses."""
    if is_unified():
        return
    for controller in _left_on_unified():
        target = ROOT / controller
        with open(paths.run / _MEMORY_FILE, "a") as memory:
            memory.write(f"{target}\n")
        target.mkdir(exist_ok=True)
        if _libc.mount(b"cgroup", os.fsencode(target), b"cgroup", 0, controller.encode()) != 0:
            cause = os.strerror(ctypes.get_errno())
            if controller not in _left_on_unified():
                continue  # another instance was faster
            with contextlib.suppress(OSError):
                target.rmdir()
            raise UnsupportedError(f"cannot mount cgroup controller {controller} at {target}: {cause}")
        logger.info("mounted a cgroup controller for crun", extra={"controller": controller, "path": target})


def _left_on_unified() -> list[str]:
    """The controllers that no v1 hierarchy has taken."""
    try:
        return (ROOT / "unified/cgroup.controllers").read_text().split()
    except OSError:
        return []


def cleanup_host(paths: Paths) -> None:
    """Unmounts what `prepare_host` mounted, unless cgroups of others live there; safe to call at any time."""
    memory = paths.run / _MEMORY_FILE
    try:
        targets = [Path(line) for line in memory.read_text().splitlines()]
    except FileNotFoundError:
        return
    for target in targets:
        if not target.is_mount():
            continue
        if any(entry.is_dir() for entry in target.iterdir()):
            logger.warning("a cgroup hierarchy stays mounted, others use it", extra={"path": target})
            continue
        if _libc.umount2(os.fsencode(target), 0) == 0:
            with contextlib.suppress(OSError):
                target.rmdir()
    memory.unlink()
