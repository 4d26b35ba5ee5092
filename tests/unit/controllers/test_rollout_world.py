"""Rollouts in a simulated world: both controllers' decisions, caches that lag, pods that become ready in any order.

Whatever happens in between, what Kubernetes promises of a rolling update holds after every step, and it ends.
"""

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.controllers import deployment as deployments
from weft.controllers import replicaset as replicasets
from weft.controllers import rollout
from weft.controllers.pods import is_active, is_ready
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]
Step = tuple[str, int]
# The Deployment's controller is quick and sees most: what goes wrong then goes wrong soon.
ACTIONS = ["deployment"] * 4 + ["cache"] * 4 + ["replicaset", "replicaset", "ready", "ready", "gone", "version"]
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 30)), min_size=20, max_size=120)
AMOUNT = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "10%", "25%", "50%", "100%"]))


def template(version: int) -> Object:
    container = {"name": "m", "image": f"v{version}"}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}


class World:
    """What the API would hold, and what the Deployment's controller has seen of it."""

    def __init__(self, replicas: int, strategy: Object) -> None:
        selector = {"matchLabels": {"app": "web"}}
        metadata = {"name": "web", "namespace": "default", "uid": "d", "generation": 1}
        spec = {"replicas": replicas, "selector": selector, "template": template(0), "strategy": strategy}
        self.deployment: Object = {"metadata": metadata, "spec": {**spec, "progressDeadlineSeconds": 600}}
        self.sets: dict[str, Object] = {}
        self.seen: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.expected: dict[str, int] = {}
        self._versions = itertools.count(1)

    def step(self, action: str, number: int) -> None:
        names = sorted(self.sets)
        if action == "deployment":
            self._deploy()
        elif action == "version":
            self.deployment["spec"]["template"] = template(number % 3)
        elif action == "scale":
            self.deployment["spec"]["replicas"] = number % 9
        elif action == "ready":
            if waiting := [pod for pod in self.pods.values() if is_active(pod) and not is_ready(pod)]:
                condition = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(NOW)}
                waiting[number % len(waiting)]["status"] = {"phase": "Running", "conditions": [condition]}
        elif action == "gone":
            if going := [name for name, pod in self.pods.items() if not is_active(pod)]:
                del self.pods[going[number % len(going)]]
        elif names and action == "cache":
            for name in names if number > 15 else [names[number % len(names)]]:
                self._see(name)
        elif names and action == "replicaset":
            self._replicate(names[number % len(names)])

    def finish(self) -> None:
        """Everything goes on until nothing changes any more."""
        for _ in range(300):
            before = copy.deepcopy((self.deployment, self.sets, self.pods))
            for name in [*self.sets, *self.seen]:
                self._see(name)
            self._deploy()
            for name in list(self.sets):
                self._replicate(name)
            while any(is_active(pod) and not is_ready(pod) for pod in self.pods.values()):
                self.step("ready", 0)
            self.pods = {name: pod for name, pod in self.pods.items() if is_active(pod)}
            if before == (self.deployment, self.sets, self.pods):
                return
        raise AssertionError("it never ends")

    def available(self) -> int:
        return sum(is_active(pod) and is_ready(pod) for pod in self.pods.values())

    def wanted_pods(self) -> int:
        return sum(rollout.size(each) for each in self.sets.values())

    def _see(self, name: str) -> None:
        if name in self.sets:
            self.seen[name] = copy.deepcopy(self.sets[name])
        else:
            self.seen.pop(name, None)

    def _put(self, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.sets[obj["metadata"]["name"]] = obj

    def _deploy(self) -> None:
        """The controller's doing: it waits for its own writes to be seen; those on what has changed are refused."""
        for name, version in self.expected.items():
            if name not in self.seen or int(self.seen[name]["metadata"]["resourceVersion"]) < version:
                return
        pods = copy.deepcopy(list(self.pods.values()))
        plan = deployments.decide(copy.deepcopy(self.deployment), list(self.seen.values()), pods, NOW)
        if plan.create is not None and plan.create["metadata"]["name"] not in self.sets:
            made = copy.deepcopy(plan.create)
            number = next(self._versions)
            made["metadata"] |= {"uid": f"r{number}", "creationTimestamp": rfc3339(NOW + number), "generation": 1}
            self._put(made)
            self.expected[made["metadata"]["name"]] = number + 1
        for each in plan.update:
            present = self.sets.get(each["metadata"]["name"])
            if present is None or present["metadata"]["resourceVersion"] != each["metadata"]["resourceVersion"]:
                return  # a conflict: what comes after it is not done either
            changed = copy.deepcopy(each)
            changed["metadata"]["generation"] += changed["spec"] != present["spec"]
            self._put(changed)
            self.expected[each["metadata"]["name"]] = int(changed["metadata"]["resourceVersion"])
        for each in plan.delete:
            self.sets.pop(each["metadata"]["name"], None)
            self.expected.pop(each["metadata"]["name"], None)
        if plan.revision is not None:
            self.deployment["metadata"]["annotations"] = {rollout.REVISION: str(plan.revision)}
        self.deployment["status"] = plan.status

    def _replicate(self, name: str) -> None:
        replicaset = self.sets[name]
        uid = replicaset["metadata"]["uid"]
        mine = [pod for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        plan = replicasets.decide(replicaset, mine, NOW)
        for pod in plan.delete:
            self.pods[pod["metadata"]["name"]]["metadata"]["deletionTimestamp"] = rfc3339(NOW)
        for _ in range(plan.create):
            pod_name = f"p{next(self._versions)}"
            owner = {"uid": uid, "kind": "ReplicaSet", "name": name, "controller": True}
            labels = replicaset["spec"]["template"]["metadata"]["labels"]
            metadata = {"name": pod_name, "namespace": "default", "uid": pod_name, "labels": labels}
            self.pods[pod_name] = {"metadata": {**metadata, "ownerReferences": [owner]}, "spec": {}, "status": {}}
        if plan.status != replicaset.get("status"):
            self._put({**replicaset, "metadata": dict(replicaset["metadata"]), "status": plan.status})


def is_finished(world: World) -> bool:
    replicas = world.deployment["spec"]["replicas"]
    images = {pod["metadata"]["labels"][rollout.HASH_LABEL] for pod in world.pods.values()}
    counts = [world.deployment["status"].get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    reasons = {each["type"]: each["reason"] for each in world.deployment["status"]["conditions"]}
    return (
        len(world.pods) == world.wanted_pods() == replicas
        and images <= {rollout.present_hash(world.deployment)}
        and counts == [replicas] * 3
        and reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), AMOUNT, AMOUNT, STEPS)
def test_a_rolling_update_stays_within_surge_and_unavailable_and_ends(
    replicas: int, surge: Any, unavailable: Any, steps: list[Step]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    world = World(replicas, {"type": "RollingUpdate", "rollingUpdate": rolling})
    world.finish()
    assert is_finished(world)
    most, fewest = rollout.surge_and_unavailable(world.deployment)
    world.step("version", 1)
    for action, number in steps:
        world.step(action, number)
        assert world.available() >= replicas - fewest, action
        assert world.wanted_pods() <= replicas + most, action
    world.finish()
    assert is_finished(world)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), AMOUNT, STEPS, st.lists(st.integers(0, 8), min_size=1, max_size=4), st.booleans())
def test_scaled_and_changed_at_any_time_it_ends(
    replicas: int, amount: Any, steps: list[Step], sizes: list[int], recreate: bool
) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": amount, "maxUnavailable": 1}}
    world = World(replicas, {"type": "Recreate"} if recreate else rolling)
    for number, (action, value) in enumerate(steps):
        world.step(action, value)
        if number % 10 == 0:
            world.step("scale", sizes[number // 10 % len(sizes)])
    world.finish()
    assert is_finished(world)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), STEPS)
def test_recreate_never_runs_two_versions_at_once(replicas: int, steps: list[Step]) -> None:
    world = World(replicas, {"type": "Recreate"})
    world.finish()
    for action, number in steps:
        world.step(action, number)
        if action == "deployment":
            for name in list(world.seen):
                world.step("cache", sorted(world.sets).index(name))
        running = {pod["metadata"]["labels"][rollout.HASH_LABEL] for pod in world.pods.values()}
        assert len(running) <= 1
    world.finish()
    assert is_finished(world)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.lists(st.tuples(st.sampled_from(["delete", "fail", "drop", "ready"]), st.integers(0, 20))))
