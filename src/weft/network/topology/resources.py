"""The kinds of group net.weft.dev as they stand in the API: collections, labels, names of objects, definitions.

A lab's objects are named `<node or link>.<lab>`; neither part has a dot, so that names of two labs never meet.
"""

from pathlib import Path
from typing import Any

from weft.api.gvr import GVR, HOSTS, LINKS, NETWORK_GROUP, ROUTERS, ROUTETABLES

SWITCHES = GVR(NETWORK_GROUP, "v1", "switches")
ROUTING_POLICIES = GVR(NETWORK_GROUP, "v1", "routingpolicies")
BGP_PEERS = GVR(NETWORK_GROUP, "v1", "bgppeers")
BGP_ADVERTISEMENTS = GVR(NETWORK_GROUP, "v1", "bgpadvertisements")
API_VERSION = f"{NETWORK_GROUP}/v1"
LAB_LABEL = f"{NETWORK_GROUP}/topology"
# On a Topology: its objects are still there. On a node: its namespace is.
LAB_FINALIZER = f"{NETWORK_GROUP}/lab"
NODE_FINALIZER = f"{NETWORK_GROUP}/namespace"
# What a Topology expands into, and the order in which a user wants to see it.
PARTS: dict[str, GVR] = {
    "Router": ROUTERS,
    "Switch": SWITCHES,
    "Host": HOSTS,
    "Link": LINKS,
    "RouteTable": ROUTETABLES,
}
NODE_KINDS = ("Router", "Switch", "Host")


def object_name(part: str, lab: str) -> str:
    return f"{part}.{lab}"


def crds() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions, one YAML file each; any Kubernetes takes them."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = sorted((Path(__file__).parent / "crds").glob("*.yaml"))
    return [yaml.load(file.read_bytes(), Loader=loader) for file in files]
