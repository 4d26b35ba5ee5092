"""Probes with a clock of our own."""

from typing import Any

import pytest

from weft.node.probes import Checks, Kind, Probe, Result, probes_of

GOOD, BAD = Result(True), Result(False, "no")


def checks(**probes: Any) -> Checks:
    return Checks(probes_of({f"{kind}Probe": {"exec": {}, **value} for kind, value in probes.items()}), 100.0)


def due(each: Checks) -> tuple[str, float]:
    found = each.due()
    assert found is not None
    return found[0].kind.value, found[1]


def test_defaults_are_those_of_the_api() -> None:
    probe = Probe.read(Kind.LIVENESS, {"exec": {"command": ["true"]}})
    assert (probe.initial_delay, probe.period, probe.timeout) == (0, 10, 1)
    assert (probe.success_threshold, probe.failure_threshold) == (1, 3)


def test_without_probes_there_is_nothing_to_do() -> None:
    each = checks()
    assert each.due() is None
    assert each.health("main").ready


def test_the_first_readiness_probe_comes_at_once_and_is_soon_tried_again() -> None:
    each = checks(readiness={"periodSeconds": 10})
    assert due(each) == ("readiness", 100.0)
    assert each.record(Kind.READINESS, BAD, 100.0), "the regular one is told"
    assert due(each) == ("readiness", 100.05)
    assert not each.record(Kind.READINESS, BAD, 100.05), "extra ones are not"
    assert due(each)[1] == pytest.approx(100.15)
    assert not each.health("main").ready
    each.record(Kind.READINESS, GOOD, 100.15)
    assert each.health("main").ready
    assert due(each) == ("readiness", 110.0)


def test_readiness_is_lost_after_the_threshold_and_found_again() -> None:
    each = checks(readiness={"failureThreshold": 2, "initialDelaySeconds": 5})
    assert due(each) == ("readiness", 105.0)
    each.record(Kind.READINESS, GOOD, 105.0)
    each.record(Kind.READINESS, BAD, 115.0)
    assert each.health("main").ready
    each.record(Kind.READINESS, BAD, 125.0)
    assert not each.health("main").ready
    assert not each.health("main").failure


def test_liveness_fails_for_good_after_failures_in_a_row() -> None:
    each = checks(liveness={"failureThreshold": 3, "periodSeconds": 1})
    for now, result in ((100, BAD), (101, BAD), (102, GOOD), (103, BAD), (104, BAD)):
        each.record(Kind.LIVENESS, result, now)
    assert not each.health("main").failure
    each.record(Kind.LIVENESS, BAD, 105)
    assert each.health("main").failure == "Container main failed liveness probe, will be restarted"
    assert each.due() is None


def test_nothing_else_is_asked_before_the_startup_probe_succeeds() -> None:
    each = checks(startup={"periodSeconds": 1, "failureThreshold": 3}, liveness={}, readiness={})
    assert due(each)[0] == "startup"
    assert not each.health("main").started
    each.record(Kind.STARTUP, BAD, 100)
    assert due(each)[0] == "startup"
    each.record(Kind.STARTUP, GOOD, 100.4)
    assert each.health("main").started
    assert due(each) == ("liveness", 100.4)
    each.record(Kind.LIVENESS, GOOD, 100.4)
    each.record(Kind.READINESS, GOOD, 100.4)
    assert each.health("main").ready
    assert due(each)[1] > 105, "the startup probe is over"


def test_a_startup_probe_that_keeps_failing_is_a_failure() -> None:
    each = checks(startup={"periodSeconds": 1, "failureThreshold": 2})
    each.record(Kind.STARTUP, BAD, 100)
    each.record(Kind.STARTUP, BAD, 100.05)
    assert not each.health("main").failure, "an extra try does not count"
    each.record(Kind.STARTUP, BAD, 101)
    assert "failed startup probe" in each.health("main").failure


def test_what_was_ready_before_a_restart_of_the_node_stays_so() -> None:
    each = Checks(probes_of({"readinessProbe": {"exec": {}}}), 100.0, ready=True)
    assert each.health("main").ready
