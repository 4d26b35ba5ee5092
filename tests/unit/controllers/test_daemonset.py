"""DaemonSets decided in a simulated world: which nodes, one pod each, and how a new version comes."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.controllers import daemonset
from weft.controllers.pods import is_ready
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_node(name: str, *, taints: Any = (), labels: Any = None) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": list(taints)}}


def make_set(*, rolling: Any = None, pod: Any = None, **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"app": "log"}},
        "spec": {"containers": [{"name": "m", "image": "v1"}], **(pod or {})},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "log", "namespace": "default", "uid": "set", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "log"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling or {"maxUnavailable": 1}},
            **spec,
        },
    }


class World:
    """What the API holds; every write is done at once, except that deleted pods take their time."""

    def __init__(self, daemon_set: Object, nodes: int) -> None:
        self.set = daemon_set
        self.nodes = [make_node(f"n{at}") for at in range(nodes)]
        self.pods: dict[str, Object] = {}
        self.revisions: dict[str, Object] = {}
        self.made = 0

    def reconcile(self) -> daemonset.Plan:
        plan = daemonset.decide(self.set, self.nodes, list(self.pods.values()), list(self.revisions.values()), NOW)
        if plan.revision is not None:
            self.revisions[plan.revision.revision["metadata"]["name"]] = plan.revision.revision
        for pod in plan.delete:
            self.pods[pod["metadata"]["name"]]["metadata"]["deletionTimestamp"] = rfc3339(NOW)
        for pod in plan.create:
            self.made += 1
            name = f"log-{self.made:04}"
            self.pods[name] = copy.deepcopy(pod)
            self.pods[name]["metadata"] |= {"name": name, "uid": name, "creationTimestamp": rfc3339(NOW + self.made)}
            self.pods[name]["status"] = {"phase": "Pending"}
        self.set["status"] = plan.status
        return plan

    def set_ready(self, name: str) -> None:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(NOW - 5)}
        self.pods[name]["status"] = {"phase": "Running", "conditions": [condition]}
        self.pods[name]["spec"]["nodeName"] = daemonset.node_of(self.pods[name])

    def collect(self) -> None:
        self.pods = {n: pod for n, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def settle(self) -> None:
        for _ in range(100):
            before = copy.deepcopy((self.pods, self.revisions, self.set))
            self.reconcile()
            for name, pod in self.pods.items():
                if pod["status"]["phase"] == "Pending":
                    self.set_ready(name)
            self.collect()
            if before == (self.pods, self.revisions, self.set):
                return
        raise AssertionError("it does not come to rest")

    def update(self, image: str) -> None:
        self.set["spec"]["template"]["spec"]["containers"][0]["image"] = image

    @property
    def by_node(self) -> dict[str, str]:
        found = {daemonset.node_of(pod): pod["spec"]["containers"][0]["image"] for pod in self.pods.values()}
        return dict(sorted(found.items()))


def test_each_node_gets_one_pod_pinned_to_it() -> None:
    world = World(make_set(), 3)
    world.settle()
    assert world.by_node == {"n0": "v1", "n1": "v1", "n2": "v1"}
    affinity = world.pods["log-0001"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n0"]}]}
    world.nodes.append(make_node("n3"))
    world.settle()
    assert list(world.by_node) == ["n0", "n1", "n2", "n3"]
    assert world.set["status"] == {
        "currentNumberScheduled": 4,
        "desiredNumberScheduled": 4,
        "numberMisscheduled": 0,
        "numberReady": 4,
        "observedGeneration": 1,
        "updatedNumberScheduled": 4,
        "numberAvailable": 4,
    }


def taint(key: str, effect: str) -> Object:
    return {"key": key, "effect": effect}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (make_node("a"), (True, True)),
        (make_node("a", taints=[taint("x", "NoSchedule")]), (False, True)),
        (make_node("a", taints=[taint("x", "NoExecute")]), (False, False)),
        (make_node("a", taints=[taint("node.kubernetes.io/unschedulable", "NoSchedule")]), (True, True)),
        (make_node("a", taints=[taint("node.kubernetes.io/not-ready", "NoExecute")]), (True, True)),
        (make_node("a", taints=[taint("node.kubernetes.io/network-unavailable", "NoSchedule")]), (False, True)),
    ],
)
def test_where_pods_may_be(node: Object, expected: tuple[bool, bool]) -> None:
    assert daemonset.placed_on(make_set(), node) == expected


def test_node_selectors_and_host_networks_are_heeded() -> None:
    labelled = make_set(pod={"nodeSelector": {"disk": "ssd"}})
    assert daemonset.placed_on(labelled, make_node("a", labels={"disk": "ssd"})) == (True, True)
    assert daemonset.placed_on(labelled, make_node("a")) == (False, False)
    network = taint("node.kubernetes.io/network-unavailable", "NoSchedule")
    assert daemonset.placed_on(make_set(pod={"hostNetwork": True}), make_node("a", taints=[network])) == (True, True)


def test_a_pod_leaves_a_node_that_is_not_for_it_any_more_and_a_failed_one_is_replaced() -> None:
    world = World(make_set(), 2)
    world.settle()
    world.nodes[0]["spec"]["taints"] = [taint("x", "NoExecute")]
    world.settle()
    assert list(world.by_node) == ["n1"]
    name = next(iter(world.pods))
    world.pods[name]["status"] = {"phase": "Failed"}
    plan = world.reconcile()
    assert [pod["metadata"]["name"] for pod in plan.ended] == [name]
    world.settle()
    assert list(world.by_node) == ["n1"]
    assert name not in world.pods


def test_on_delete_waits_for_somebody_to_delete() -> None:
    world = World(make_set(updateStrategy={"type": "OnDelete"}), 2)
    world.settle()
    world.update("v2")
    world.settle()
    assert set(world.by_node.values()) == {"v1"}
    del world.pods["log-0001"]
    world.settle()
    assert world.by_node == {"n0": "v2", "n1": "v1"}


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([{"maxUnavailable": 1}, {"maxUnavailable": 2}, {"maxUnavailable": "50%"}]),
    st.lists(st.tuples(st.sampled_from(["reconcile", "reconcile", "ready", "gone"]), st.integers(0, 9)), max_size=60),
)
def test_a_rolling_update_keeps_enough_pods_available(rolling: Object, steps: list[tuple[str, int]]) -> None:
    world = World(make_set(rolling=rolling), 4)
    world.settle()
    world.update("v2")
    most = {1: 1, 2: 2, "50%": 2}[rolling["maxUnavailable"]]
    for action, number in steps:
        names = sorted(world.pods)
        if action == "reconcile":
            world.reconcile()
            there = [pod for pod in world.pods.values() if "deletionTimestamp" not in pod["metadata"]]
            assert sum(map(is_ready, there)) >= 4 - most
            nodes = [daemonset.node_of(pod) for pod in there]
            assert len(nodes) == len(set(nodes)), "two pods on a node"
        elif action == "ready" and names:
            world.set_ready(names[number % len(names)])
        elif action == "gone":
            world.collect()
    world.settle()
    assert world.by_node == dict.fromkeys(["n0", "n1", "n2", "n3"], "v2")


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["reconcile", "reconcile", "ready", "gone"]), st.integers(0, 9)), max_size=60),
)
def test_a_surging_update_never_loses_a_pod_and_keeps_to_its_surge(surge: int, steps: list[tuple[str, int]]) -> None:
    world = World(make_set(rolling={"maxUnavailable": 0, "maxSurge": surge}), 4)
    world.settle()
    world.update("v2")
    for action, number in steps:
        names = sorted(world.pods)
        if action == "reconcile":
            world.reconcile()
            there = [pod for pod in world.pods.values() if "deletionTimestamp" not in pod["metadata"]]
            ready = {daemonset.node_of(pod) for pod in there if is_ready(pod)}
            assert ready == {"n0", "n1", "n2", "n3"}
            assert len(there) <= 4 + surge
        elif action == "ready" and names:
            world.set_ready(names[number % len(names)])
        elif action == "gone":
            world.collect()
    world.settle()
    assert world.by_node == dict.fromkeys(["n0", "n1", "n2", "n3"], "v2")
