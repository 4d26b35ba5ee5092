"""CEL's own operators, conversions and functions. Source: cel-spec `doc/langdef.md`, "List of Standard Definitions"."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from weft.api.cel import times
from weft.api.cel.errors import CelError
from weft.api.cel.functions import Budget, function, method
from weft.api.cel.syntax import UInt
from weft.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    LIST,
    MAP,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    A,
    B,
    MapList,
    SetList,
    Type,
    list_of,
    map_of,
)
from weft.api.cel.values import TypeValue, compare, equal, kind_of

# A step handles this many characters or elements.
CHUNK = 10


def sized(budget: Budget, *lengths: int) -> None:
    """Pays for going through so many characters or elements."""
    budget.spend(1 + sum(lengths) // CHUNK)


def fit_int(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise CelError("integer overflow")
    return value


def fit_uint(value: int) -> UInt:
    if not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    return UInt(value)


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise CelError("division by zero")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise CelError("modulus by zero")
    return int(math.fmod(a, b)) if abs(a) < 2**53 > abs(b) else a - b * _quotient(a, b)


def _ratio(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


_ARITHMETIC: dict[str, tuple[Callable[[int, int], int], Callable[[float, float], float] | None]] = {
    "_+_": (lambda a, b: int(a) + int(b), lambda a, b: a + b),
    "_-_": (lambda a, b: int(a) - int(b), lambda a, b: a - b),
    "_*_": (lambda a, b: int(a) * int(b), lambda a, b: a * b),
    "_/_": (_quotient, _ratio),
    "_%_": (_remainder, None),
}


def _arithmetic(name: str, whole: Callable[[int, int], int], real: Callable[[float, float], float] | None) -> None:
    function(name, INT, INT, to=INT)(lambda a, b: fit_int(whole(a, b)))
    function(name, UINT, UINT, to=UINT)(lambda a, b: fit_uint(whole(int(a), int(b))))
    if real is not None:
        function(name, DOUBLE, DOUBLE, to=DOUBLE)(real)


for _name, (_whole, _real) in _ARITHMETIC.items():
    _arithmetic(_name, _whole, _real)

function("-_", INT, to=INT)(lambda a: fit_int(-a))
function("-_", DOUBLE, to=DOUBLE)(lambda a: -a)
function("!_", BOOL, to=BOOL)(lambda a: not a)
function("_==_", A, A, to=BOOL)(equal)
function("_!=_", A, A, to=BOOL)(lambda a, b: not equal(a, b))


@function("_+_", STRING, STRING, to=STRING, costly=True)
@function("_+_", BYTES, BYTES, to=BYTES, costly=True)
def _concatenate(budget: Budget, a: Any, b: Any) -> Any:
    sized(budget, len(a), len(b))
    return a + b


@function("_+_", list_of(A), list_of(A), to=list_of(A), costly=True)
def _add_lists(budget: Budget, a: list[Any], b: list[Any]) -> list[Any]:
    """Lists of the map and set types merge, as server-side apply merges them."""
    sized(budget, len(a), len(b))
    if isinstance(a, MapList):
        budget.spend(len(a) * len(b) // CHUNK)
        merged = MapList(a)
        merged.keys = a.keys
        for each in b:
            key = [each.get(name) for name in a.keys]
            at = next((i for i, mine in enumerate(merged) if [mine.get(name) for name in a.keys] == key), len(merged))
            merged[at : at + 1] = [each]
        return merged
    if isinstance(a, SetList):
        budget.spend(len(a) * len(b) // CHUNK)
        return SetList([*a, *(each for each in b if not any(equal(each, mine) for mine in a))])
    return [*a, *b]


def _times(make: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(a: Any, b: Any) -> Any:
        try:
            return make(a, b)
        except OverflowError:
            raise CelError("timestamp overflow") from None

    return call


function("_+_", TIMESTAMP, DURATION, to=TIMESTAMP)(_times(lambda a, b: a + b))
function("_+_", DURATION, TIMESTAMP, to=TIMESTAMP)(_times(lambda a, b: b + a))
function("_+_", DURATION, DURATION, to=DURATION)(_times(lambda a, b: a + b))
function("_-_", TIMESTAMP, TIMESTAMP, to=DURATION)(_times(lambda a, b: a - b))
function("_-_", TIMESTAMP, DURATION, to=TIMESTAMP)(_times(lambda a, b: a - b))
function("_-_", DURATION, DURATION, to=DURATION)(_times(lambda a, b: a - b))

_ORDERS: dict[str, Callable[[int], bool]] = {
    "_<_": lambda sign: sign < 0,
    "_<=_": lambda sign: sign <= 0,
    "_>_": lambda sign: sign > 0,
    "_>=_": lambda sign: sign >= 0,
}


def _order(name: str, holds: Callable[[int], bool]) -> None:
    def call(a: Any, b: Any) -> bool:
        if a != a or b != b:  # NaN is in no order with anything
            return False
        return holds(compare(a, b))

    for one in (INT, UINT, DOUBLE):
        for other in (INT, UINT, DOUBLE):
            function(name, one, other, to=BOOL)(call)
    for same in (BOOL, STRING, BYTES, TIMESTAMP, DURATION):
        function(name, same, same, to=BOOL)(call)


for _name, _holds in _ORDERS.items():
    _order(_name, _holds)


@function("@in", A, list_of(A), to=BOOL, costly=True)
def _in_list(budget: Budget, value: Any, items: list[Any]) -> bool:
    sized(budget, CHUNK * len(items))
    return any(equal(value, each) for each in items)


@function("@in", A, map_of(A, B), to=BOOL)
def _in_map(key: Any, mapping: dict[Any, Any]) -> bool:
    return kind_of(key) in ("bool", "int", "uint", "string") and key in mapping


for _sized in (STRING, BYTES, LIST, MAP):
    function("size", _sized, to=INT)(len)
    method("size", _sized, to=INT)(len)

method("contains", STRING, STRING, to=BOOL)(lambda text, part: part in text)
method("startsWith", STRING, STRING, to=BOOL)(lambda text, part: text.startswith(part))
method("endsWith", STRING, STRING, to=BOOL)(lambda text, part: text.endswith(part))


def pattern(text: str) -> re.Pattern[str]:
    """A pattern of RE2 as one of Python's; raises CelError."""
    from weft.api.patterns import compile_pattern

    try:
        return compile_pattern(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise CelError(f"error parsing regexp: {error}") from None


@function("matches", STRING, STRING, to=BOOL, costly=True)
@method("matches", STRING, STRING, to=BOOL, costly=True)
def _matches(budget: Budget, text: str, regex: str) -> bool:
    sized(budget, len(text) * (1 + len(regex) // 4))
    return pattern(regex).search(text) is not None


# Conversions.


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?\d+", value, re.ASCII) is None:
            raise CelError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        return fit_int(_digits(value))
    if isinstance(value, datetime):
        return times.unix(value)
    if isinstance(value, float) and not -(2.0**63) < value < 2.0**63:
        raise CelError("integer overflow")
    return fit_int(int(value))


def _digits(text: str) -> int:
    if len(text) > 40:
        raise CelError("value out of range")
    return int(text)


def _to_uint(value: Any) -> UInt:
    if isinstance(value, str):
        if re.fullmatch(r"\d+", value, re.ASCII) is None:
            raise CelError(f'strconv.ParseUint: parsing "{value}": invalid syntax')
        return fit_uint(_digits(value))
    if isinstance(value, float) and not 0 <= value < 2.0**64:
        raise CelError("unsigned integer overflow")
    return fit_uint(int(value))


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise CelError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


def to_string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, datetime):
        return times.timestamp_text(value)
    if isinstance(value, timedelta):
        return times.duration_text(value)
    return str(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("1", "t", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "false", "FALSE", "False"):
        return False
    raise CelError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _parsed(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def call(text: Any) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise CelError(str(error)) from None

    return call


def _conversions(name: str, result: Type, sources: tuple[Type, ...], convert: Callable[[Any], Any]) -> None:
    for source in sources:
        function(name, source, to=result)(convert)


_conversions("int", INT, (INT, UINT, DOUBLE, STRING, TIMESTAMP), _to_int)
_conversions("uint", UINT, (UINT, INT, DOUBLE, STRING), _to_uint)
_conversions("double", DOUBLE, (DOUBLE, INT, UINT, STRING), _to_double)
_conversions("string", STRING, (STRING, INT, UINT, DOUBLE, BOOL, BYTES, TIMESTAMP, DURATION), to_string)
_conversions("bool", BOOL, (BOOL, STRING), _to_bool)
function("bytes", STRING, to=BYTES)(lambda text: text.encode())
function("bytes", BYTES, to=BYTES)(lambda value: value)
function("timestamp", STRING, to=TIMESTAMP)(_parsed(times.timestamp))
function("timestamp", INT, to=TIMESTAMP)(times.from_unix)
function("timestamp", TIMESTAMP, to=TIMESTAMP)(lambda value: value)
function("duration", STRING, to=DURATION)(_parsed(times.duration))
function("duration", DURATION, to=DURATION)(lambda value: value)
function("dyn", A, to=DYN)(lambda value: value)
function("type", A, to=TYPE)(lambda value: TypeValue(kind_of(value)))

# Parts of times.
_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_LENGTHS: dict[str, Callable[[timedelta], int]] = {
    "getHours": lambda span: times.whole(span, timedelta(hours=1)),
    "getMinutes": lambda span: times.whole(span, timedelta(minutes=1)),
    "getSeconds": lambda span: times.whole(span, timedelta(seconds=1)),
    "getMilliseconds": lambda span: times.whole(span, timedelta(milliseconds=1)),
}


def _part(name: str, part: Callable[[datetime], int]) -> None:
    method(name, TIMESTAMP, to=INT)(lambda at: part(at.astimezone(UTC)))
    method(name, TIMESTAMP, STRING, to=INT)(lambda at, zone: part(times.in_zone(at, zone)))


for _name, _part_of in _PARTS.items():
    _part(_name, _part_of)
for _name, _length in _LENGTHS.items():
    method(_name, DURATION, to=INT)(_length)
