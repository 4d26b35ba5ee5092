"""What a pod asks for must be left on the node (`plugins/noderesources/fit`)."""

from collections.abc import Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo, requests_of


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    allocatable = info.allocatable
    crowded = ["Too many pods"] if len(info.pods) + 1 > allocatable.get("pods", 110) else []
    return crowded + [
        f"Insufficient {name}"
        for name, wanted in requests_of(pod).items()
        if wanted and wanted > allocatable.get(name, 0) - info.requested.get(name, 0)
    ]
