"""Prefers the node with fewer pods of the same controller (after `plugins/podtopologyspread`, system defaults)."""

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def score(pod: Object, info: NodeInfo) -> float:
    owners = {each["uid"] for each in pod["metadata"].get("ownerReferences") or [] if each.get("controller")}
    if not owners:
        return 100.0
    same = sum(
        any(each["uid"] in owners for each in other["metadata"].get("ownerReferences") or [])
        for other in info.pods.values()
    )
    return 100.0 / (1 + same)
