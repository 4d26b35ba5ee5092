"""What the kernel has in one namespace, as last read: links, addresses, routes and next-hop objects of Weft's.

In: dumps, and what we changed ourselves since. Out: for the data plane, what there is without asking again. A `Monitor`
says which part is no longer true; it is then read anew, and only that.
"""

from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path

from weft.core.errors import UnsupportedError
from weft.network.dataplane.linux import objects
from weft.network.dataplane.linux.state import Interface, Namespace
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.monitor import Part
from weft.network.southbound.netlink import Netlink
from weft.network.southbound.nexthops import Object
from weft.network.southbound.wire import Network

RouteKey = tuple[int, int, int, int]


@dataclass(slots=True)
class View:
    """One namespace. `done` is what was last made of its routes and by which links; None: not, or not fully."""

    name: str
    path: Path
    netlink: Netlink
    stale: Part = Part.ALL
    links: dict[str, rt.Link] = field(default_factory=dict)
    addresses: dict[int, set[Interface]] = field(default_factory=dict)
    routes: dict[RouteKey, rt.Route] = field(default_factory=dict)
    objects: dict[int, Object] | None = field(default_factory=dict)  # None: the kernel has no such thing
    foreign: set[int] = field(default_factory=set)  # ids of objects that are not ours
    assigned: dict[object, int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    done: tuple[Namespace, dict[str, int]] | None = None

    def heard(self, part: Part) -> None:
        """Something changed. Where there are no routes, none can have gone."""
        if part & Part.FEWER and (self.routes or self.objects):
            part |= Part.ROUTES
        self.stale |= part & Part.ALL

    def read_links(self) -> None:
        """Links, if they changed."""
        if self.stale & Part.LINKS:
            self.links = self.netlink.links()
            self.stale &= ~Part.LINKS

    def read_addresses(self) -> None:
        """Addresses, if they changed. Link-local IPv6 addresses are the kernel's own and not told."""
        if not self.stale & Part.ADDRESSES:
            return
        self.addresses = {}
        for each in self.netlink.addresses():
            if not (each.address.version == 6 and each.address.is_link_local):
                interface = ip_interface((each.address, each.prefix_length))
                self.addresses.setdefault(each.index, set()).add(interface)
        self.stale &= ~Part.ADDRESSES

    def read_routes(self) -> None:
        """Routes and next-hop objects of Weft's, if they changed."""
        if not self.stale & Part.ROUTES:
            return
        self.done = None
        self.routes = {
            key(route.destination, route.metric): route
            for route in self.netlink.routes()
            if route.protocol == rt.PROTOCOL
        }
        if self.objects is not None:
            try:
                present = self.netlink.objects()
            except UnsupportedError:
                self.objects = None
            else:
                self.objects = {id: each for id, each in present.items() if objects.ours(each)}
                self.foreign = present.keys() - self.objects.keys()
        self.stale &= ~Part.ROUTES


def key(destination: Network, metric: int) -> RouteKey:
    """What the kernel tells routes apart by, as numbers: to hash a network takes several times as long."""
    return destination.version, int(destination.network_address), destination.prefixlen, metric
