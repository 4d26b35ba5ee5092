"""What Deployments say of themselves, and what they hand down: tables of situations. `kubectl rollout` reads these."""

from typing import Any

import pytest

from weft.controllers import deployment as deployments
from weft.controllers import endpointslice, rollout
from weft.controllers.claims import claim
from weft.controllers.deployment_status import status_of
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}


def make_deployment(replicas: int = 4, reason: str = "", age: float = 0, counts: Any = None, **spec: Any) -> Object:
    """`reason` is that of the present condition Progressing, `age` how long ago it was written."""
    conditions = []
    if reason:
        status = {"DeploymentPaused": "Unknown", "ProgressDeadlineExceeded": "False"}.get(reason, "True")
        stamp = rfc3339(NOW - age)
        conditions = [
            {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": stamp}
            | {"lastTransitionTime": stamp, "message": "before"}
        ]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "m", "image": "v1"}]}}
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 7},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "strategy": ROLLING,
            "progressDeadlineSeconds": 600,
            **spec,
        },
        "status": {"observedGeneration": 6, "conditions": conditions, **(counts or {})},
    }


def make_set(name: str, replicas: int, available: int | None = None, **metadata: Any) -> Object:
    status = {"replicas": replicas, "readyReplicas": available, "availableReplicas": available}
    if available is None:
        status = {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1, **metadata},
        "spec": {"replicas": replicas, "template": make_deployment()["spec"]["template"]},
        "status": {**status, "observedGeneration": 1},
    }


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


@pytest.mark.parametrize(
    ("deployment", "new", "old", "progressing", "wake"),
    [
        # A rollout begins, moves, stands still, ends.
        (make_deployment(), None, [], ("True", "NewReplicaSetCreated"), 600),
        (make_deployment(reason="NewReplicaSetCreated"), make_set("n", 1, 0), [], ("True", "ReplicaSetUpdated"), 600),
        (
            make_deployment(reason="ReplicaSetUpdated", age=500, counts={"updatedReplicas": 1, "replicas": 1}),
            make_set("n", 1, 0),
            [],
            ("True", "ReplicaSetUpdated"),
            100,
        ),
        (
            make_deployment(reason="ReplicaSetUpdated", age=601, counts={"updatedReplicas": 1, "replicas": 1}),
            make_set("n", 1, 0),
            [],
            ("False", "ProgressDeadlineExceeded"),
            None,
        ),
        (make_deployment(reason="ReplicaSetUpdated"), make_set("n", 4), [], ("True", "NewReplicaSetAvailable"), None),
        # Too late is not too late for good.
        (
            make_deployment(reason="ProgressDeadlineExceeded", age=700, counts={"updatedReplicas": 1, "replicas": 1}),
            make_set("n", 1, 1),
            [],
            ("True", "ReplicaSetUpdated"),
            600,
        ),
        # Finished ones stay so when a pod fails or they are scaled, and begin anew with another template.
        (
            make_deployment(reason="NewReplicaSetAvailable", age=9999),
            make_set("n", 4, 2),
            [],
            ("True", "NewReplicaSetAvailable"),
            None,
        ),
        (
            make_deployment(6, reason="NewReplicaSetAvailable", age=9999),
            make_set("n", 4),
            [],
            ("True", "NewReplicaSetAvailable"),
            None,
        ),
        (
            make_deployment(reason="NewReplicaSetAvailable", age=9999),
            make_set("n", 0),
            [make_set("o", 4)],
            ("True", "ReplicaSetUpdated"),
            600,
        ),
        # Paused and resumed.
        (make_deployment(paused=True), make_set("n", 4), [], ("Unknown", "DeploymentPaused"), None),
        (
            make_deployment(reason="DeploymentPaused", age=9999),
            make_set("n", 1),
            [],
            ("Unknown", "DeploymentResumed"),
            600,
        ),
        (make_deployment(progressDeadlineSeconds=None), make_set("n", 1), [], None, None),
    ],
)
def test_progressing(
    deployment: Object, new: Object | None, old: list[Object], progressing: Any, wake: float | None
) -> None:
    status, wake_after = status_of(deployment, new, [*old, *([new] if new else [])], NOW)
    assert conditions(status).get("Progressing") == progressing
    assert wake_after == wake
    assert status["observedGeneration"] == 7


@pytest.mark.parametrize(
    ("strategy", "available", "holds"),
    [(ROLLING, 4, "True"), (ROLLING, 3, "True"), (ROLLING, 2, "False"), ({"type": "Recreate"}, 3, "False")],
)
def test_available(strategy: Object, available: int, holds: str) -> None:
    status, _ = status_of(
        make_deployment(strategy=strategy), make_set("n", 4, available), [make_set("n", 4, available)], NOW
    )
    assert conditions(status)["Available"][0] == holds
    assert status.get("unavailableReplicas", 0) == 4 - available


