"""StatefulSets decided in a simulated world: places, order, updates from the end, claims."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.controllers import statefulset
from weft.controllers.history import data_of
from weft.controllers.statefulset_pods import ordinal_of, revision_of
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_set(replicas: int = 3, image: str = "v1", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "m", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default", "uid": "set", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            **spec,
        },
    }


class World:
    """What the API holds; every write is done at once, except that deleted pods take their time."""

    def __init__(self, stateful_set: Object) -> None:
        self.set = stateful_set
        self.pods: dict[str, Object] = {}
        self.revisions: dict[str, Object] = {}
        self.claims: dict[str, Object] = {}
        self.made: list[str] = []
        self.ended: list[str] = []
        self._uids = 0

    def reconcile(self) -> statefulset.Plan:
        plan = statefulset.decide(self.set, list(self.pods.values()), list(self.revisions.values()), self.claims, NOW)
        if plan.revision is not None:
            self.revisions[plan.revision.revision["metadata"]["name"]] = plan.revision.revision
        for claim in [*plan.volume_claims, *plan.change_claims]:
            self.claims[claim["metadata"]["name"]] = claim
        for pod in plan.create:
            name = pod["metadata"]["name"]
            assert name not in self.pods, "two pods of an ordinal"
            self._uids += 1
            self.pods[name] = copy.deepcopy(pod)
            self.pods[name]["metadata"]["uid"] = str(self._uids)
            self.pods[name]["status"] = {"phase": "Pending"}
            self.made.append(name)
        for pod in plan.delete:
            self.pods[pod["metadata"]["name"]]["metadata"]["deletionTimestamp"] = rfc3339(NOW)
            self.ended.append(pod["metadata"]["name"])
        for each in plan.expired:
            del self.revisions[each["metadata"]["name"]]
        self.set["status"] = plan.status
        return plan

    def set_ready(self, name: str) -> None:
        if "deletionTimestamp" not in self.pods[name]["metadata"]:
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(NOW - 5)}
            self.pods[name]["status"] = {"phase": "Running", "conditions": [condition]}

    def settle(self) -> None:
        for _ in range(200):
            before = copy.deepcopy((self.pods, self.claims, self.revisions, self.set))
            self.reconcile()
            for name in list(self.pods):
                self.set_ready(name)
                if "deletionTimestamp" in self.pods[name]["metadata"]:
                    del self.pods[name]
            if before == (self.pods, self.claims, self.revisions, self.set):
                return
        raise AssertionError("it does not come to rest")

    @property
    def images(self) -> list[str]:
        return [self.pods[name]["spec"]["containers"][0]["image"] for name in sorted(self.pods)]


def test_pods_come_one_after_the_other_and_go_in_reverse() -> None:
    world = World(make_set(3))
    world.reconcile()
    assert world.made == ["db-0"]
    world.reconcile()
    assert world.made == ["db-0"], "the next one waits until the first is ready"
    world.set_ready("db-0")
    world.reconcile()
    assert world.made == ["db-0", "db-1"]
    world.settle()
    world.set["spec"]["replicas"] = 0
    world.settle()
    assert world.ended == ["db-2", "db-1", "db-0"]


def test_parallel_pods_come_and_go_at_once() -> None:
    world = World(make_set(3, podManagementPolicy="Parallel"))
    world.reconcile()
    assert world.made == ["db-0", "db-1", "db-2"]
    world.set["spec"]["replicas"] = 1
    world.reconcile()
    assert sorted(world.ended) == ["db-1", "db-2"]


def test_a_pod_knows_its_place() -> None:
    world = World(make_set(1, ordinals={"start": 5}))
    world.settle()
    pod = world.pods["db-5"]
    assert pod["metadata"]["labels"] == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-5",
        "apps.kubernetes.io/pod-index": "5",
        "controller-revision-hash": world.set["status"]["updateRevision"],
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-5", "db")


def test_an_update_goes_from_the_last_to_the_first() -> None:
    world = World(make_set(3))
    world.settle()
    old = world.set["status"]["currentRevision"]
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
    world.settle()
    assert world.ended == ["db-2", "db-1", "db-0"]
    assert world.images == ["v2"] * 3
    status = world.set["status"]
    assert status["currentRevision"] == status["updateRevision"] != old
    assert (status["updatedReplicas"], status["currentReplicas"]) == (3, 3)


def test_below_the_partition_the_old_version_stays_and_comes_back() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    world = World(make_set(3, updateStrategy=strategy))
    world.settle()
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
    world.settle()
    assert world.images == ["v1", "v1", "v2"]
    del world.pods["db-0"]
    world.settle()
    assert world.images == ["v1", "v1", "v2"]
    assert world.set["status"]["currentRevision"] != world.set["status"]["updateRevision"]


def test_on_delete_updates_only_what_somebody_deletes() -> None:
    world = World(make_set(2, updateStrategy={"type": "OnDelete"}))
    world.settle()
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
    world.settle()
    assert world.images == ["v1", "v1"]
    del world.pods["db-1"]
    world.settle()
    assert world.images == ["v1", "v2"]


def test_an_old_template_gets_its_revision_back_under_a_new_number() -> None:
    world = World(make_set(1))
    world.settle()
    first = copy.deepcopy(world.set["spec"]["template"])
    name = world.set["status"]["currentRevision"]
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
    world.settle()
    world.set["spec"]["template"] = first
    world.settle()
    assert world.set["status"]["currentRevision"] == name
    assert sorted(each["revision"] for each in world.revisions.values()) == [2, 3]
    assert world.revisions[name]["data"] == data_of(first)


def test_history_is_kept_to_its_limit() -> None:
    world = World(make_set(1, revisionHistoryLimit=2))
    for version in range(6):
        world.set["spec"]["template"]["spec"]["containers"][0]["image"] = f"v{version}"
        world.settle()
    assert sorted(each["revision"] for each in world.revisions.values()) == [4, 5, 6]


def test_a_failed_pod_is_made_anew_in_its_place() -> None:
    world = World(make_set(2))
    world.settle()
    world.pods["db-0"]["status"] = {"phase": "Failed"}
    plan = world.reconcile()
    assert [pod["metadata"]["name"] for pod in plan.recreated] == ["db-0"]
    world.settle()
    assert world.made[-1] == "db-0"


def test_min_ready_seconds_hold_the_next_pod_back() -> None:
    world = World(make_set(2, minReadySeconds=60))
    world.reconcile()
    world.set_ready("db-0")
    plan = world.reconcile()
    assert plan.wake_after == pytest.approx(55)
    assert world.made == ["db-0"]


def volume_template() -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": "data"}, "spec": spec}


def test_claims_are_made_before_pods_and_stay_when_the_set_shrinks() -> None:
    world = World(make_set(2, volumeClaimTemplates=[volume_template()]))
    world.settle()
    assert sorted(world.claims) == ["data-db-0", "data-db-1"]
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}
    assert world.pods["db-1"]["spec"]["volumes"] == [volume]
    world.set["spec"]["replicas"] = 0
    world.settle()
    assert sorted(world.claims) == ["data-db-0", "data-db-1"]
    assert not any(claim["metadata"].get("ownerReferences") for claim in world.claims.values())


def test_claims_that_go_with_the_scale_are_owned_by_the_pod_that_goes() -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    templates = [volume_template()]
    world = World(make_set(2, volumeClaimTemplates=templates, persistentVolumeClaimRetentionPolicy=policy))
    world.settle()
    owners = {name: claim["metadata"]["ownerReferences"][0]["kind"] for name, claim in world.claims.items()}
    assert owners == {"data-db-0": "StatefulSet", "data-db-1": "StatefulSet"}
    world.set["spec"]["replicas"] = 1
    world.settle()
    owners = {name: claim["metadata"]["ownerReferences"][0]["kind"] for name, claim in world.claims.items()}
    assert owners == {"data-db-0": "StatefulSet", "data-db-1": "Pod"}
    world.set["spec"]["replicas"] = 2
    world.settle()
    assert "db-1" not in world.pods, "it waits until the old claim is gone"
    del world.claims["data-db-1"]
    world.settle()
    assert "db-1" in world.pods


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reconcile", "reconcile", "ready", "gone", "version", "scale", "fail"]), st.integers(0, 9)
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 3))
def test_order_is_kept_whatever_happens(steps: list[tuple[str, int]], partition: int) -> None:
    world = World(make_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}))
    for action, number in steps:
        names = sorted(world.pods)
        if action == "reconcile":
            plan = world.reconcile()
            assert len(plan.create) + len(plan.delete) <= 1, "one at a time"
            for pod in plan.create:
                ordinal = ordinal_of(world.set, pod) or 0
                before = [world.pods.get(f"db-{at}") for at in range(ordinal)]
                assert all(each is not None and each["status"]["phase"] == "Running" for each in before)
        elif action == "version":
            world.set["spec"]["template"]["spec"]["containers"][0]["image"] = f"v{number % 3}"
        elif action == "scale":
            world.set["spec"]["replicas"] = number % 5
        elif names and action == "ready":
            world.set_ready(names[number % len(names)])
        elif names and action == "fail":
            world.pods[names[number % len(names)]]["status"] = {"phase": "Failed"}
        elif names and action == "gone":
            name = names[number % len(names)]
            if "deletionTimestamp" in world.pods[name]["metadata"]:
                del world.pods[name]
    world.settle()
    wanted = world.set["spec"]["replicas"]
    assert sorted(world.pods) == [f"db-{at}" for at in range(wanted)]
    updated = world.set["status"]["updateRevision"]
    assert all(revision_of(world.pods[f"db-{at}"]) == updated for at in range(partition, wanted))
