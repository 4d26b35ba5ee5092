"""Rates, times and shares as people write them, after tc(8): `100Mbit`, `5ms`, `0.1%`.

Each function takes what stood in the file and raises ValueError with what it must be.
"""

import re

_RATES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)bit(?:/s)?", re.IGNORECASE)
_TIMES = {"us": 1, "ms": 1000, "s": 1_000_000}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
# Below, no full-sized frame leaves in a second; above is more than tc's 64 bits of bytes need to hold.
_MIN_RATE, _MAX_RATE = 8_000, 10**13


def parse_rate(text: str) -> int:
    """Bits a second."""
    match = _RATE.fullmatch(text.strip())
    rate = round(float(match[1]) * _RATES[match[2].lower()]) if match else 0
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise ValueError("must be a rate between 8kbit and 10Tbit, such as 100Mbit or 2.5Gbit")
    return rate


def format_rate(rate: int) -> str:
    """`100Mbit` for 100000000; the inverse of `parse_rate`."""
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if rate >= factor and rate * 1000 % factor == 0:
            return f"{rate / factor:g}{unit}bit"
    return f"{rate}bit"


def parse_delay(text: str) -> int:
    """Microseconds."""
    match = _TIME.fullmatch(text.strip())
    delay = round(float(match[1]) * _TIMES[match[2]]) if match else -1
    if not 0 <= delay <= 10_000_000:
        raise ValueError("must be a time of at most 10s, such as 5ms or 250us")
    return delay


def parse_loss(text: str) -> float:
    """A share of 1."""
    match = _SHARE.fullmatch(text.strip())
    if not match or float(match[1]) > 100:
        raise ValueError("must be a share of packets between 0% and 100%, such as 0.1%")
    return float(match[1]) / 100


def parse_time(text: str) -> float:
    """Seconds, to the microsecond."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)", text.strip())
    seconds = float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[match[2]] if match else -1.0
    if not 0 <= seconds <= 86400:
        raise ValueError("must be a time of at most 24h, such as 10s or 500ms")
    return round(seconds, 6)


def format_time(seconds: float) -> str:
    """`10s`, `500ms`; the inverse of `parse_time` and, up to 10 s, of `parse_delay`."""
    microseconds = round(seconds * 1e6)
    for unit, factor in (("s", 1_000_000), ("ms", 1000)):
        if microseconds % factor == 0:
            return f"{microseconds // factor}{unit}"
    return f"{microseconds}us"


def format_share(share: float) -> str:
    """`0.1%`; the inverse of `parse_loss`, to twelve digits."""
    text = f"{share * 100:.12f}".rstrip("0").rstrip(".")
    return f"{text or '0'}%"
