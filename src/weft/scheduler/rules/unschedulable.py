"""A cordoned node takes no new pods (`pkg/scheduler/framework/plugins/nodeunschedulable`)."""

from weft.client.base import Object
from weft.scheduler.rules.taints import tolerated
from weft.scheduler.snapshot import NodeInfo

_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def filter(pod: Object, info: NodeInfo) -> str | None:
    if info.node["spec"].get("unschedulable") and not tolerated(pod, _TAINT):
        return "node(s) were unschedulable"
    return None
