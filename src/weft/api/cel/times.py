"""Times, durations and bytes: from text, to text, and their parts.

A timestamp is an aware datetime in UTC, a duration a timedelta: microseconds, where CEL has nanoseconds.
"""

import binascii
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from weft.api.cel.errors import CelError

_UNITS = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1, "µs": 1, "ns": 0.001}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|h|m|s)", re.ASCII)
_DAYS = re.compile(r"[+-]?\d+d", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET = re.compile(r"([+-])?(\d{2}):(\d{2})", re.ASCII)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def timestamp(text: str) -> datetime:
    """RFC 3339; raises ValueError."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid timestamp {text!r}")
    fraction = match[1] or ""
    return datetime.fromisoformat(text.replace(fraction, fraction[:7]).upper()).astimezone(UTC)


def date_only(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def duration(text: str) -> timedelta:
    """Go's form, such as `1h30m` or `-1.5s`; raises ValueError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    total, at = 0.0, 0
    for match in _PART.finditer(body):
        if match.start() != at:
            break
        total += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    if (at != len(body) or not body) and body != "0":
        raise ValueError(f"invalid duration {text!r}")
    try:
        return timedelta(microseconds=-total if text[:1] == "-" else total)
    except OverflowError:
        raise ValueError(f"invalid duration {text!r}") from None


def base64_bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def timestamp_text(value: datetime) -> str:
    text = value.strftime("%Y-%m-%dT%H:%M:%S")
    text = text.rjust(20 - 1, "0")
    fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
    return f"{text}{fraction}Z"


def duration_text(value: timedelta) -> str:
    micros = value // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, rest = divmod(micros, 1_000_000)
    return f"{sign}{seconds}" + (f".{rest:06d}".rstrip("0") if rest else "") + "s"


def whole(value: timedelta, unit: timedelta) -> int:
    """How many units, cut off towards zero."""
    return -(-value // unit) if value < timedelta(0) else value // unit


def unix(value: datetime) -> int:
    return (value - _EPOCH) // timedelta(seconds=1)


def from_unix(seconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise CelError("timestamp overflow") from None


def in_zone(value: datetime, zone: str) -> datetime:
    match = _OFFSET.fullmatch(zone)
    try:
        if match is not None:
            away = timedelta(hours=int(match[2]), minutes=int(match[3]))
            return value.astimezone(timezone(-away if match[1] == "-" else away))
        return value.astimezone(ZoneInfo(zone))
    except (ValueError, OSError, KeyError, OverflowError):
        raise CelError(f"unknown time zone {zone}") from None
