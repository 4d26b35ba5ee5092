"""The OpenFlow data plane: switches that hold what a pure decision says, such as a private Open vSwitch."""

from weft.network.dataplane.openflow.dataplane import OpenFlowDataplane, Report
from weft.network.dataplane.openflow.fabric import End, Fabric, decide
from weft.network.dataplane.openflow.learning import FabricController
from weft.network.dataplane.openflow.ovs import Bridge, OpenVSwitch
from weft.network.dataplane.openflow.state import DatapathState, Flow, Group, Owner

__all__ = [
    "Bridge", "DatapathState", "End", "Fabric", "FabricController", "Flow", "Group", "OpenFlowDataplane", "OpenVSwitch",
    "Owner", "Report", "decide",
]  # fmt: skip
