"""The Linux data plane: every node a network namespace, every link a veth pair, every route a kernel route."""

from weft.network.dataplane.linux.dataplane import LinuxDataplane
from weft.network.dataplane.linux.state import (
    DataLink,
    End,
    Hop,
    Namespace,
    NetworkState,
    NodeRoute,
    Report,
)

__all__ = ["DataLink", "End", "Hop", "LinuxDataplane", "Namespace", "NetworkState", "NodeRoute", "Report"]
