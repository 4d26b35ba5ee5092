"""A node that is not ready takes no new pods."""

from collections.abc import Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    for entry in (info.node.get("status") or {}).get("conditions") or []:
        if entry["type"] == "Ready" and entry["status"] == "True":
            return ()
    return ("node(s) were not ready",)
