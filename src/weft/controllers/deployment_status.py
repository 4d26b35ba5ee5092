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
    wanted = rollout.desired(deployment)
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
    if new is not None and (failure := condition(new, "ReplicaFailure")) is not None:
        conditions.append(
            _condition(deployment, "ReplicaFailure", True, failure["reason"], failure.get("message", ""), now)
        )
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


def is_complete(deployment: Object, status: Object) -> bool:
    """All pods are of the new template and available, and no others are left."""
    wanted = rollout.desired(deployment)
    return all(status.get(name, 0) == wanted for name in ("updatedReplicas", "replicas", "availableReplicas"))


def _progressing(
    deployment: Object, new: Object | None, status: Object, now: float
) -> tuple[Object | None, float | None]:
    """The condition Progressing, and in how many seconds the deadline passes."""
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    if deadline is None:
        return None, None
    present = condition(deployment, "Progressing")
    reason = present["reason"] if present is not None else ""
    if deployment["spec"].get("paused"):
        message = "Deployment is paused"
        return _condition(deployment, "Progressing", None, "DeploymentPaused", message, now), None
    if reason == "DeploymentPaused":
        message = "Deployment is resumed"
        return _condition(deployment, "Progressing", None, "DeploymentResumed", message, now), float(deadline)
    if new is None:
        message = f'Created new replica set "{rollout.replicaset_name(deployment)}"'
        return _condition(deployment, "Progressing", True, "NewReplicaSetCreated", message, now), float(deadline)
    name = new["metadata"]["name"]
    if is_complete(deployment, status):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(deployment, "Progressing", True, "NewReplicaSetAvailable", message, now), None
    was_complete = reason == "NewReplicaSetAvailable"
    if was_complete and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        # Pods of a finished rollout became unavailable, or it was scaled: that is no new rollout.
        return present, None
    if present is None or was_complete or _has_moved(deployment.get("status", {}), status):
        message = f'ReplicaSet "{name}" is progressing.'
        entry = _condition(deployment, "Progressing", True, "ReplicaSetUpdated", message, now, moved=True)
        return entry, float(deadline)
    left = parse_rfc3339(present["lastUpdateTime"]) + deadline - now
    if left > 0:
        return present, left
    message = f'ReplicaSet "{name}" has timed out progressing.'
    return _condition(deployment, "Progressing", False, "ProgressDeadlineExceeded", message, now), None


def _has_moved(before: Object, status: Object) -> bool:
    """More pods of the new template, fewer of old ones, or more that work."""

    def old_ones(counts: Object) -> int:
        return int(counts.get("replicas", 0)) - int(counts.get("updatedReplicas", 0))

    return old_ones(status) < old_ones(before) or any(
        status.get(name, 0) > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
