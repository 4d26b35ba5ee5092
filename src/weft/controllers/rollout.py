"""How a Deployment moves from its old ReplicaSets to the new one: pure arithmetic on sizes.

Source: Kubernetes `pkg/controller/deployment/rolling.go`, `sync.go` and `util/deployment_util.go`.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from weft.client.base import Object

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object, collision_count: int = 0) -> str:
    """A stable name for a pod template: ten letters without vowels, as Kubernetes' hashes look."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":")) + (
        str(collision_count) if collision_count else ""
    )
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def present_hash(deployment: Object) -> str:
    """The hash label of the Deployment's present template."""
    return template_hash(deployment["spec"]["template"], deployment.get("status", {}).get("collisionCount", 0))


def replicaset_name(deployment: Object) -> str:
    return f"{deployment['metadata']['name']}-{present_hash(deployment)}"


def same_template(first: Object, second: Object) -> bool:
    """Whether two pod templates are the same but for the hash label."""
    return _without_hash(first) == _without_hash(second)


def _without_hash(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {key: value for key, value in metadata.items() if value}}


def resolve(value: Any, total: int, *, round_up: bool) -> int:
    """An IntOrString against `total`: "25%" of 10 is 3 rounded up, 2 rounded down."""
    if isinstance(value, str):
        share = int(value.rstrip("%")) * total / 100
        return math.ceil(share) if round_up else math.floor(share)
    return int(value)


def desired(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def is_recreate(deployment: Object) -> bool:
    return bool(deployment["spec"].get("strategy", {}).get("type") == "Recreate")


def surge_and_unavailable(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers; both zero would never move, so then one may be unavailable."""
    if is_recreate(deployment):
        return 0, 0
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate") or {}
    wanted = desired(deployment)
    surge = resolve(rolling.get("maxSurge", "25%"), wanted, round_up=True)
    unavailable = resolve(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def size(replicaset: Object) -> int:
    return int(replicaset["spec"].get("replicas", 1))


def available(replicaset: Object) -> int:
    return int(replicaset.get("status", {}).get("availableReplicas", 0))


def _kept(replicaset: Object) -> int:
    """The available pods that it keeps: a status may still count some that its new size has already given up."""
    return min(available(replicaset), size(replicaset))


def _is_stale(replicaset: Object) -> bool:
    """Its controller has not said yet what became of its present specification."""
    status = replicaset.get("status") or {}
    return int(status.get("observedGeneration", 0)) < int(replicaset["metadata"].get("generation", 0))


def rolling_sizes(deployment: Object, new: Object, old: Sequence[Object]) -> dict[str, int]:
    """The next size of each ReplicaSet, by name, of a rolling update; `old` from the oldest to the youngest."""
    wanted = desired(deployment)
    surge, unavailable = surge_and_unavailable(deployment)
    sizes = {each["metadata"]["name"]: size(each) for each in [new, *old]}
    name = new["metadata"]["name"]
    if size(new) > wanted:
        return sizes | {name: wanted}
    room = wanted + surge - sum(sizes.values())
    if size(new) < wanted and room > 0:
        return sizes | {name: min(size(new) + room, wanted)}
    if _is_stale(new):
        return sizes  # it may have been shrunk and grown again, and its status still counts pods from before that
    return sizes | _shrink_old(new, old, wanted - unavailable)


def _shrink_old(new: Object, old: Sequence[Object], min_available: int) -> dict[str, int]:
    """First those that do not work anyway, then available ones as far as `min_available` allows."""
    sizes = {each["metadata"]["name"]: size(each) for each in old}
    may_go = size(new) + sum(sizes.values()) - min_available - (size(new) - _kept(new))
    for each in old:
        broken = min(size(each) - _kept(each), may_go)
        if broken > 0:
            sizes[each["metadata"]["name"]] -= broken
            may_go -= broken
    # What was shrunk so far was not available: the rest still is.
    may_go = sum(_kept(each) for each in [new, *old]) - min_available
    for each in old:
        step = min(sizes[each["metadata"]["name"]], may_go)
        if step > 0:
            sizes[each["metadata"]["name"]] -= step
            may_go -= step
    return sizes


def proportional_sizes(deployment: Object, sets: Sequence[Object]) -> dict[str, int]:
    """Sizes when the Deployment was scaled in the middle of a rollout: each set in its proportion."""
    wanted = desired(deployment)
    surge, _ = surge_and_unavailable(deployment)
    allowed = wanted + surge if wanted > 0 else 0
    total = sum(size(each) for each in sets)
    left = allowed - total
    sizes = {each["metadata"]["name"]: size(each) for each in sets}
    # Larger sets first; of equal ones the newer first when growing, the older first when shrinking.
    growing = left > 0
    ordered = sorted(sets, key=lambda each: each["metadata"].get("creationTimestamp") or "", reverse=growing)
    ordered.sort(key=size, reverse=True)
    for each in ordered:
        if left == 0:
            break
        before = _annotated_maximum(each) or int(deployment.get("status", {}).get("replicas", 0)) or total
        share = math.floor(size(each) * allowed / before + 0.5) - size(each)
        share = max(0, min(share, left)) if growing else min(0, max(share, left))
        sizes[each["metadata"]["name"]] += share
        left -= share
    if left and ordered:
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + left)
    return sizes


def _annotated_maximum(replicaset: Object) -> int:
    """How many pods there could be in all when this set was last sized."""
    text = (replicaset["metadata"].get("annotations") or {}).get(MAXIMUM, "")
    return int(text) if text.isdigit() else 0
