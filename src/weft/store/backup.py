"""A store's present content in one file, and back: consistent at one revision, readable without Weft.

The file is text, one JSON object a line:

    {"format": "weft-backup", "version": 1, "revision": 812, "created": "2024-01-31T12:00:00Z", "settings": {...}}
    {"key": "/registry/core/configmaps/default/a", "create": 17, "modified": 803, "value": {...}}
    ...
    {"objects": 1234, "sha256": "..."}

Keys come in order; `value` is the object as stored; `base64` stands in its place where the value is not JSON. The
checksum is of all bytes before its own line. `settings` are those that objects depend on, such as the subnet that
services have their addresses of. The file holds secrets, and only its owner may read it.

In: the items of a store (`sqlite_copy`, `etcd_copy`). Out: the file; from the file `Backup`, wholly checked before
anyone acts on it.
"""

import base64
import binascii
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weft.core.clock import rfc3339
from weft.core.errors import InvalidError
from weft.store.base import KeyValue

_FORMAT = "weft-backup"
_VERSION = 1


async def write(path: Path, revision: int, settings: Mapping[str, str], items: AsyncIterable[KeyValue]) -> int:
    """Writes the file whole or not at all; the number of objects."""
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "revision": revision,
        "created": rfc3339(time.time()),
        "settings": dict(settings),
    }
    digest, count = hashlib.sha256(), 0
    path = path.absolute()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:

            def line(content: bytes) -> None:
                digest.update(content)
                file.write(content)

            line(orjson.dumps(head) + b"\n")
            async for item in items:
                line(_line(item))
                count += 1
            file.write(orjson.dumps({"objects": count, "sha256": digest.hexdigest()}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return count


def _line(item: KeyValue) -> bytes:
    value: dict[str, Any]
    try:
        obj = orjson.loads(item.value)
    except orjson.JSONDecodeError:
        obj = None
    if obj is not None and orjson.dumps(obj) == item.value:
        value = {"value": obj}
    else:
        value = {"base64": base64.b64encode(item.value).decode()}
    return (
        orjson.dumps({"key": item.key, "create": item.create_revision, "modified": item.mod_revision, **value}) + b"\n"
    )


@dataclass(frozen=True, slots=True)
class Backup:
    """A file that was found whole; `items` reads it once more."""

    path: Path
    revision: int
    objects: int
    settings: dict[str, str]

    @classmethod
    def open(cls, path: Path) -> "Backup":
        """Reads and checks it all; raises InvalidError."""
        digest = hashlib.sha256()
        last, count, revision, key = b"", 0, 0, ""
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    if last:
                        digest.update(last)
                        if number == 1:
                            revision = _revision(path, last)
                        else:
                            item = _item(path, number, last)
                            if not key.encode() < item.key.encode() or not 0 < item.mod_revision <= revision:
                                raise InvalidError(f"cannot restore {path}: line {number} is out of order")
                            key = item.key
                            count += 1
                    last = line
        except OSError as error:
            raise InvalidError(f"cannot restore {path}: {error.strerror or error}") from error
        if not revision:
            _revision(path, last)  # says what is wrong with its beginning
            raise InvalidError(f"cannot restore {path}: it is cut short")
        end = _object(path, last)
        if "sha256" not in end:
            raise InvalidError(f"cannot restore {path}: it is cut short")
        if end["sha256"] != digest.hexdigest() or end.get("objects") != count:
            raise InvalidError(f"cannot restore {path}: its checksum is wrong, so it was changed or damaged")
        return cls(path, revision, count, _settings(path))

    def items(self) -> Iterator[KeyValue]:
        with self.path.open("rb") as file:
            next(file)
            for number, line in enumerate(file, 2):
                if number == self.objects + 2:
                    return
                yield _item(self.path, number, line)


def _object(path: Path, line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidError(f"cannot restore {path}: it is cut short or no backup of Weft's")
    return value


def _revision(path: Path, line: bytes) -> int:
    head = _object(path, line)
    if head.get("format") != _FORMAT:
        raise InvalidError(f"cannot restore {path}: it is no backup of Weft's")
    if head.get("version") != _VERSION:
        raise InvalidError(f"cannot restore {path}: its version is {head.get('version')}, this Weft reads {_VERSION}")
    revision = head.get("revision")
    if not isinstance(revision, int) or not 0 < revision < 2**62:
        raise InvalidError(f"cannot restore {path}: its revision is {revision!r}")
    return revision


def _settings(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        found = _object(path, next(file)).get("settings")
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidError(f"cannot restore {path}: its settings are malformed")
    return found


def _item(path: Path, number: int, line: bytes) -> KeyValue:
    value = _object(path, line)
    try:
        content = orjson.dumps(value["value"]) if "value" in value else base64.b64decode(value["base64"], validate=True)
        item = KeyValue(value["key"], content, value["create"], value["modified"])
    except (KeyError, TypeError, binascii.Error):
        raise InvalidError(f"cannot restore {path}: line {number} is malformed") from None
    if not (isinstance(item.key, str) and item.key.startswith("/")):
        raise InvalidError(f"cannot restore {path}: line {number} has no key")
    if not (isinstance(item.create_revision, int) and isinstance(item.mod_revision, int)):
        raise InvalidError(f"cannot restore {path}: line {number} has no revisions")
    return item
