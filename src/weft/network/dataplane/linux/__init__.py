"""The Linux data plane: every node a network namespace, every link a veth pair, every route a kernel route."""

from weft.network.dataplane.linux.dataplane import LinuxDataplane
from weft.network.dataplane.linux.reroute import FastReroute
from weft.network.dataplane.linux.state import (
    DataLink,
    End,
    Hop,
    LocalSegment,
    Namespace,
    NetworkState,
    NodeRoute,
    Report,
)
from weft.network.southbound.segments import Action

__all__ = [
    "Action",
    "DataLink",
    "End",
    "FastReroute",
    "Hop",
    "LinuxDataplane",
    "LocalSegment",
    "Namespace",
    "NetworkState",
    "NodeRoute",
    "Report",
]
