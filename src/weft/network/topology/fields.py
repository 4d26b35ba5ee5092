"""Reading JSON that nothing has checked: values by type, by range and by syntax, and what is wrong with them.

In: a path and a value. Out: the value, or a default and a `FieldError` worded as Kubernetes words it. Who is next:
`reader`, `routing_reader` and `schedule_reader`, which know the fields.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any, TypeVar

from weft.api.validation import FieldError

Object = dict[str, Any]
V = TypeVar("V")
S = TypeVar("S", bound=str)

# RFC 1123 labels: names become parts of objects' names, of namespaces and of interfaces.
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAME_LENGTH = 63
_TYPES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    bool: "true or false",
}


class Fields:
    """Collects `errors`, in the order of reading."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def invalid(self, path: str, value: object, why: str) -> None:
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        self.errors.append(FieldError("FieldValueInvalid", path, f"Invalid value: {shown}: {why}"))

    def required(self, path: str, why: str = "") -> None:
        self.errors.append(
            FieldError("FieldValueRequired", path, f"Required value: {why}" if why else "Required value")
        )

    def duplicate(self, path: str, value: str) -> None:
        self.errors.append(FieldError("FieldValueDuplicate", path, f'Duplicate value: "{value}"'))

    def typed(self, path: str, value: object, kind: type[V], default: V) -> V:
        """`value`, or `default` where it is absent or of another type; the latter is an error."""
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.errors.append(
                FieldError("FieldValueTypeInvalid", path, f"Invalid value: {value!r}: must be {_TYPES[kind]}")
            )
            return default
        return value

    def choice(self, path: str, value: object, choices: Sequence[S], default: S) -> S:
        """One of `choices`."""
        text = self.typed(path, value, str, default)
        for each in choices:
            if text == each:
                return each
        supported = ", ".join(f'"{each}"' for each in choices)
        self.errors.append(
            FieldError("FieldValueNotSupported", path, f'Unsupported value: "{text}": supported values: {supported}')
        )
        return default

    def integer(self, path: str, value: object, default: int, low: int, high: int) -> int:
        number = self.typed(path, value, int, default)
        if not low <= number <= high:
            self.invalid(path, number, f"must be between {low} and {high}")
            return default
        return number

    def number(self, path: str, value: object, default: float, low: float, high: float) -> float:
        """A whole number or a fraction."""
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.errors.append(FieldError("FieldValueTypeInvalid", path, f"Invalid value: {value!r}: must be a number"))
            return default
        if not low <= value <= high or math.isnan(value):
            self.invalid(path, value, f"must be between {low:g} and {high:g}")
            return default
        return float(value)

    def name(self, path: str, value: object) -> str:
        if value is None or value == "":
            self.required(path)
            return ""
        name = self.typed(path, value, str, "")
        if not name:
            return ""
        if len(name) > NAME_LENGTH:
            self.invalid(path, name, f"must be no more than {NAME_LENGTH} characters")
        elif not LABEL.fullmatch(name):
            self.invalid(
                path, name, "must be lower case letters, digits and '-', and start and end with a letter or digit"
            )
        else:
            return name
        return ""

    def text(self, path: str, value: object, parse: Callable[[str], V], default: V) -> V:
        """A text with a syntax of its own; empty means the default."""
        text = self.typed(path, value, str, "")
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.invalid(path, text, str(error))
            return default

    def area(self, path: str, value: object, default: V) -> IPv4Address | V:
        """An OSPF area: `0.0.0.1`, or the same as a number."""
        if value is None or value == "":
            return default
        if isinstance(value, str | int) and not isinstance(value, bool):
            try:
                return IPv4Address(int(value) if isinstance(value, str) and value.isdecimal() else value)
            except ValueError:
                pass
        self.invalid(path, value, "must be an OSPF area such as 0.0.0.1")
        return default

    def objects(self, path: str, value: object) -> list[tuple[str, Object]]:
        """A list of objects, each with its path."""
        found = []
        for index, raw in enumerate(self.typed(path, value, list, [])):
            entry = self.typed(f"{path}[{index}]", raw, dict, {})
            if raw is None:
                self.required(f"{path}[{index}]")
            elif raw is entry:
                found.append((f"{path}[{index}]", entry))
        return found

    def labels(self, path: str, value: object) -> tuple[str, ...]:
        """A list of names, none of them twice."""
        found: list[str] = []
        for index, raw in enumerate(self.typed(path, value, list, [])):
            name = self.name(f"{path}[{index}]", raw)
            if name in found:
                self.duplicate(f"{path}[{index}]", name)
            elif name:
                found.append(name)
        return tuple(found)
