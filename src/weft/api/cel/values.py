"""Values at run time: what type they are, when they are equal, which comes first.

Python's own values stand for CEL's: bool, int, `UInt`, float, str, bytes, None, list, dict, datetime, timedelta, and
the few of this module. Source: cel-spec "Values", "Equality", "Ordering".
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult

from weft.api.cel.errors import CelError, no_such_overload
from weft.api.cel.syntax import UInt
from weft.api.cel.types import MapList, SetList, Type


@dataclass(frozen=True, slots=True)
class Optional:
    """An optional value; `NONE` is the empty one."""

    present: bool
    value: Any = None


NONE = Optional(False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """What `type(x)` gives."""

    name: str


_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    datetime: "google.protobuf.Timestamp",
    timedelta: "google.protobuf.Duration",
    Optional: "optional",
    TypeValue: "type",
    Decimal: "kubernetes.Quantity",
    SplitResult: "kubernetes.URL",
    ipaddress.IPv4Address: "net.IP",
    ipaddress.IPv6Address: "net.IP",
    ipaddress.IPv4Interface: "net.CIDR",
    ipaddress.IPv6Interface: "net.CIDR",
}


def kind_of(value: Any) -> str:
    return _KINDS.get(type(value), "dyn")


def fits(value: Any, type_: Type) -> bool:
    """Whether a value may be an argument of this type; elements are not looked at."""
    wanted = type_.kind
    if wanted == "dyn" or len(wanted) == 1:
        return True
    kind = kind_of(value)
    return kind == wanted or (wanted == "object" and kind == "map")


_NUMBERS = ("int", "uint", "double")


def equal(one: Any, other: Any) -> bool:
    kind, second = kind_of(one), kind_of(other)
    if kind in _NUMBERS and second in _NUMBERS:
        return bool(one == other)
    if kind != second:
        return False
    if kind == "list":
        return _equal_lists(one, other)
    if kind == "map":
        return len(one) == len(other) and all(key in other and equal(each, other[key]) for key, each in one.items())
    if kind == "optional":
        return one.present == other.present and equal(one.value, other.value)
    return bool(one == other)


def _equal_lists(one: list[Any], other: list[Any]) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, SetList) or isinstance(other, SetList):
        left = list(other)
        for each in one:
            at = next((index for index, theirs in enumerate(left) if equal(each, theirs)), -1)
            if at < 0:
                return False
            del left[at]
        return True
    return all(map(equal, one, other))


def compare(one: Any, other: Any) -> int:
    """Less than, equal to or greater than 0; raises CelError where the two have no order."""
    kind, second = kind_of(one), kind_of(other)
    ordered = ("bool", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration", *_NUMBERS)
    if (kind in _NUMBERS and second in _NUMBERS) or (kind == second and kind in ordered):
        return int(one > other) - int(one < other)
    raise no_such_overload()


def hashable_key(key: Any) -> Any:
    """Raises CelError where a value cannot be a key of a map."""
    if kind_of(key) not in ("bool", "int", "uint", "string"):
        raise CelError("unsupported key type")
    return key
