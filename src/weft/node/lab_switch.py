"""The switches of a lab: a bridge in each switch's namespace, with all of its links as ports.

In: a namespace and the interfaces that belong on its bridge. Out: the bridge, made anew where somebody removed it. The
controller lets no ring of switches through, so no spanning tree is needed. Ends with its namespace.
"""

from collections.abc import Iterable
from pathlib import Path

from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink

# No link's interface has an underscore (`topology.names`).
BRIDGE = "br_0"


def bridge_ports(namespace: Path, interfaces: Iterable[str]) -> int:
    """Makes all `interfaces` that there are ports of the namespace's bridge; returns how many changes it took."""
    with Netlink(namespace) as opened:
        links = opened.links()
        changes = 0
        if BRIDGE not in links:
            opened.request(rt.add_bridge(BRIDGE))
            links = opened.links()
            changes += 1
        bridge = links[BRIDGE]
        requests = [] if bridge.up else [rt.set_link(bridge.index, BRIDGE, up=True)]
        for name in interfaces:
            port = links.get(name)
            if port is not None and port.master != bridge.index:
                requests.append(rt.set_link(port.index, name, master=bridge.index))
        opened.request(*requests)
        return changes + len(requests)
