"""A cordoned node takes no new pods (`pkg/scheduler/framework/plugins/nodeunschedulable`)."""

from collections.abc import Sequence

from weft.api.placement import tolerates
from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo

_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    if (info.node.get("spec") or {}).get("unschedulable") and not tolerates(pod["spec"], _TAINT):
        return ("node(s) were unschedulable",)
    return ()
