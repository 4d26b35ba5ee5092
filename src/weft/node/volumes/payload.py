"""Files to be in a volume, by relative path; what the sources of a projected volume have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.client.base import Object
from weft.core.errors import WeftError
from weft.node.environment import Lookup
from weft.node.fields import Facts

DEFAULT_MODE = 0o644


class VolumeError(WeftError):
    """The volume cannot be set up."""


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int


Payload = dict[str, File]


@dataclass(frozen=True, slots=True)
class Source:
    """What a payload is made from: the pod, facts about it, its ConfigMaps and Secrets."""

    pod: Object
    facts: Facts
    lookup: Lookup


def select(
    data: Mapping[str, bytes], source: Mapping[str, Any], default_mode: int, *, what: str, optional: bool
) -> Payload:
    """All keys, or those that `items` names, each at its path. Raises VolumeError for a key that is not there."""
    items = source.get("items")
    if not items:
        return {key: File(value, default_mode) for key, value in data.items()}
    found: Payload = {}
    for item in items:
        key, mode = item["key"], item.get("mode")
        if key not in data:
            if optional:
                continue
            raise VolumeError(f"references non-existent {what} key: {key}")
        found[checked_path(item["path"])] = File(data[key], default_mode if mode is None else mode)
    return found


def checked_path(path: str) -> str:
    """Relative, and never out of the volume (kubernetes, `pkg/volume/util/atomic_writer.go`, validatePath)."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise VolumeError(f"invalid path: {path!r} must be relative and without '..'")
    return "/".join(part for part in parts if part not in ("", "."))
