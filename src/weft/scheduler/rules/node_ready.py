"""A node that is not ready takes no new pods."""

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> str | None:
    for entry in (info.node.get("status") or {}).get("conditions") or []:
        if entry["type"] == "Ready" and entry["status"] == "True":
            return None
    return "node(s) were not ready"
