"""Named and anonymous volumes of the `local` driver: `<lib>/volumes/<name>/_data` with `volume.json` beside it."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from weft.container.base import Events
from weft.container.records import decode
from weft.container.runtime.rootfs import open_in_root
from weft.core.errors import ConflictError, InvalidError, NotFoundError
from weft.core.files import write_atomic
from weft.core.ids import hex_id
from weft.core.process import run


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives containers; anonymous ones go with their container's `rm -v`."""

    name: str
    created_at: float
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False


class Volumes:
    """`in_use` names the containers that refer to a volume."""

    def __init__(self, directory: Path, events: Events, in_use: Callable[[str], Sequence[str]]) -> None:
        self._directory = directory
        self._events = events
        self._in_use = in_use
        directory.mkdir(parents=True, exist_ok=True)

    def data(self, name: str) -> Path:
        return self._directory / name / "_data"

    def get(self, name: str) -> Volume:
        """Raises NotFoundError."""
        _check(name)
        try:
            volume: Volume = decode(Volume, json.loads((self._directory / name / "volume.json").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise NotFoundError(f"get {name}: no such volume") from error
        return volume

    def list(self) -> Sequence[Volume]:
        found = []
        for entry in sorted(self._directory.iterdir()):
            try:
                found.append(self.get(entry.name))
            except NotFoundError:
                continue  # half made: its creator was killed, `create` completes it
        return found

    def create(self, name: str = "", labels: Mapping[str, str] | None = None) -> Volume:
        """An existing volume is returned as it is; without a name it is anonymous."""
        anonymous = not name
        name = name or hex_id()
        _check(name)
        try:
            return self.get(name)
        except NotFoundError:
            pass
        self.data(name).mkdir(parents=True, exist_ok=True)
        volume = Volume(name, time.time(), dict(labels or {}), anonymous)
        write_atomic(self._directory / name / "volume.json", json.dumps(asdict(volume)).encode(), sync=False)
        self._events.publish("volume", "create", name, {"driver": "local"})
        return volume

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Raises ConflictError where a container uses it; with `force` one that does not exist is no error."""
        try:
            self.get(name)
        except NotFoundError:
            if force:
                return
            raise
        if users := self._in_use(name):
            raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
        (self._directory / name / "volume.json").unlink()
        await asyncio.to_thread(shutil.rmtree, self._directory / name, True)
        self._events.publish("volume", "destroy", name, {"driver": "local"})

    async def fill(self, name: str, rootfs: Path, target: str) -> None:
        """An empty volume starts with what the image has at `target`, owners and modes included."""
        data = self.data(name)
        if any(data.iterdir()):
            return
        try:
            source = open_in_root(rootfs, target, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        try:
            await run("cp", "--archive", "--no-target-directory", f"/proc/{os.getpid()}/fd/{source}/.", str(data))
        finally:
            os.close(source)


def _check(name: str) -> None:
    if not (name.isascii() and name[:1].isalnum() and all(c.isalnum() or c in "_.-" for c in name) and len(name) > 1):
        raise InvalidError(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
