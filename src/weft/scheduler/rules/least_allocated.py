"""Prefers the node with the larger free share of CPU and memory (`plugins/noderesources`, LeastAllocated)."""

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo, requests_of


def score(pod: Object, info: NodeInfo) -> float:
    allocatable, wanted = info.allocatable, requests_of(pod)
    shares = []
    for name in ("cpu", "memory"):
        whole = allocatable.get(name, 0)
        free = whole - info.requested.get(name, 0) - wanted.get(name, 0)
        shares.append(100.0 * max(0, free) / whole if whole else 0.0)
    return sum(shares) / len(shares)
