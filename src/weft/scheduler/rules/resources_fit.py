"""What a pod asks for must be left on the node (`plugins/noderesources/fit`)."""

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo, requests_of


def filter(pod: Object, info: NodeInfo) -> str | None:
    allocatable = info.allocatable
    if len(info.pods) + 1 > allocatable.get("pods", 110):
        return "Too many pods"
    for name, wanted in requests_of(pod).items():
        if wanted and wanted > allocatable.get(name, 0) - info.requested.get(name, 0):
            return f"Insufficient {name}"
    return None