def test_a_replicaset_comes_back_to_its_size_after_any_losses(replicas: int, losses: list[Step]) -> None:
    world = World(replicas, {"type": "Recreate"})
    world.finish()
    for action, number in losses:
        pods = list(world.pods.values())
        if pods:
            pod = pods[number % len(pods)]
            if action == "delete":
                pod["metadata"]["deletionTimestamp"] = rfc3339(NOW)
            elif action == "fail":
                pod["status"] = {"phase": "Failed"}
            elif action == "drop":
                del world.pods[pod["metadata"]["name"]]
        if number % 3 == 0:
            world.step("replicaset", 0)
    world.finish()
    assert is_finished(world)


@pytest.mark.parametrize(
    ("replicas", "sizes", "surge", "expected"),
    [
        # (old, new) of a rollout under way for 10 with 3 more allowed: kubernetes.io, "Proportional scaling"
        (15, {"old": 8, "new": 5}, 3, {"old": 11, "new": 7}),
        (5, {"old": 8, "new": 5}, 3, {"old": 5, "new": 3}),
        (0, {"old": 8, "new": 5}, 3, {"old": 0, "new": 0}),
        (10, {"old": 8, "new": 5}, 3, {"old": 8, "new": 5}),
    ],
)
def test_proportional_scaling(replicas: int, sizes: dict[str, int], surge: int, expected: dict[str, int]) -> None:
    world = World(replicas, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 2}})
    sets = [
        {
            "metadata": {"name": name, "creationTimestamp": stamp, "annotations": {rollout.MAXIMUM: "13"}},
            "spec": {"replicas": sizes[name]},
        }
        for name, stamp in (("old", "2024-01-01T00:00:00Z"), ("new", "2024-01-02T00:00:00Z"))
    ]
    assert rollout.proportional_sizes(world.deployment, sets) == expected


def test_a_status_that_lags_behind_its_size_does_not_free_more_pods() -> None:
    world = World(4, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    old, new = (
        {"metadata": {"name": name}, "spec": {"replicas": replicas}, "status": {"availableReplicas": available}}
        for name, replicas, available in (("old", 3, 4), ("new", 1, 0))
    )
    assert rollout.rolling_sizes(world.deployment, new, [old]) == {"old": 3, "new": 1}
    old["status"]["availableReplicas"], new["status"]["availableReplicas"] = 3, 1
    assert rollout.rolling_sizes(world.deployment, new, [old]) == {"old": 2, "new": 1}
