"""Schedules: the grammar and its errors, and times against a search minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api import cron
from weft.core.clock import parse_rfc3339, rfc3339


def times(schedule: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    found, at, parsed = [], parse_rfc3339(after), cron.parse(schedule, zone)
    for _ in range(count):
        following = parsed.next(at)
        assert following is not None
        at = following
        found.append(rfc3339(at))
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]),
        ("*/20 * * * *", ["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]),
        ("5-10/5,59 1 * * *", ["2026-01-01T01:05:00Z", "2026-01-01T01:10:00Z"]),
        ("50/5 * * * *", ["2026-01-01T00:50:00Z", "2026-01-01T00:55:00Z"]),
        ("@hourly", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
        ("@weekly", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
        ("@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
        ("0 0 29 feb ?", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 12 13 * FRI", ["2026-01-02T12:00:00Z", "2026-01-09T12:00:00Z"]),  # the 13th or a Friday
        ("@every 90s", ["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]),
        ("@every 1h30m", ["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"]),
    ],
)
def test_times(schedule: str, expected: list[str]) -> None:
    assert times(schedule, "2026-01-01T00:00:00Z", 2) == expected


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("9-3 * * * *", "beginning of range (9) beyond end of range (3): 9-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
    ],
)
def test_mistakes_are_told_as_kubernetes_tells_them(schedule: str, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        cron.parse(schedule)
    assert str(caught.value) == error


def test_what_a_clock_change_leaps_over_is_not_due_and_what_it_repeats_is_due_twice() -> None:
    spring = times("30 2 * * *", "2026-03-07T12:00:00Z", 1, "America/New_York")
    assert spring == ["2026-03-09T06:30:00Z"]
    autumn = times("30 1 * * *", "2026-11-01T04:00:00Z", 3, "America/New_York")
    assert autumn == ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"]


def test_an_unknown_zone_is_told() -> None:
    with pytest.raises(ValueError, match="unknown time zone Mars/Olympus"):
        cron.parse("* * * * *", "Mars/Olympus")


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranged = st.tuples(number, number, st.integers(1, 5)).map(lambda v: f"{min(v[:2])}-{max(v[:2])}/{v[2]}")
    return st.one_of(st.just("*"), number.map(str), ranged, st.integers(1, 7).map(lambda step: f"*/{step}"))


def matches(parsed: cron.Fields, local: datetime) -> bool:
    day, weekday = local.day in parsed.days, (local.weekday() + 1) % 7 in parsed.weekdays
    fits = (day or weekday) if parsed.either_day else (day and weekday)
    return fits and local.month in parsed.months and local.hour in parsed.hours and local.minute in parsed.minutes


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_the_next_time_is_the_first_minute_that_matches(parts: tuple[str, ...], start: datetime, zone: str) -> None:
    parsed = cron.parse(" ".join(parts), zone)
    assert isinstance(parsed, cron.Fields)
    begin = start.replace(tzinfo=UTC)
    found = parsed.next(begin.timestamp())
    minute = begin.replace(second=0, microsecond=0)
    for _ in range(3 * 1440):
        minute += timedelta(minutes=1)
        if matches(parsed, minute.astimezone(ZoneInfo(zone))):
            assert found == minute.timestamp()
            return
    assert found is None or found > minute.timestamp()


@given(st.integers(0, 10**6), st.integers(0, 10**5))
def test_the_latest_time_is_the_last_one_that_next_finds(after: int, span: int) -> None:
    schedule = cron.parse("*/7 3-20 * * *")
    last, at = None, schedule.next(after)
    while at is not None and at <= after + span:
        last, at = at, schedule.next(at)
    assert cron.latest(schedule, after, after + span) == last
