"""Reading Docker's requests: JSON bodies, query flags, filters, times. Bad input raises InvalidError."""

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from weft.core.errors import InvalidError

_FALSE = ("", "0", "no", "false", "none")  # moby, httputils.BoolValue


async def json_body(request: web.Request) -> dict[str, Any]:
    """An object; an empty body is an empty one."""
    data = await request.read()
    if not data.strip():
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidError("invalid JSON: the body must be an object")
    return value


def flag(request: web.Request, name: str, default: bool = False) -> bool:
    text = request.query.get(name)
    return default if text is None else text.strip().lower() not in _FALSE


def number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidError(f"invalid value for {name}: {text!r} is not a number")


Filters = Mapping[str, frozenset[str]]


def filters(request: web.Request, known: frozenset[str]) -> Filters:
    """`filters={"label":["a=b"]}`, or the older `{"label":{"a=b":true}}`."""
    text = request.query.get("filters")
    if not text:
        return {}
    try:
        value = json.loads(text)
        found = {
            str(name): frozenset(str(entry) for entry in (entries if isinstance(entries, list | dict) else [entries]))
            for name, entries in value.items()
        }
    except (ValueError, AttributeError) as error:
        raise InvalidError(f"invalid filter: {error}") from error
    for name in found:
        if name not in known:
            raise InvalidError(f"invalid filter '{name}'")
    return found


def labels_match(wanted: frozenset[str], labels: Mapping[str, str]) -> bool:
    """`key` or `key=value`, all of them."""
    for entry in wanted:
        key, equals, value = entry.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def point_in_time(text: str | None) -> float:
    """Seconds since 1970 with a fraction, or RFC 3339; 0 for none."""
    if not text or text == "0":
        return 0.0
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidError(f"invalid time {text!r}")


def rfc3339_nano(seconds: float) -> str:
    """Docker's form of a time; 0 is Go's zero time."""
    if not seconds:
        return "0001-01-01T00:00:00Z"
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1e9):09d}Z"
