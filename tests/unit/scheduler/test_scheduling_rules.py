"""Where a pod may run: each rule on its own."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from weft.scheduler.cycle import decide
from weft.scheduler.snapshot import NodeInfo, Snapshot, requests_of

Object = dict[str, Any]


def make_node(name: str = "n1", *, labels: Any = None, **changes: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": changes,
        "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


NAMES = itertools.count()


def make_pod(cpu: str = "100m", memory: str = "64Mi", **spec: Any) -> Object:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    metadata = {"name": f"p{next(NAMES)}", "namespace": "default"}
    return {"metadata": metadata, "spec": {"containers": [{"resources": resources}], **spec}, "status": {}}


def snapshot(nodes: Sequence[Object], pods: Sequence[Object]) -> Sequence[NodeInfo]:
    found = Snapshot()
    for node in nodes:
        found.set_node(node)
    for pod in pods:
        found.set_pod(pod)
    return found.nodes()


def affinity(operator: str, *values: str) -> Object:
    term = {"matchExpressions": [{"key": "zone", "operator": operator, "values": list(values)}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


@pytest.mark.parametrize(
    ("pod", "node", "reason"),
    [
        (make_pod(), make_node(), ""),
        (make_pod(cpu="3"), make_node(), "1 Insufficient cpu"),
        (make_pod(memory="5Gi"), make_node(), "1 Insufficient memory"),
        (make_pod(), make_node(unschedulable=True), "1 node(s) were unschedulable"),
        (
            make_pod(),
            make_node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            "untolerated taint {k: v}",
        ),
        (
            make_pod(tolerations=[{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]),
            make_node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            "",
        ),
        (
            make_pod(tolerations=[{"operator": "Exists"}]),
            make_node(taints=[{"key": "k", "value": "v", "effect": "NoExecute"}]),
            "",
        ),
        (make_pod(nodeSelector={"disk": "ssd"}), make_node(), "didn't match Pod's node affinity/selector"),
        (make_pod(nodeSelector={"disk": "ssd"}), make_node(labels={"disk": "ssd"}), ""),
        (make_pod(affinity=affinity("In", "a", "b")), make_node(labels={"zone": "b"}), ""),
        (make_pod(affinity=affinity("NotIn", "a")), make_node(labels={"zone": "a"}), "affinity/selector"),
        (make_pod(affinity=affinity("Exists")), make_node(), "affinity/selector"),
        (make_pod(affinity=affinity("Gt", "3")), make_node(labels={"zone": "4"}), ""),
        (make_pod(affinity=affinity("Lt", "3")), make_node(labels={"zone": "x"}), "affinity/selector"),
        (make_pod(nodeName="other"), make_node(), "requested node name"),
    ],
)
def test_a_rule(pod: Object, node: Object, reason: str) -> None:
    decision = decide(pod, snapshot([node], []))
    assert decision.node == ("" if reason else "n1")
    assert reason in decision.message


def test_a_node_that_is_not_ready_takes_nothing() -> None:
    node = make_node()
    node["status"]["conditions"][0]["status"] = "Unknown"
    assert decide(make_pod(), snapshot([node], [])).message == "0/1 nodes are available: 1 node(s) were not ready."


def test_no_nodes_at_all() -> None:
    assert decide(make_pod(), ()).message == "no nodes available to schedule pods"


def test_what_runs_there_counts_and_what_ended_does_not() -> None:
    running = [make_pod(cpu="1500m", nodeName="n1")]
    assert "Insufficient cpu" in decide(make_pod(cpu="1"), snapshot([make_node()], running)).message
    running[0]["status"]["phase"] = "Succeeded"
    assert decide(make_pod(cpu="1"), snapshot([make_node()], running)).node == "n1"


def test_the_number_of_pods_is_limited() -> None:
    running = [make_pod(nodeName="n1") for _ in range(3)]
    assert "Too many pods" in decide(make_pod(), snapshot([make_node()], running)).message


def test_the_emptier_node_is_preferred() -> None:
    running = [make_pod(cpu="1", nodeName="n1")]
    assert decide(make_pod(), snapshot([make_node("n1"), make_node("n2")], running)).node == "n2"


def test_the_largest_init_container_counts_if_it_is_more_than_all_others() -> None:
    pod = make_pod(cpu="100m")
    pod["spec"]["initContainers"] = [
        {"resources": {"requests": {"cpu": "1"}}},
        {"resources": {"limits": {"memory": "1Gi"}}},
    ]
    assert requests_of(pod) == {"cpu": 1000, "memory": 2**30}
