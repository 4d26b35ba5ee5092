"""What Kubernetes adds to CEL: lists, strings, patterns, sets, optional values.

Source: apiserver `pkg/cel/library`, cel-go `ext/strings.go`, `ext/sets.go`, `cel/library.go` (optionals);
kubernetes.io, "Common Expression Language in Kubernetes".
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from weft.api.cel.errors import CelError
from weft.api.cel.functions import Budget, function, method
from weft.api.cel.standard import fit_int, pattern, sized
from weft.api.cel.types import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    LIST,
    STRING,
    A,
    Type,
    list_of,
)
from weft.api.cel.values import NONE, Optional, compare, equal

# Lists.


@method("isSorted", list_of(A), to=BOOL, costly=True)
def _is_sorted(budget: Budget, items: list[Any]) -> bool:
    sized(budget, len(items))
    return all(compare(a, b) <= 0 for a, b in pairwise(items))


@method("min", list_of(A), to=A, costly=True)
def _min(budget: Budget, items: list[Any]) -> Any:
    return _extreme(budget, items, -1, "min")


@method("max", list_of(A), to=A, costly=True)
def _max(budget: Budget, items: list[Any]) -> Any:
    return _extreme(budget, items, 1, "max")


def _extreme(budget: Budget, items: list[Any], sign: int, name: str) -> Any:
    sized(budget, len(items))
    if not items:
        raise CelError(f"{name} called on empty list")
    best = items[0]
    for each in items[1:]:
        if compare(each, best) * sign > 0:
            best = each
    return best


def _sum_of(zero: Any) -> Callable[[Budget, list[Any]], Any]:
    def call(budget: Budget, items: list[Any]) -> Any:
        sized(budget, len(items))
        try:
            total = sum(items, zero)
        except (TypeError, OverflowError):
            raise CelError("no such overload") from None
        return fit_int(total) if type(total) is int else total

    return call


method("sum", list_of(INT), to=INT, costly=True)(_sum_of(0))
method("sum", list_of(DOUBLE), to=DOUBLE, costly=True)(_sum_of(0.0))


@method("sum", list_of(DURATION), to=DURATION, costly=True)
def _sum_durations(budget: Budget, items: list[Any]) -> Any:
    from datetime import timedelta

    return _sum_of(timedelta())(budget, items)


@method("indexOf", list_of(A), A, to=INT, costly=True)
def _index(budget: Budget, items: list[Any], value: Any) -> int:
    sized(budget, len(items))
    return next((at for at, each in enumerate(items) if equal(each, value)), -1)


@method("lastIndexOf", list_of(A), A, to=INT, costly=True)
def _last_index(budget: Budget, items: list[Any], value: Any) -> int:
    sized(budget, len(items))
    return next((at for at in range(len(items) - 1, -1, -1) if equal(items[at], value)), -1)


# Sets.


def _within(budget: Budget, part: list[Any], whole: list[Any]) -> bool:
    budget.spend(1 + len(part) * len(whole))
    return all(any(equal(each, other) for other in whole) for each in part)


@function("sets.contains", list_of(A), list_of(A), to=BOOL, costly=True)
def _contains(budget: Budget, whole: list[Any], part: list[Any]) -> bool:
    return _within(budget, part, whole)


@function("sets.equivalent", list_of(A), list_of(A), to=BOOL, costly=True)
def _equivalent(budget: Budget, one: list[Any], other: list[Any]) -> bool:
    return _within(budget, one, other) and _within(budget, other, one)


@function("sets.intersects", list_of(A), list_of(A), to=BOOL, costly=True)
def _intersects(budget: Budget, one: list[Any], other: list[Any]) -> bool:
    budget.spend(1 + len(one) * len(other))
    return any(equal(each, theirs) for each in one for theirs in other)


# Strings; positions count characters.


@method("charAt", STRING, INT, to=STRING)
def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise CelError(f"index out of range: {at}")
    return text[at : at + 1]


@method("indexOf", STRING, STRING, to=INT)
def _find_in(text: str, part: str) -> int:
    return text.find(part)


@method("indexOf", STRING, STRING, INT, to=INT)
def _find_from(text: str, part: str, begin: int) -> int:
    if not 0 <= begin <= len(text):
        raise CelError(f"index out of range: {begin}")
    return text.find(part, begin)


@method("lastIndexOf", STRING, STRING, to=INT)
def _find_last(text: str, part: str) -> int:
    return text.rfind(part)


@method("lastIndexOf", STRING, STRING, INT, to=INT)
def _find_last_from(text: str, part: str, begin: int) -> int:
    if not 0 <= begin <= len(text):
        raise CelError(f"index out of range: {begin}")
    return text.rfind(part, 0, begin + len(part))


@method("substring", STRING, INT, to=STRING)
def _rest(text: str, begin: int) -> str:
    return _substring(text, begin, len(text))


@method("substring", STRING, INT, INT, to=STRING)
def _substring(text: str, begin: int, end: int) -> str:
    if not 0 <= begin <= len(text) or not 0 <= end <= len(text):
        raise CelError(f"index out of range: {begin if not 0 <= begin <= len(text) else end}")
    if begin > end:
        raise CelError(f"invalid substring range. start: {begin}, end: {end}")
    return text[begin:end]


def _ascii(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(each) if each.isascii() else each for each in text)


method("lowerAscii", STRING, to=STRING)(lambda text: _ascii(text, str.lower))
method("upperAscii", STRING, to=STRING)(lambda text: _ascii(text, str.upper))
method("trim", STRING, to=STRING)(lambda text: text.strip())


@method("replace", STRING, STRING, STRING, to=STRING, costly=True)
def _replace_all(budget: Budget, text: str, old: str, new: str) -> str:
    return _replace(budget, text, old, new, -1)


@method("replace", STRING, STRING, STRING, INT, to=STRING, costly=True)
def _replace(budget: Budget, text: str, old: str, new: str, times: int) -> str:
    found = text.count(old)
    sized(budget, len(text) + (found if times < 0 else min(found, times)) * len(new))
    return text.replace(old, new, times)


@method("split", STRING, STRING, to=list_of(STRING), costly=True)
def _split_all(budget: Budget, text: str, separator: str) -> list[str]:
    return _split(budget, text, separator, -1)


@method("split", STRING, STRING, INT, to=list_of(STRING), costly=True)
def _split(budget: Budget, text: str, separator: str, most: int) -> list[str]:
    sized(budget, len(text))
    if most == 0:
        return []
    if separator:
        return text.split(separator, most - 1 if most > 0 else -1)
    parts = list(text)
    return parts if most < 0 or len(parts) <= most else [*parts[: most - 1], "".join(parts[most - 1 :])]


@method("join", list_of(STRING), to=STRING, costly=True)
def _join(budget: Budget, items: list[Any]) -> str:
    return _join_with(budget, items, "")


@method("join", list_of(STRING), STRING, to=STRING, costly=True)
def _join_with(budget: Budget, items: list[Any], separator: str) -> str:
    if not all(isinstance(each, str) for each in items):
        raise CelError("no such overload")
    sized(budget, sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


@method("format", STRING, LIST, to=STRING, costly=True)
def _format(budget: Budget, text: str, items: list[Any]) -> str:
    from weft.api.cel.formatting import formatted

    result = formatted(text, items)
    sized(budget, len(result))
    return result


@method("find", STRING, STRING, to=STRING, costly=True)
def _find(budget: Budget, text: str, regex: str) -> str:
    sized(budget, len(text) * (1 + len(regex) // 4))
    found = pattern(regex).search(text)
    return found[0] if found is not None else ""


@method("findAll", STRING, STRING, to=list_of(STRING), costly=True)
def _find_all(budget: Budget, text: str, regex: str) -> list[str]:
    return _find_some(budget, text, regex, -1)


@method("findAll", STRING, STRING, INT, to=list_of(STRING), costly=True)
def _find_some(budget: Budget, text: str, regex: str, most: int) -> list[str]:
    sized(budget, len(text) * (1 + len(regex) // 4))
    found = [match[0] for match in pattern(regex).finditer(text)]
    return found if most < 0 else found[:most]


# Optional values.
_OPTIONAL = Type("optional", (A,))


def _zero(value: Any) -> bool:
    return value is None or value in (False, 0, 0.0, "", b"", [], {})


def _value_of(value: Optional) -> Any:
    if not value.present:
        raise CelError("optional.none() dereference")
    return value.value


function("optional.of", A, to=_OPTIONAL)(lambda value: Optional(True, value))
function("optional.none", to=Type("optional", (DYN,)))(lambda: NONE)
function("optional.ofNonZeroValue", A, to=_OPTIONAL)(lambda value: NONE if _zero(value) else Optional(True, value))
method("hasValue", _OPTIONAL, to=BOOL)(lambda value: value.present)
method("value", _OPTIONAL, to=A)(_value_of)
method("orValue", _OPTIONAL, A, to=A)(lambda value, other: value.value if value.present else other)
method("or", _OPTIONAL, _OPTIONAL, to=_OPTIONAL)(lambda value, other: value if value.present else other)
