"""Addresses for a lab: a loopback for each router, a subnet for each segment, an address for each end.

In: a topology, with the addresses that its user chose. Out: all addresses, the same each time for the same topology,
or what is in the way. Labs live in namespaces of their own, so that all of them use the same ranges.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.network.topology.model import Endpoint, Link, Segment, Topology

LOOPBACKS = IPv4Network("10.255.0.0/16")
# Between two routers: point-to-point, RFC 3021.
TRANSIT = IPv4Network("10.254.0.0/16")
TRANSIT_LENGTH = 31
# Where hosts are.
LANS = IPv4Network("10.0.0.0/9")
LAN_LENGTH = 24
LARGE_LAN_LENGTH = 16


@dataclass
class Addresses:
    """`loopbacks` by router, `interfaces` by (link, node); `problems` are (path, why)."""

    loopbacks: dict[str, IPv4Address] = field(default_factory=dict)
    interfaces: dict[tuple[str, str], IPv4Interface] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def of_node(self, topology: Topology, node: str) -> IPv4Address | None:
        """The address by which a node is known: a router's loopback, a host's first interface."""
        if node in self.loopbacks:
            return self.loopbacks[node]
        for link in topology.links:
            if (address := self.interfaces.get((link.name, node))) is not None:
                return address.ip
        return None


def allocate(topology: Topology) -> Addresses:
    """Chooses what the user left open, in the order of the file."""
    return _Allocation(topology).run()


class _Allocation:
    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.found = Addresses()
        self.index = {link.name: index for index, link in enumerate(topology.links)}
        self.chosen: list[tuple[str, IPv4Network]] = []

    def run(self) -> Addresses:
        segments = self.topology.segments()
        networks = [self._chosen_network(segment) for segment in segments]
        for index, router in enumerate(self.topology.routers):
            if router.loopback is not None:
                self._take(f"spec.routers[{index}].loopback", IPv4Network(router.loopback))
                self.found.loopbacks[router.name] = router.loopback
        if self.found.problems:
            return self.found
        pool = _Pool(network for _, network in self.chosen)
        transit = pool.subnets(TRANSIT, TRANSIT_LENGTH)
        lans = pool.subnets(LANS, LAN_LENGTH, skip=256)
        large = pool.subnets(IPv4Network("10.128.0.0/10"), LARGE_LAN_LENGTH)
        for segment, network in zip(segments, networks, strict=True):
            if network is None:
                if self._is_transit(segment):
                    network = next(transit)
                else:
                    network = next(lans) if len(segment.ends) < 250 else next(large)
            self._number(segment, network)
        loopbacks = pool.subnets(LOOPBACKS, 32, skip=1)
        for router in self.topology.routers:
            if router.name not in self.found.loopbacks:
                self.found.loopbacks[router.name] = next(loopbacks).network_address
        return self.found

    def _path(self, link: Link, end: Endpoint) -> str:
        return f"spec.links[{self.index[link.name]}].endpoints[{0 if end is link.a else 1}].address"

    def _take(self, path: str, network: IPv4Network) -> None:
        for other, taken in self.chosen:
            if network.overlaps(taken):
                self.found.problems.append((path, f'"{network}": overlaps {taken} of {other}'))
                return
        self.chosen.append((path, network))

    def _chosen_network(self, segment: Segment) -> IPv4Network | None:
        """The subnet of the addresses that the user gave to a segment; all must agree."""
        network: IPv4Network | None = None
        taken: set[IPv4Address] = set()
        for link, end in segment.ends:
            if end.address is None:
                continue
            path = self._path(link, end)
            if network is None:
                network = end.address.network
                self._take(path, network)
            elif end.address.network != network:
                self.found.problems.append((path, f'"{end.address}": the other end is in {network}'))
            if end.address.ip in taken:
                self.found.problems.append((path, f'"{end.address.ip}": another end has this address'))
            taken.add(end.address.ip)
        if network is not None and network.num_addresses - (2 if network.prefixlen < 31 else 0) < len(segment.ends):
            link, end = segment.ends[0]
            self.found.problems.append((self._path(link, end), f'"{network}": too small for {len(segment.ends)} ends'))
        return network

    def _is_transit(self, segment: Segment) -> bool:
        return len(segment.ends) == 2 and all(end.node in self.topology.router_names for _, end in segment.ends)

    def _number(self, segment: Segment, network: IPv4Network) -> None:
        taken = {end.address.ip for _, end in segment.ends if end.address is not None}
        free = (address for address in network.hosts() if address not in taken)
        # Routers come first in a subnet, as is the custom.
        ends = sorted(segment.ends, key=lambda pair: pair[1].node not in self.topology.router_names)
        if self._is_transit(segment):
            ends = list(segment.ends)
        for link, end in ends:
            address = end.address or IPv4Interface((next(free), network.prefixlen))
            self.found.interfaces[link.name, end.node] = address


class _Pool:
    """Hands out subnets that meet none of the user's."""

    def __init__(self, taken: Iterator[IPv4Network]) -> None:
        self._taken = list(taken)

    def subnets(self, of: IPv4Network, length: int, *, skip: int = 0) -> Iterator[IPv4Network]:
        step = 1 << (32 - length)
        first = int(of.network_address)
        for value in range(first + skip * step, first + of.num_addresses, step):
            network = IPv4Network((value, length))
            if not any(network.overlaps(other) for other in self._taken):
                yield network
