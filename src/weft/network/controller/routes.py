"""Routes for every node by shortest path first over the links that are up.

In: a topology, its addresses, the names of the links that are up. Out: for each router and host its routes, equal-cost
next hops together. Destinations are the routers' loopbacks and the subnets of segments; a segment is as far as the
nearest router on it plus that router's cost to it (RFC 2328, 16.1, stub networks).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from weft.network.routing.spf import Edge, Reach, shortest_paths
from weft.network.topology.addresses import Addresses
from weft.network.topology.model import Segment, Topology

DEFAULT = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True, order=True)
class NextHop:
    """The neighbour's address and the link by which it is reached; `weight` shares traffic among equals."""

    via: IPv4Address | IPv6Address
    link: str
    weight: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Backup:
    """Where packets go when no next hop of their route is left; with `segments` (first to last) through a tunnel, that
    begins on `link`."""

    via: IPv4Address | IPv6Address | None
    link: str
    segments: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One destination, its next hops sorted, the cost of the way, and what to do when a link of it fails."""

    destination: IPv4Network | IPv6Network
    next_hops: tuple[NextHop, ...]
    metric: int
    backup: tuple[Backup, ...] = ()


@dataclass(frozen=True, slots=True)
class Stand:
    """A node at a destination: the cost of its last step, and whether it takes that step for others."""

    node: str
    cost: int
    delivers: bool


Graph = dict[str, list[Edge[str, NextHop]]]
Prefixes = dict[IPv4Network, list[Stand]]


def compute_routes(topology: Topology, addresses: Addresses, up: frozenset[str]) -> dict[str, tuple[Route, ...]]:
    """The routes of every host and of every router whose routes come from the controller, sorted by destination."""
    segments = topology.segments(up=up)
    graph = _graph(addresses, segments)
    prefixes = prefixes_of(topology, addresses, segments, topology.transit_names)
    found: dict[str, tuple[Route, ...]] = {}
    for router in topology.routers:
        if router.routing == "none":
            found[router.name] = ()
        elif router.routing == "spf":
            reached = shortest_paths(graph, router.name, topology.transit_names.__contains__)
            found[router.name] = _routes(router.name, reached, prefixes)
    # For a host all routers forward that have routes, wherever they have them from.
    forwarding = topology.forwarding_names
    prefixes = prefixes_of(topology, addresses, segments, forwarding)
    gateways = {a.ip for (_, node), a in addresses.interfaces.items() if node in forwarding}
    for host in topology.hosts:
        reached = shortest_paths(graph, host.name, forwarding.__contains__)
        found[host.name] = _as_default(_routes(host.name, reached, prefixes), gateways)
    return found


def _graph(addresses: Addresses, segments: list[Segment]) -> Graph:
    """Neighbours are all that share a segment; the cost is that of the sender's own link."""
    graph: Graph = {}
    for segment in segments:
        for link, end in segment.ends:
            edges = graph.setdefault(end.node, [])
            for other_link, other in segment.ends:
                if other.node != end.node:
                    hop = NextHop(addresses.interfaces[other_link.name, other.node].ip, link.name)
                    edges.append(Edge(other.node, link.cost, hop))
    return graph


def prefixes_of(topology: Topology, addresses: Addresses, segments: list[Segment], transit: frozenset[str]) -> Prefixes:
    """Who stands at which destination."""
    found: Prefixes = {}
    for router in topology.routers:
        found[IPv4Network(addresses.loopbacks[router.name])] = [Stand(router.name, 0, True)]
    for segment in segments:
        for link, end in segment.ends:
            network = addresses.interfaces[link.name, end.node].network
            # A host, or a router without routing, reaches its own segment but delivers nothing to its neighbours.
            stand = Stand(end.node, link.cost, end.node in transit)
            found.setdefault(network, []).append(stand)
    return found


def _routes(source: str, reached: dict[str, Reach[NextHop]], prefixes: Prefixes) -> tuple[Route, ...]:
    routes = []
    for network, stands in prefixes.items():
        if any(stand.node == source for stand in stands):
            continue  # connected: the kernel's own route
        best: int | None = None
        hops: frozenset[NextHop] = frozenset()
        for stand in stands:
            reach = reached.get(stand.node)
            if reach is None or not stand.delivers:
                continue
            total = reach.cost + stand.cost
            if best is None or total < best:
                best, hops = total, reach.first_hops
            elif total == best:
                hops |= reach.first_hops
        if best is not None:
            routes.append(Route(network, tuple(sorted(hops)), best))
    return tuple(sorted(routes))


def _as_default(routes: tuple[Route, ...], gateways: set[IPv4Address]) -> tuple[Route, ...]:
    """One default route where all routes of a host go the same way, to routers that forward."""
    ways = {route.next_hops for route in routes}
    if len(ways) != 1 or not all(hop.via in gateways for way in ways for hop in way):
        return routes
    return (Route(DEFAULT, ways.pop(), min(route.metric for route in routes)),)
