"""hostPath: a path of this machine, checked or made as its type says (kubernetes, `pkg/volume/hostpath`)."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.node.volumes.payload import VolumeError

_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def set_up(volume: Mapping[str, Any]) -> Path:
    path, kind = Path(volume["path"]), volume.get("type") or ""
    if kind == "":
        # As Docker binds: what is not there becomes a directory.
        if not path.exists():
            path.mkdir(parents=True)
        return path
    if kind not in _CHECKS:
        raise VolumeError(f"hostPath type {kind!r} is not known")
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    elif kind == "FileOrCreate" and not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    check, what = _CHECKS[kind]
    try:
        fits = check(path.stat().st_mode)
    except OSError:
        fits = False
    if not fits:
        raise VolumeError(f"hostPath type check failed: {path} is not {what}")
    return path
