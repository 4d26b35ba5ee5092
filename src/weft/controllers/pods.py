"""What controllers ask of a pod: whether it is active, ready, available, and which of several to delete first."""

import math
from typing import Any

from weft.client.base import Object
from weft.core.clock import parse_rfc3339


def is_active(pod: Object) -> bool:
    """It counts as a replica: neither finished nor on its way out."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def condition(obj: Object, kind: str) -> Object | None:
    for entry in obj.get("status", {}).get("conditions") or []:
        if entry["type"] == kind:
            found: Object = entry
            return found
    return None


def is_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def available_in(pod: Object, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the pod is available: 0 if it is, None if it is not even ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if min_ready_seconds == 0:
        return 0.0
    since = parse_rfc3339(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else now
    return max(0.0, since + min_ready_seconds - now)


def deletion_rank(pod: Object, same_node: int) -> tuple[Any, ...]:
    """Sorts the pods to delete first to the front, as Kubernetes ranks them (`ActivePodsWithRanks`).

    Unassigned before assigned, pending before running, not ready before ready, lower deletion cost, more replicas on
    the same node, ready for a shorter time, more restarts, younger.
    """
    status = pod.get("status", {})
    phase = {"Pending": 0, "Unknown": 1}.get(status.get("phase", "Pending"), 2)
    ready = is_ready(pod)
    restarts = max((each.get("restartCount", 0) for each in status.get("containerStatuses") or []), default=0)
    created = parse_rfc3339(pod["metadata"].get("creationTimestamp") or "1970-01-01T00:00:00Z")
    return (
        bool(pod.get("spec", {}).get("nodeName")),
        phase,
        ready,
        _deletion_cost(pod),
        -same_node,
        -_ready_since(pod) if ready else 0.0,
        -restarts,
        -created,
    )


def _ready_since(pod: Object) -> float:
    """A pod that does not say since when counts as ready just now."""
    ready = condition(pod, "Ready")
    stamp = ready.get("lastTransitionTime") if ready is not None else None
    return parse_rfc3339(stamp) if stamp else math.inf


def _deletion_cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
    try:
        return int(text)
    except ValueError:  # a mistake in an annotation must not stop the controller
        return 0
