"""Health checks: what they are read from, and what follows from their results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.container.health import HealthCheck, after, read
from weft.container.spec import Health, HealthResult
from weft.core.errors import InvalidError

SHELL = ("/bin/sh", "-c")
SECOND = 1_000_000_000


def test_what_the_container_leaves_open_the_image_says() -> None:
    image = {"Test": ["CMD-SHELL", "true"], "Interval": 2 * SECOND, "Retries": 5}
    check = read({"Interval": SECOND // 2}, image, SHELL)
    assert check == HealthCheck(("/bin/sh", "-c", "true"), interval=0.5, retries=5)
    assert read({"Test": ["CMD", "a", "b"]}, image, SHELL) == HealthCheck(("a", "b"), interval=2, retries=5)


def test_none_switches_off_what_the_image_says() -> None:
    assert read({"Test": ["NONE"]}, {"Test": ["CMD", "true"]}, SHELL) is None
    assert read(None, None, SHELL) is None
    assert read({"Interval": SECOND}, None, SHELL) is None


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"Test": ["RUN", "x"]}, "Unknown healthcheck type 'RUN'"),
        ({"Test": ["CMD"]}, "no command"),
        ({"Test": "true"}, "list of strings"),
        ({"Test": ["CMD", "x"], "Interval": 5}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Test": ["CMD", "x"], "Timeout": -1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"Test": ["CMD", "x"], "Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_bad_checks_are_told(own: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        read(own, None, SHELL)


def result(code: int, at: float = 100.0) -> HealthResult:
    return HealthResult(at, at + 0.1, code)


def test_failures_of_the_start_period_do_not_count_until_a_success() -> None:
    check = HealthCheck(("x",), start_period=60, retries=2)
    health = after(Health(), result(1), check, started=90)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health = after(health, result(0), check, started=90)
    for expected in ("healthy", "unhealthy"):
        health = after(health, result(1), check, started=90)
        assert health.status == expected
    assert len(health.log) == 4


@given(st.lists(st.sampled_from([0, 1, -1]), min_size=1, max_size=30), st.integers(1, 5))
def test_unhealthy_is_as_many_failures_in_a_row_as_retries(codes: list[int], retries: int) -> None:
    check, health = HealthCheck(("x",), retries=retries), Health()
    for code in codes:
        health = after(health, result(code), check, started=0)
    streak = next((number for number, code in enumerate(reversed(codes)) if code == 0), len(codes))
    assert health.failing_streak == streak
    assert len(health.log) == min(5, len(codes))
    if streak == 0:
        assert health.status == "healthy"
    elif streak >= retries:
        assert health.status == "unhealthy"
    else:
        assert health.status in ("starting", "healthy", "unhealthy")
