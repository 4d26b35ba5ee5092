"""What a Deployment says of itself: counts, and the conditions Available and Progressing.

Source: Kubernetes `pkg/controller/deployment/progress.go` and `sync.go`; `kubectl rollout status` reads these.
"""

from collections.abc import Sequence

from weft.client.base import Object
from weft.controllers import rollout
from weft.controllers.pods import condition
from weft.core.clock import parse_rfc3339, rfc3339


def status_of(
    deployment: Object, new: Object | None, replicasets: Sequence[Object], now: float
) -> tuple[Object, float | None]:
    """The status, and in how many seconds the progress deadline passes if nothing changes."""
    wanted = int(deployment["spec"].get("replicas", 1))
    total = sum(each.get("status", {}).get("replicas", 0) for each in replicasets)
    available = sum(rollout.available(each) for each in replicasets)
    unavailable = max(0, sum(rollout.size(each) for each in replicasets) - available)
    counts = {
        "replicas": total,
        "updatedReplicas": new.get("status", {}).get("replicas", 0) if new else 0,
        "readyReplicas": sum(each.get("status", {}).get("readyReplicas", 0) for each in replicasets),
        "availableReplicas": available,
        "unavailableReplicas": unavailable,
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {key: value for key, value in counts.items() if value}
    if collisions := deployment.get("status", {}).get("collisionCount"):
        status["collisionCount"] = collisions
    _, max_unavailable = rollout.surge_and_unavailable(deployment)
    enough = available >= wanted - max_unavailable
    conditions = [
        _condition(
            deployment, "Available", enough,
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.", now,
        )
    ]  # fmt: skip
    progressing, wake_after = _progressing(deployment, new, status, now)
    if progressing is not None:
        conditions.append(progressing)
    status["conditions"] = conditions
    return status, wake_after


def _condition(
    deployment: Object, kind: str, holds: bool | None, reason: str, message: str, now: float, moved: bool = False
) -> Object:
    """A condition; its times move only when it changes (`lastUpdateTime` also with progress)."""
    present = condition(deployment, kind)
    state = "Unknown" if holds is None else str(holds)
    stamp = rfc3339(now)
    if present is not None and present["status"] == state:
        since = present["lastTransitionTime"]
        if present["reason"] == reason and not moved:
            return {**present, "message": message}
    else:
        since = stamp
    return {
        "type": kind,
        "status": state,
        "reason": reason,
        "message": message,
        "lastUpdateTime": stamp,
        "lastTransitionTime": since,
    }


def _progressing(
    deployment: Object, new: Object | None, status: Object, now: float
) -> tuple[Object | None, float | None]:
    wanted = int(deployment["spec"].get("replicas", 1))
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    if deadline is None:
        return None, None
    before = deployment.get("status", {})
    present = condition(deployment, "Progressing")
    name = new["metadata"]["name"] if new else ""
    if deployment["spec"].get("paused"):
        message = "Deployment is paused"
        return _condition(deployment, "Progressing", None, "DeploymentPaused", message, now), None
    updated = status.get("updatedReplicas", 0)
    observed = before.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    complete = (
        new is not None
        and updated == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )
    if complete:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(deployment, "Progressing", True, "NewReplicaSetAvailable", message, now), None
    was_complete = present is not None and present["reason"] == "NewReplicaSetAvailable"
    if was_complete and observed and updated == wanted and status.get("replicas", 0) == wanted:
        # A pod of a finished rollout became unavailable: that is no new rollout.
        return present, None
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    old_now = status.get("replicas", 0) - updated
    moved = (
        updated > before.get("updatedReplicas", 0)
        or old_now < old_before
        or status.get("readyReplicas", 0) > before.get("readyReplicas", 0)
        or status.get("availableReplicas", 0) > before.get("availableReplicas", 0)
        or not observed
    )
    if new is None:
        message = "Created new replica set"
        return _condition(deployment, "Progressing", True, "NewReplicaSetCreated", message, now), float(deadline)
    if moved or present is None or was_complete:
        message = f'ReplicaSet "{name}" is progressing.'
        entry = _condition(deployment, "Progressing", True, "ReplicaSetUpdated", message, now, moved=True)
        return entry, float(deadline)
    left = parse_rfc3339(present["lastUpdateTime"]) + deadline - now
    if left > 0:
        return present, left
    message = f'ReplicaSet "{name}" has timed out progressing.'
    return _condition(deployment, "Progressing", False, "ProgressDeadlineExceeded", message, now), None
