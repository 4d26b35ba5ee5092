"""Files of a volume that change all at once: `key -> ..data/key`, `..data -> ..2024_...`, one rename to switch.

Readers see either all old or all new files. After kubernetes, `pkg/volume/util/atomic_writer.go`.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from weft.node.volumes.payload import File

_DATA = "..data"


def write(directory: Path, payload: Mapping[str, File], group: int | None = None) -> bool:
    """Makes the directory hold exactly `payload`; whether anything changed. `group` owns the files (fsGroup)."""
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / _DATA
    old = directory / os.readlink(link) if link.is_symlink() else None
    if old is not None and _read(old) == {path: (file.data, _mode(file, group)) for path, file in payload.items()}:
        return False
    fresh = Path(tempfile.mkdtemp(prefix=time.strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
    try:
        fresh.chmod(0o755)
        _fill(fresh, payload, group)
        temporary = directory / "..data_tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(fresh.name)
        temporary.rename(link)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link_names(directory, {path.split("/", 1)[0] for path in payload})
    for entry in directory.iterdir():
        if entry.name.startswith("..") and entry.is_dir() and not entry.is_symlink() and entry != fresh:
            shutil.rmtree(entry, ignore_errors=True)
    return True


def _mode(file: File, group: int | None) -> int:
    return file.mode | 0o440 if group is not None else file.mode


def _fill(fresh: Path, payload: Mapping[str, File], group: int | None) -> None:
    for path, file in payload.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(_mode(file, group))
        if group is not None:
            os.chown(target, -1, group)


def _link_names(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")


def _read(directory: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for path in directory.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(directory))] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found
