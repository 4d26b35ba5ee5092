"""The kernel's side of a router: interfaces as protocols see them, and the routes that they have found.

In: a namespace's netlink socket. Out: `Interface` values; kernel routes that agree with what was asked for. Routes
bear their protocol's own number (rtnetlink(7), iproute2's rt_protos): `ip route` names it, others' are not touched.
"""

from ipaddress import IPv4Interface, ip_interface

from weft.core.errors import NotFoundError, WeftError
from weft.network.routing.protocol import Interface, Prefix
from weft.network.routing.rib.routes import Route, Source
from weft.network.southbound import routes as kernel
from weft.network.southbound.netlink import Netlink

# RTPROT_BGP, _OSPF and _RIP; for static routes one of our own, so that those that users add by hand are not ours.
NUMBERS: dict[Source, int] = {"bgp": 186, "ospf": 188, "rip": 189, "static": 208}


def read_interfaces(opened: Netlink) -> dict[int, Interface]:
    """Those with an IPv4 address, by index; of several the first, and none of 127/8."""
    found: dict[int, Interface] = {}
    links = {link.index: link for link in opened.links().values()}
    for each in opened.addresses():
        link = links.get(each.index)
        if link is None or each.address.version != 4 or each.address.is_loopback or each.index in found:
            continue
        address = ip_interface(f"{each.address}/{each.prefix_length}")
        assert isinstance(address, IPv4Interface)
        up = link.up and (link.operational or link.name == "lo")
        found[each.index] = Interface(link.name, address, link.mtu, up)
    return found


class Fib:
    """The routes of one namespace. What an earlier process left stays until `sweep`, so that packets flow meanwhile."""

    def __init__(self, opened: Netlink) -> None:
        self._netlink = opened
        ours = set(NUMBERS.values())
        self._installed = {route.destination: route for route in opened.routes() if route.protocol in ours}
        self._stale = set(self._installed)
        self._wanted: dict[Prefix, Route] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def change(self, routes: list[Route], removed: list[Prefix], indices: dict[str, int]) -> list[WeftError]:
        """Installs and removes in one batch; what the kernel refused (an interface that has just gone, say)."""
        requests = []
        made_by: dict[int, kernel.Route] = {}  # by the place of its request
        for route in routes:
            self._wanted[route.prefix] = route
            self._stale.discard(route.prefix)
            made = _kernel_route(route, indices)
            old = self._installed.pop(route.prefix, None)
            if old is not None and (made is None or (old.metric, old.protocol) != (made.metric, made.protocol)):
                requests.append(kernel.delete_route(old))
            if made is not None:
                made_by[len(requests)] = made
                requests.append(kernel.replace_route(made))
        for prefix in removed:
            self._wanted.pop(prefix, None)
            if (gone := self._installed.pop(prefix, None)) is not None:
                requests.append(kernel.delete_route(gone))
        results = self._netlink.results(requests)
        for place, made in made_by.items():
            if results[place] is None:
                self._installed[made.destination] = made
        return [error for error in results if error and not isinstance(error, NotFoundError)]

    def sweep(self) -> None:
        """Removes what an earlier process left and nobody asked for again."""
        requests = [kernel.delete_route(self._installed.pop(prefix)) for prefix in self._stale]
        self._stale.clear()
        self._netlink.results(requests)

    def repair(self, indices: dict[str, int]) -> int:
        """Puts back what somebody else has removed or changed; how many routes that were."""
        present = {(route.destination, route.metric): route for route in self._netlink.routes()}
        requests = []
        for prefix, route in self._wanted.items():
            made = _kernel_route(route, indices)
            if made is not None and present.get((prefix, made.metric)) != made:
                requests.append(kernel.replace_route(made))
                self._installed[prefix] = made
        self._netlink.results(requests)
        return len(requests)


def _kernel_route(route: Route, indices: dict[str, int]) -> kernel.Route | None:
    """None where none of its interfaces is there."""
    hops = tuple(
        kernel.NextHop(indices[hop.interface], hop.via, hop.weight)
        for hop in route.next_hops
        if hop.interface in indices
    )
    if route.next_hops and not hops:
        return None
    if len(hops) == 1:
        hops = (kernel.NextHop(hops[0].index, hops[0].gateway),)
    # The preference is the metric: routes of two sources for one prefix do not get in each other's way.
    return kernel.Route(route.prefix, hops, route.preference, NUMBERS[route.source])
