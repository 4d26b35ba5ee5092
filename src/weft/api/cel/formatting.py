"""`"%s and %d".format([x, y])`. Source: cel-go `ext/formatting.go`."""

import re
from typing import Any

from weft.api.cel.errors import CelError
from weft.api.cel.standard import to_string
from weft.api.cel.values import kind_of

_CLAUSE = re.compile(r"%(?:(%)|(?:\.(\d{1,2}))?([a-zA-Z]))")
_WHOLE = {"d": "d", "x": "x", "X": "X", "o": "o", "b": "b"}


def formatted(text: str, items: list[Any]) -> str:
    """Raises CelError."""
    at = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal at
        if match[1]:
            return "%"
        if at >= len(items):
            raise CelError(f"index {at} out of range")
        at += 1
        return _clause(match[3], match[2], items[at - 1])

    return _CLAUSE.sub(fill, text)


def _clause(verb: str, precision: str | None, value: Any) -> str:
    kind = kind_of(value)
    if verb == "s":
        return shown(value)
    if verb in _WHOLE and kind in ("int", "uint"):
        return format(int(value), _WHOLE[verb])
    if verb in "xX" and kind in ("string", "bytes"):
        code = str((value.encode() if kind == "string" else value).hex())
        return code.upper() if verb == "X" else code
    if verb in "fe" and kind in ("int", "uint", "double"):
        return format(float(value), f".{precision or 6}{verb}")
    if verb == "b" and kind == "bool":
        return str(int(value))
    raise CelError(f"error during formatting: no formatting function for %{verb} and {kind}")


def shown(value: Any) -> str:
    """A value as text, lists and maps too."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(each)}" for key, each in sorted(value.items(), key=str)) + "}"
    return "null" if value is None else to_string(value)
