"""Quantities such as `250m`, `1.5Gi` and `2e3`, computed exactly.

In: text or a JSON number. Out: Decimal, int, or the canonical text. Source: apimachinery `pkg/api/resource/quantity.go`
(grammar, and the rules for the canonical form: no precision lost, no fraction, the largest fitting suffix).
"""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_DECIMAL_EXPONENT = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX_OF_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_EXPONENT.items()}
_GRAMMAR = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)", re.ASCII)
_MOST = Decimal(2**63 - 1)  # larger amounts are capped
_NANO = Decimal("1e-9")
_MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

Text = str | int | float


def parse(text: Text) -> Decimal:
    """Raises ValueError with Kubernetes's own words."""
    return _split(text)[0]


def _split(text: Text) -> tuple[Decimal, str]:
    """The value, capped and rounded up to nanos, and its suffix; an exponent's suffix is `e`."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(_MESSAGE)
    return _split_text(str(text))


@lru_cache(4096)  # the same few amounts stand in every pod of a cluster
def _split_text(text: str) -> tuple[Decimal, str]:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(_MESSAGE)
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        value = number * _BINARY[suffix]
    elif suffix in _DECIMAL_EXPONENT:
        value = number.scaleb(_DECIMAL_EXPONENT[suffix])
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 64:
            raise ValueError(_MESSAGE)
        value, suffix = number.scaleb(exponent), "e"
    if abs(value) > _MOST:
        value = _MOST.copy_sign(value)
    if value % _NANO:
        value = value.quantize(_NANO, ROUND_CEILING)
    return value, suffix


def to_int(text: Text) -> int:
    """Whole units, rounded up."""
    return int(parse(text).to_integral_value(ROUND_CEILING))


def to_milli(text: Text) -> int:
    """Thousandths, rounded up."""
    return int((parse(text) * 1000).to_integral_value(ROUND_CEILING))


def canonical(text: Text) -> str:
    """The one text that Kubernetes writes for this quantity in its own family of suffixes: `1000m` is `1`."""
    return _canonical(*_split(text))


@lru_cache(4096)
def _canonical(value: Decimal, suffix: str) -> str:
    if value == 0:
        return "0"
    if suffix in _BINARY and value == value.to_integral_value() and abs(value) >= 1024:
        return _binary(int(value))
    exponent = -9
    for candidate in range(18, -10, -3):
        if not value.scaleb(-candidate) % 1:
            exponent = candidate
            break
    digits = format(value.scaleb(-exponent), "f").partition(".")[0]
    if suffix == "e":
        return f"{digits}e{exponent}" if exponent else digits
    return digits + _SUFFIX_OF_EXPONENT[exponent]


def _binary(value: int) -> str:
    best = ""
    for suffix, size in _BINARY.items():
        if value % size == 0:
            best = suffix
    return f"{value // _BINARY[best]}{best}" if best else str(value)
