"""emptyDir: a directory that lives as long as its pod, on disk or (medium Memory) in memory."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.api import quantity
from weft.node.volumes import mounts
from weft.node.volumes.payload import VolumeError


def set_up(volume: Mapping[str, Any], directory: Path) -> None:
    medium = volume.get("medium") or ""
    if medium not in ("", "Memory"):
        raise VolumeError(f"unknown storage medium {medium!r}")
    directory.mkdir(parents=True, exist_ok=True)
    if medium == "Memory" and not os.path.ismount(directory):
        limit = volume.get("sizeLimit")
        mounts.tmpfs(directory, quantity.to_int(limit) if limit else 0)
    os.chmod(directory, 0o777)
