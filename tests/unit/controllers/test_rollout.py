"""Deployments as arithmetic: tables from Kubernetes' own rules, and properties over random worlds."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.controllers import deployment as deployments
from weft.controllers import rollout

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_deployment(replicas: int = 3, image: str = "v1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "d-uid", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "m", "image": image}]},
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


class World:
    """ReplicaSets and their pods, moved by plans and by chance."""

    def __init__(self) -> None:
        self.sets: dict[str, Object] = {}
        self.clock = 0

    def apply(self, deployment: Object, plan: deployments.Plan) -> bool:
        changed = False
        if plan.create is not None:
            made = plan.create
            self.clock += 1
            made["metadata"] |= {
                "uid": f"uid-{self.clock}",
                "creationTimestamp": f"2024-01-01T00:{self.clock // 60:02d}:{self.clock % 60:02d}Z",
                "generation": 1,
            }
            made["status"] = {"replicas": 0}
            self.sets[made["metadata"]["name"]] = made
            changed = True
        for each in plan.update:
            self.sets[each["metadata"]["name"]] = each
            changed = True
        for each in plan.delete:
            del self.sets[each["metadata"]["name"]]
            changed = True
        if plan.revision is not None:
            deployment["metadata"]["annotations"] = {rollout.REVISION: str(plan.revision)}
            changed = True
        if plan.status != deployment.get("status"):
            deployment["status"] = plan.status
            changed = True
        return changed

    def follow(self, name: str, ready: int) -> None:
        """The ReplicaSet controller and its pods: as many as wanted, `ready` of them available."""
        each = self.sets[name]
        wanted = each["spec"]["replicas"]
        ready = min(ready, wanted)
        each["status"] = {
            "replicas": wanted,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": each["metadata"]["generation"],
        }

    def settle(self, deployment: Object, limit: int = 400) -> int:
        """Until nothing changes any more with all pods becoming ready; the number of rounds."""
        for round_number in range(limit):
            plan = deployments.decide(deployment, list(self.sets.values()), [], NOW)
            changed = self.apply(deployment, plan)
            for name in list(self.sets):
                before = dict(self.sets[name].get("status") or {})
                self.follow(name, self.sets[name]["spec"]["replicas"])
                changed = changed or before != self.sets[name]["status"]
            if not changed:
                return round_number
        raise AssertionError("it never ends")

    def sizes(self) -> list[int]:
        return sorted(rollout.size(each) for each in self.sets.values())


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [("25%", 10, 3, 2), ("25%", 3, 1, 0), (1, 7, 1, 1), ("0%", 5, 0, 0), ("100%", 4, 4, 4), ("50%", 1, 1, 0)],
)
def test_percentages_round_as_kubernetes_does(value: Any, total: int, up: int, down: int) -> None:
    assert rollout.resolve(value, total, round_up=True) == up
    assert rollout.resolve(value, total, round_up=False) == down


def test_neither_surge_nor_unavailable_would_never_move() -> None:
    deployment = make_deployment(
        3, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}
    )
    assert rollout.surge_and_unavailable(deployment) == (0, 1)


def test_a_new_deployment_makes_one_replicaset_of_full_size() -> None:
    deployment, world = make_deployment(3), World()
    world.settle(deployment)
    (only,) = world.sets.values()
    assert rollout.size(only) == 3
    assert only["metadata"]["annotations"][rollout.REVISION] == "1"
    assert deployment["metadata"]["annotations"][rollout.REVISION] == "1"
    reasons = {entry["type"]: entry["reason"] for entry in deployment["status"]["conditions"]}
    assert reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    assert only["spec"]["selector"]["matchLabels"][rollout.HASH_LABEL] in only["metadata"]["name"]


def test_rolling_back_finds_the_old_replicaset_and_gives_it_a_new_revision() -> None:
    deployment, world = make_deployment(3), World()
    world.settle(deployment)
    first = next(iter(world.sets))
    old_template = deployment["spec"]["template"]
    deployment["spec"]["template"] = make_deployment(image="v2")["spec"]["template"]
    world.settle(deployment)
    assert world.sizes() == [0, 3]
    deployment["spec"]["template"] = old_template
    world.settle(deployment)
    assert len(world.sets) == 2
    assert rollout.size(world.sets[first]) == 3
    assert world.sets[first]["metadata"]["annotations"][rollout.REVISION] == "3"


def test_scaling_resizes_the_replicaset_without_a_rollout() -> None:
    deployment, world = make_deployment(3), World()
    world.settle(deployment)
    deployment["spec"]["replicas"] = 7
    world.settle(deployment)
    assert world.sizes() == [7]
    deployment["spec"]["replicas"] = 0
    world.settle(deployment)
    assert world.sizes() == [0]


def test_recreate_stops_all_before_it_starts_any() -> None:
    deployment, world = make_deployment(3, strategy={"type": "Recreate"}), World()
    world.settle(deployment)
    first = next(iter(world.sets.values()))
    deployment["spec"]["template"] = make_deployment(image="v2")["spec"]["template"]
    pod = {
        "metadata": {"ownerReferences": [{"uid": first["metadata"]["uid"], "controller": True, "kind": "ReplicaSet"}]}
    }
    for _ in range(4):
        plan = deployments.decide(deployment, list(world.sets.values()), [pod], NOW)
        world.apply(deployment, plan)
    assert world.sizes() == [0], "an old pod still runs, so that there is no new version yet"
    world.settle(deployment)
    assert world.sizes() == [0, 3]


def test_a_paused_deployment_makes_no_new_replicaset() -> None:
    deployment, world = make_deployment(2), World()
    world.settle(deployment)
    deployment["spec"]["paused"] = True
    deployment["spec"]["template"] = make_deployment(image="v2")["spec"]["template"]
    world.settle(deployment)
    assert len(world.sets) == 1


def test_history_is_kept_to_its_limit() -> None:
    deployment, world = make_deployment(1, revisionHistoryLimit=2), World()
    for version in range(6):
        deployment["spec"]["template"] = make_deployment(image=f"v{version}")["spec"]["template"]
        world.settle(deployment)
    assert len(world.sets) == 3


def test_no_progress_passes_the_deadline() -> None:
    deployment, world = make_deployment(1), World()
    world.apply(deployment, deployments.decide(deployment, [], [], NOW))
    name = next(iter(world.sets))
    world.follow(name, 0)
    for _ in range(3):
        world.apply(deployment, deployments.decide(deployment, list(world.sets.values()), [], NOW))
    plan = deployments.decide(deployment, list(world.sets.values()), [], NOW + 601)
    assert plan.status is not None
    reasons = {entry["type"]: (entry["status"], entry["reason"]) for entry in plan.status["conditions"]}
    assert reasons["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_the_hash_ignores_order_and_changes_with_content() -> None:
    template = make_deployment()["spec"]["template"]
    again = dict(reversed(list(template.items())))
    assert rollout.template_hash(template) == rollout.template_hash(again)
    assert rollout.template_hash(template) != rollout.template_hash(template, 1)
    assert rollout.template_hash(template) != rollout.template_hash(make_deployment(image="v2")["spec"]["template"])


@settings(max_examples=80, deadline=None)
@given(
    replicas=st.integers(1, 12),
    surge=st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"])),
    unavailable=st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"])),
    chances=st.lists(st.integers(0, 3), min_size=1, max_size=60),
)
def test_a_rollout_keeps_within_its_bounds_and_ends(
    replicas: int, surge: Any, unavailable: Any, chances: list[int]
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    deployment, world = make_deployment(replicas, strategy=strategy), World()
    world.settle(deployment)
    most, fewest = rollout.surge_and_unavailable(deployment)
    deployment["spec"]["template"] = make_deployment(image="v2")["spec"]["template"]
    deployment["metadata"]["generation"] += 1
    ready = {name: rollout.size(each) for name, each in world.sets.items()}
    for chance in chances:
        plan = deployments.decide(deployment, list(world.sets.values()), [], NOW)
        world.apply(deployment, plan)
        assert sum(world.sizes()) <= replicas + most
        for name, each in world.sets.items():
            ready[name] = min(ready.get(name, 0), rollout.size(each))
        assert sum(ready.values()) >= replicas - fewest
        for name, each in world.sets.items():
            ready[name] = min(rollout.size(each), ready[name] + chance)
            world.follow(name, ready[name])
    world.settle(deployment)
    assert world.sizes()[-1] == replicas
    assert sum(world.sizes()) == replicas
