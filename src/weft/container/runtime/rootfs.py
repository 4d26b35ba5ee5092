"""Opening paths inside a container's root as the container would see them: links never lead out.

By openat2(2) with RESOLVE_IN_ROOT, so that the kernel itself resolves every component below the root.
"""

import ctypes
import os
from pathlib import Path

_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: Path, path: str, flags: int, mode: int = 0) -> int:
    """A file descriptor of `path` below `root`; raises OSError."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT)
        name = os.fsencode(path.lstrip("/") or ".")
        descriptor: int = _libc.syscall(_SYS_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return descriptor
    finally:
        os.close(directory)


def read_text(root: Path, path: str, limit: int = 1 << 20) -> str:
    """A small text file of the container; empty where there is none."""
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit).decode(errors="replace")


def make_directories(root: Path, path: str, uid: int = 0, gid: int = 0) -> None:
    """`mkdir -p` inside the root; new directories belong to `uid:gid`. Raises OSError."""
    current = ""
    for part in path.strip("/").split("/"):
        parent, current = current or "/", f"{current}/{part}"
        try:
            os.close(open_in_root(root, current, os.O_PATH | os.O_DIRECTORY))
        except FileNotFoundError:
            descriptor = open_in_root(root, parent, os.O_PATH | os.O_DIRECTORY)
            try:
                os.mkdir(part, 0o755, dir_fd=descriptor)
                os.chown(part, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            finally:
                os.close(descriptor)
