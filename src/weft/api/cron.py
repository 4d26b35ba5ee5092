"""Schedules in cron's five fields, their names, steps and macros, as CronJob takes them.

In: the text of `spec.schedule` and a time zone. Out: the times at which it is due. A time that a clock change leaps
over is not due, one that it repeats is due twice. Where neither day field is a star, either suffices (crontab(5)).
Grammar and words of errors as Kubernetes has them from robfig/cron v3 (`ParseStandard`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: at for at, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: at for at, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
# Lowest and highest value of each field, and its names.
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_HORIZON = timedelta(days=5 * 366)
# How far back `latest` looks first, and then further.
_WINDOWS = (3600.0, 86400.0, 32 * 86400.0)


class Schedule(Protocol):
    """Times are seconds since 1970."""

    def next(self, after: float) -> float | None:
        """The first time later than `after`; None if there is none within five years."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """`@every 90s`: counted from whenever it is asked."""

    seconds: float

    def next(self, after: float) -> float | None:
        return float(int(after + self.seconds))


@dataclass(frozen=True, slots=True)
class Fields:
    """The values that each field allows; `either_day` where a match of one of the two day fields is enough."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: ZoneInfo

    def next(self, after: float) -> float | None:
        time = datetime.fromtimestamp(int(after), UTC).replace(second=0) + timedelta(minutes=1)
        end = time + _HORIZON
        while time < end:
            local = time.astimezone(self.zone)
            if not self._day_matches(local):
                time = max(self._next_midnight(local), time + timedelta(minutes=1))
            elif local.hour not in self.hours:
                time += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                time += timedelta(minutes=1)
            else:
                return time.timestamp()
        return None

    def _day_matches(self, local: datetime) -> bool:
        if local.month not in self.months:
            return False
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either_day else day and weekday

    def _next_midnight(self, local: datetime) -> datetime:
        naive = (local.replace(tzinfo=None) + timedelta(days=1)).replace(hour=0, minute=0)
        if local.month not in self.months and naive.day != 1:
            naive = (naive.replace(day=28) + timedelta(days=4)).replace(day=1)
        return naive.replace(tzinfo=self.zone).astimezone(UTC)


def parse(text: str, zone: str = "UTC") -> Schedule:
    """Raises ValueError, as does `time_zone`."""
    where = time_zone(zone)
    text = text.strip()
    if not text:
        raise ValueError("empty spec string")
    if text.startswith("@every "):
        return Every(_duration(text))
    if text.startswith("@"):
        if text not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _MACROS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]")
    sets = [_field(part, *bounds) for part, bounds in zip(parts, _FIELDS, strict=True)]
    values = [frozenset(found) for found, _ in sets]
    either = not sets[2][1] and not sets[4][1]
    return Fields(values[0], values[1], values[2], values[3], values[4], either, where)


def time_zone(name: str) -> ZoneInfo:
    """A zone of the IANA database; raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: names of directories
        raise ValueError(f"unknown time zone {name}") from None


def latest(schedule: Schedule, after: float, until: float) -> float | None:
    """The last time that is later than `after` and not later than `until`."""
    if isinstance(schedule, Every):
        times = int((until - after) // max(1, int(schedule.seconds)))
        return after + times * max(1, int(schedule.seconds)) if times >= 1 else None
    for window in (*_WINDOWS, until - after):
        found, start = None, max(after, until - window)
        while (due := schedule.next(start)) is not None and due <= until:
            found = start = due
        if found is not None or start == after:
            return found
    return None


def _field(text: str, low: int, high: int, names: dict[str, int]) -> tuple[set[int], bool]:
    """The values of a comma-separated field, and whether it is a star."""
    found: set[int] = set()
    star = False
    for part in text.split(","):
        if not part:
            continue
        values, is_star = _range(part, low, high, names)
        found.update(values)
        star = star or is_star
    return found, star


def _range(text: str, low: int, high: int, names: dict[str, int]) -> tuple[range, bool]:
    base, *steps = text.split("/")
    first, *rest = base.split("-")
    if len(rest) > 1:
        raise ValueError(f"too many hyphens: {text}")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    star = first in ("*", "?")
    if star:
        start, end = low, high
    else:
        start = _number(first, names)
        end = _number(rest[0], names) if rest else start
    step = 1
    if steps:
        step = _number(steps[0], {})
        if not rest and not star:
            end = high
        if step > 1:
            star = False
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), star


def _number(text: str, names: dict[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


def _duration(text: str) -> float:
    """Go's form, such as `1h30m`; at least a second."""
    given = text.removeprefix("@every ")
    parts = _DURATION.findall(given)
    if not parts or "".join(parts) != given:
        raise ValueError(f'failed to parse duration {text}: time: invalid duration "{given}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in (_split(part) for part in parts))
    return max(1.0, float(int(seconds)))


def _split(part: str) -> tuple[str, str]:
    number = part.rstrip("nuµmsh")
    return number, part[len(number) :]
