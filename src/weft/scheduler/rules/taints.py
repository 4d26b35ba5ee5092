"""Taints keep pods off a node that do not tolerate them (`plugins/tainttoleration`)."""

from collections.abc import Sequence

from weft.api import placement
from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    taint = placement.untolerated(pod["spec"], info.node, ("NoSchedule", "NoExecute"))
    if taint is None:
        return ()
    return (f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}",)
