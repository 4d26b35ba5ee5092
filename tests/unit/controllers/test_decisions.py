"""ReplicaSets and endpoints decided from what is observed: tables."""

from typing import Any

import pytest

from weft.controllers import endpointslice, replicaset
from weft.controllers.pods import available_in, deletion_rank
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_pod(name: str, *, ready: bool = True, owner: str = "rs-uid", labels: Any = None, **changes: Any) -> Object:
    pod: Object = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "labels": {"app": "web"} if labels is None else labels,
            "creationTimestamp": rfc3339(NOW - 100),
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "m", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(NOW - 50)},
            ],
        },
    }
    if owner:
        pod["metadata"]["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "ReplicaSet", "name": "rs"}]
    for path, value in changes.items():
        section, _, key = path.partition("_")
        pod[section][key] = value
    return pod


def make_replicaset(replicas: int = 2, **spec: Any) -> Object:
    return {
        "metadata": {"name": "rs", "namespace": "default", "uid": "rs-uid", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}},
            **spec,
        },
    }


def test_missing_pods_are_made_and_surplus_ones_deleted() -> None:
    assert replicaset.decide(make_replicaset(3), [make_pod("a")], NOW).create == 2
    plan = replicaset.decide(make_replicaset(1), [make_pod("a"), make_pod("b", ready=False)], NOW)
    assert [pod["metadata"]["name"] for pod in plan.delete] == ["b"]
    assert plan.create == 0


def test_finished_and_terminating_pods_do_not_count() -> None:
    done = make_pod("a", status_phase="Failed")
    going = make_pod("b", metadata_deletionTimestamp=rfc3339(NOW))
    assert replicaset.decide(make_replicaset(2), [done, going], NOW).create == 2


def test_orphans_are_adopted_and_strangers_released() -> None:
    orphan, stranger = make_pod("a", owner=""), make_pod("b", labels={"app": "other"})
    plan = replicaset.decide(make_replicaset(1), [orphan, stranger], NOW)
    assert [pod["metadata"]["name"] for pod in plan.claims.adopt] == ["a"]
    assert [pod["metadata"]["name"] for pod in plan.claims.release] == ["b"]
    assert plan.create == 0


def test_a_pod_of_another_controller_is_left_alone() -> None:
    plan = replicaset.decide(make_replicaset(1), [make_pod("a", owner="somebody")], NOW)
    assert (plan.claims.adopt, plan.claims.release, plan.create) == ((), (), 1)


def test_a_replicaset_on_its_way_out_makes_nothing() -> None:
    dying = make_replicaset(3)
    dying["metadata"]["deletionTimestamp"] = rfc3339(NOW)
    plan = replicaset.decide(dying, [make_pod("a", owner="")], NOW)
    assert (plan.create, plan.claims.adopt, plan.delete) == (0, (), ())


def test_available_waits_for_min_ready_seconds() -> None:
    young = make_pod("a")
    young["status"]["conditions"][0]["lastTransitionTime"] = rfc3339(NOW - 4)
    plan = replicaset.decide(make_replicaset(1, minReadySeconds=10), [young], NOW)
    assert plan.status is not None
    assert plan.status["readyReplicas"] == 1
    assert "availableReplicas" not in plan.status
    assert plan.wake_after == pytest.approx(6)
    assert available_in(young, 10, NOW + 6) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_pod("a", spec_nodeName=""), make_pod("b")),
        (make_pod("a", status_phase="Pending"), make_pod("b")),
        (make_pod("a", ready=False), make_pod("b")),
        (
            make_pod("a", metadata_annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}),
            make_pod("b"),
        ),
        (make_pod("a", metadata_creationTimestamp=rfc3339(NOW)), make_pod("b")),
        (make_pod("a", status_containerStatuses=[{"restartCount": 4}]), make_pod("b")),
    ],
)
def test_the_less_useful_pod_goes_first(first: Object, second: Object) -> None:
    assert deletion_rank(first, 1) < deletion_rank(second, 1)


def make_service(**spec: Any) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "s-uid"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}], **spec},
    }


def test_endpoints_tell_ready_from_not_ready_and_terminating() -> None:
    pods = [
        make_pod("a", status_podIP="10.0.0.1"),
        make_pod("b", status_podIP="10.0.0.2", ready=False),
        make_pod("c", status_podIP="10.0.0.3", metadata_deletionTimestamp=rfc3339(NOW)),
        make_pod("d", status_podIP="", ready=False),
        make_pod("e", status_podIP="10.0.0.5", status_phase="Succeeded"),
    ]
    (only,), endpoints = endpointslice.decide(make_service(), pods)
    conditions = {each["addresses"][0]: each["conditions"] for each in only["endpoints"]}
    assert conditions == {
        "10.0.0.1": {"ready": True, "serving": True, "terminating": False},
        "10.0.0.2": {"ready": False, "serving": False, "terminating": False},
        "10.0.0.3": {"ready": False, "serving": True, "terminating": True},
    }
    assert only["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
    (subset,) = endpoints["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.2"]


def test_a_named_port_may_differ_from_pod_to_pod() -> None:
    other = make_pod("b", status_podIP="10.0.0.2")
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090
    slices, _ = endpointslice.decide(make_service(), [make_pod("a"), other])
    assert sorted(each["ports"][0]["port"] for each in slices) == [8080, 9090]


def test_no_pods_give_one_empty_slice() -> None:
    slices, endpoints = endpointslice.decide(make_service(), [])
    assert [each["endpoints"] for each in slices] == [[]]
    assert endpoints["subsets"] == []


def test_publish_not_ready_addresses() -> None:
    (only,), _ = endpointslice.decide(make_service(publishNotReadyAddresses=True), [make_pod("a", ready=False)])
    assert only["endpoints"][0]["conditions"]["ready"] is True