def test_times_move_only_with_what_they_tell() -> None:
    deployment = make_deployment(reason="ReplicaSetUpdated", age=100)
    status, _ = status_of(deployment, make_set("n", 4), [make_set("n", 4)], NOW)
    entry = next(each for each in status["conditions"] if each["type"] == "Progressing")
    assert (entry["lastUpdateTime"], entry["lastTransitionTime"]) == (rfc3339(NOW), rfc3339(NOW - 100))
    again, _ = status_of({**deployment, "status": status}, make_set("n", 4), [make_set("n", 4)], NOW + 50)
    assert again == status


def test_why_pods_cannot_be_made_is_handed_up() -> None:
    failing = make_set("n", 4, 0)
    failing["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no quota"}
    ]
    status, _ = status_of(make_deployment(), failing, [failing], NOW)
    assert conditions(status)["ReplicaFailure"] == ("True", "FailedCreate")


def test_annotations_are_handed_down_but_for_the_deployments_own() -> None:
    deployment = make_deployment()
    deployment["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "because",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        rollout.REVISION: "8",
    }
    made = deployments.decide(deployment, [], [], NOW).create
    assert made is not None
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/change-cause": "because",
        rollout.REVISION: "1",
        rollout.DESIRED: "4",
        rollout.MAXIMUM: "5",
    }
    digest = made["metadata"]["labels"][rollout.HASH_LABEL]
    assert made["metadata"]["name"] == f"web-{digest}"
    assert made["spec"]["selector"]["matchLabels"] == {"app": "web", rollout.HASH_LABEL: digest}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "web", rollout.HASH_LABEL: digest}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "Deployment", "d", True, True,
    )  # fmt: skip


def test_history_is_not_cut_before_the_rollout_is_done() -> None:
    deployment = make_deployment(4, revisionHistoryLimit=0)
    past = make_set("o", 0)
    past["spec"]["template"] = {"metadata": {}, "spec": {"containers": [{"name": "m", "image": "v0"}]}}
    assert not deployments.decide(deployment, [past, make_set("n", 4, 3)], [], NOW).delete
    plan = deployments.decide(deployment, [past, make_set("n", 4)], [], NOW)
    assert [each["metadata"]["name"] for each in plan.delete] == ["o"]


def test_claims_sort_own_orphaned_and_foreign() -> None:
    owner: Object = {"metadata": {"uid": "me"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}

    def child(name: str, app: str, controller: str = "", **metadata: Any) -> Object:
        references = [{"uid": controller, "controller": True}] if controller else []
        return {"metadata": {"name": name, "labels": {"app": app}, "ownerReferences": references, **metadata}}

    candidates = [
        child("mine", "web", "me"),
        child("lost", "other", "me"),
        child("orphan", "web"),
        child("dying", "web", deletionTimestamp="now"),
        child("stranger", "other"),
        child("foreign", "web", "another"),
    ]
    claims = claim(owner, candidates)
    found = [[each["metadata"]["name"] for each in part] for part in (claims.mine, claims.adopt, claims.release)]
    assert found == [["mine"], ["orphan"], ["lost"]]
    owner["metadata"]["deletionTimestamp"] = "now"
    claims = claim(owner, candidates)
    assert (len(claims.mine), claims.adopt, claims.release) == (1, (), ())


def test_many_endpoints_are_cut_into_slices_and_headless_services_say_so() -> None:
    service = {
        "metadata": {"name": "web", "namespace": "default", "uid": "s"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "None"},
    }
    pods = [
        {
            "metadata": {"name": f"p{number:03d}", "namespace": "default", "uid": f"u{number}"},
            "spec": {"hostname": f"h{number}", "subdomain": "web" if number else "other"},
            "status": {"podIP": f"10.0.{number // 250}.{number % 250}", "phase": "Running"},
        }
        for number in range(230)
    ]
    slices, endpoints = endpointslice.decide(service, pods)
    assert [len(each["endpoints"]) for each in slices] == [100, 100, 30]
    assert [each["metadata"]["name"] for each in slices] == ["web-0", "web-1", "web-2"]
    assert "hostname" not in slices[0]["endpoints"][0]
    assert slices[0]["endpoints"][1]["hostname"] == "h1"
    assert all("service.kubernetes.io/headless" in each["metadata"]["labels"] for each in [*slices, endpoints])
    assert "ports" not in endpoints["subsets"][0]
    assert len(endpoints["subsets"][0]["notReadyAddresses"]) == 230
