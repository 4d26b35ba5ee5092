"""`nodeSelector` and required node affinity (`plugins/nodeaffinity`)."""

from collections.abc import Sequence

from weft.api import placement
from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    fits = placement.selects(pod["spec"], info.node)
    return () if fits else ("node(s) didn't match Pod's node affinity/selector",)
