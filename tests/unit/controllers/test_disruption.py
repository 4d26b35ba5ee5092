"""Budgets decided from pods and what their controllers want."""

from typing import Any

import pytest

from weft.controllers import disruption
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_pod(name: str, *, ready: bool = True, owner: str = "rs") -> Object:
    pod: Object = {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }
    if owner:
        pod["metadata"]["ownerReferences"] = [{"uid": owner, "name": owner, "kind": "ReplicaSet", "controller": True}]
    return pod


def make_budget(*, disrupted: Any = None, **spec: Any) -> Object:
    status = {"disruptedPods": disrupted} if disrupted else {}
    metadata = {"name": "pdb", "namespace": "default", "generation": 2}
    return {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}, "status": status}


@pytest.mark.parametrize(
    ("spec", "allowed", "desired"),
    [
        ({"minAvailable": 2}, 1, 2),
        ({"minAvailable": 3}, 0, 3),
        ({"minAvailable": "50%"}, 1, 2),
        ({"minAvailable": "100%"}, 0, 4),
        ({"maxUnavailable": 1}, 0, 3),
        ({"maxUnavailable": "50%"}, 1, 2),
        ({"maxUnavailable": "26%"}, 1, 2),
        ({}, 2, 1),
    ],
)
def test_how_many_may_go(spec: Object, allowed: int, desired: int) -> None:
    """Three of four are ready."""
    pods = [make_pod("a"), make_pod("b"), make_pod("c"), make_pod("d", ready=False)]
    status = disruption.decide(make_budget(**spec), pods, {"rs": 4}, NOW).status
    assert (status["disruptionsAllowed"], status["desiredHealthy"], status["currentHealthy"]) == (allowed, desired, 3)
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")
    assert status["observedGeneration"] == 2


def test_an_evicted_pod_counts_as_gone_until_it_is_or_two_minutes_have_passed() -> None:
    pods = [make_pod("a"), make_pod("b")]
    budget = make_budget(minAvailable=1, disrupted={"a": rfc3339(NOW - 20), "gone": rfc3339(NOW - 20)})
    plan = disruption.decide(budget, pods, {}, NOW)
    assert (plan.status["disruptionsAllowed"], plan.wake_after) == (0, pytest.approx(100))
    assert plan.status["disruptedPods"] == {"a": rfc3339(NOW - 20)}
    later = disruption.decide(budget, pods, {}, NOW + 101)
    assert later.status["disruptionsAllowed"] == 1
    assert "disruptedPods" not in later.status


def test_a_share_of_what_nobody_can_tell_allows_nothing() -> None:
    plan = disruption.decide(make_budget(maxUnavailable=1), [make_pod("a")], {}, NOW)
    assert plan.failed == "ReplicaSet does not implement the scale subresource"
    assert plan.status["disruptionsAllowed"] == 0
    assert plan.status["conditions"][0]["reason"] == "SyncFailed"


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not disruption.selects({"spec": {}}, make_pod("a"))
    assert disruption.selects({"spec": {"selector": {}}}, make_pod("a"))
