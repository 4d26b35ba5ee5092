"""What the printers of all kinds share: columns, ages, lists cut short, and the register of printers.

A printer is a function from an object and the time to the cells of its row; `prints` enters it under its kind together
with its columns. Source: kubernetes `pkg/printers/internalversion/printers.go`, apimachinery `util/duration`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weft.core.clock import parse_rfc3339

Object = dict[str, Any]
Cells = list[Any]
Print = Callable[[Object, float], Cells]

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a Table; `priority` 1 is shown with `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def to_json(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


PRINTERS: dict[tuple[str, str], tuple[tuple[Column, ...], Print]] = {}


def prints(group: str, kind: str, columns: str) -> Callable[[Print], Print]:
    """`columns` are names split by `|`; `:integer` gives a type, a leading `+` means wide only."""

    def register(function: Print) -> Print:
        PRINTERS[group, kind] = (tuple(_column(each.strip()) for each in columns.split("|")), function)
        return function

    return register


def _column(text: str) -> Column:
    name, _, type_ = text.removeprefix("+").partition(":")
    form = "name" if name == "Name" else ""
    return Column(name, type_ or "string", form, priority=int(text.startswith("+")))


def age(timestamp: str | None, now: float) -> str:
    """How long ago, as `kubectl get` shows it."""
    if not timestamp:
        return UNKNOWN
    try:
        return human_duration(now - parse_rfc3339(timestamp))
    except ValueError:
        return UNKNOWN


def created(obj: Object, now: float) -> str:
    """The age of an object."""
    return age((obj.get("metadata") or {}).get("creationTimestamp"), now)


def human_duration(duration: float) -> str:
    """Two units at most, fewer the longer it is."""
    seconds = int(duration)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def labels(selector: Mapping[str, str] | None) -> str:
    """`a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or NONE


def first_three(items: Iterable[str], nothing: str) -> str:
    found = list(items)
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return (",".join(found[:3]) + more) or nothing


def name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))
