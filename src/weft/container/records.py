"""Containers as the engine remembers them: one JSON file each, `<lib>/containers/<id>/container.json`.

The file appears by a rename when a container is created, and goes before the rest of its directory when it is
removed: a directory without it is half made (or half removed), and is cleared away when the engine opens.
"""

import asyncio
import logging
import shutil
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from weft.container.spec import Container, State
from weft.core.files import write_atomic

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Life:
    """The processes of one run of a container, told apart from later ones of the same pid by start time and boot."""

    boot_id: str = ""
    init_started: int = 0
    monitor_pid: int = 0
    monitor_started: int = 0


@dataclass(eq=False)
class Record:
    """A container and what this process knows of it; `container` is replaced, never changed."""

    container: Container
    life: Life = field(default_factory=Life)
    manually_stopped: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    exit_waiters: list["asyncio.Future[int]"] = field(default_factory=list)
    removal_waiters: list["asyncio.Future[int]"] = field(default_factory=list)
    attachments: list[typing.Any] = field(default_factory=list)
    watcher: "asyncio.Task[None] | None" = None
    restarter: "asyncio.Task[None] | None" = None
    prober: "asyncio.Task[None] | None" = None
    restart_delay: float = 0.0
    restarting: bool = False

    @property
    def id(self) -> str:
        return self.container.id

    @property
    def is_running(self) -> bool:
        """Its init lives: running or paused."""
        return self.container.state in (State.RUNNING, State.PAUSED)

    def change(self, **values: Any) -> None:
        self.container = replace(self.container, **values)

    def next_exit(self) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.exit_waiters.append(future)
        return future

    def next_removal(self) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.removal_waiters.append(future)
        return future


def resolve_waiters(waiters: list["asyncio.Future[int]"], code: int) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(code)
    waiters.clear()


class RecordFiles:
    """Reads and writes records below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, id: str) -> Path:
        return self.directory / id

    def save(self, record: Record) -> None:
        """Not synced: a killed Weft loses nothing, and a machine that lost power has no running container anyway."""
        value = {
            "container": asdict(record.container),
            "life": asdict(record.life),
            "manually_stopped": record.manually_stopped,
        }
        write_atomic(self.path(record.id) / "container.json", orjson.dumps(value), 0o600, sync=False)

    def load(self) -> list[Record]:
        """All containers; what is half made is removed and logged."""
        found = []
        for directory in sorted(self.directory.iterdir()):
            try:
                value = orjson.loads((directory / "container.json").read_bytes())
                record = Record(
                    decode(Container, value["container"]), decode(Life, value["life"]), value["manually_stopped"]
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("removing a half-made container", extra={"id": directory.name, "cause": error})
                shutil.rmtree(directory, ignore_errors=True)
                continue
            found.append(record)
        return found

    def delete(self, id: str) -> None:
        (self.path(id) / "container.json").unlink(missing_ok=True)
        shutil.rmtree(self.path(id), ignore_errors=True)


def decode(kind: Any, value: Any) -> Any:
    """JSON back to the dataclasses it was made of, by their type hints; raises TypeError, ValueError, KeyError."""
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {entry.name for entry in fields(kind)} & value.keys()
        return typing.cast(type, kind)(**{name: decode(hints[name], value[name]) for name in known})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return decode(next(option for option in arguments if option is not type(None)), value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(decode(arguments[0], entry) for entry in value)
        return tuple(decode(option, entry) for option, entry in zip(arguments, value, strict=True))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict(value)
    return value
