"""The three mounts that volumes need, by mount(2)."""

import ctypes
import os
from pathlib import Path

from weft.core.errors import UnsupportedError

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 0x2, 0x4, 0x1000, 0x4000
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def tmpfs(target: Path, size: int = 0) -> None:
    """A file system in memory; `size` 0 leaves the kernel's limit, half of the machine's memory."""
    options = f"mode=777,size={size}" if size else "mode=777"
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def bind(source: str, target: Path) -> None:
    _mount(source, target, "", _MS_BIND | _MS_REC, "")


def unmount(target: Path) -> None:
    """At once, also while a file in it is open; what is not mounted is no error."""
    _libc.umount2(os.fsencode(target), _MNT_DETACH)


def unmount_below(directory: Path) -> None:
    """Everything mounted at or below `directory`, the innermost first."""
    prefix = f"{directory}/"
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4].encode().decode("unicode_escape")
        if point == str(directory) or point.startswith(prefix):
            unmount(Path(point))


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    arguments = (source.encode(), os.fsencode(target), kind.encode() or None, flags, options.encode() or None)
    if _libc.mount(*arguments) != 0:
        cause = os.strerror(ctypes.get_errno())
        raise UnsupportedError(f"cannot mount {source} at {target}: {cause}")
