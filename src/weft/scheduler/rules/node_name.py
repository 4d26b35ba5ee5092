"""A pod that names its node goes nowhere else (`plugins/nodename`)."""

from collections.abc import Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    wanted = pod["spec"].get("nodeName")
    return ("node(s) didn't match the requested node name",) if wanted and wanted != info.name else ()
