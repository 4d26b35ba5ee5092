"""Ways around a link that fails, computed before it does: loop-free alternates (RFC 5286) and TI-LFA (RFC 9855).

In: a topology, its addresses, the links that are up, the routes of its routers. Out: those routes with a backup where
there is one, and, for TI-LFA, what its tunnels need: a locator for each router with routes to the others', and segment
ids (RFC 8986). A backup is for the loss of the one link that a route uses; a route over several links has the others.
Only links between two routers are protected, not segments behind a switch.

Addresses of tunnels follow from those of IPv4, so that nothing has to be remembered: fd77::/96 before the address of an
interface; fd78::/48 before a router's loopback and 48 bits that say what the segment does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from weft.network.controller.routes import Backup, NextHop, Prefixes, Route, prefixes_of
from weft.network.routing.spf.backup import AdjacencySegment, Before, NodeSegment, Repair, backups, failure_of
from weft.network.routing.spf.graph import INFINITE, Graph
from weft.network.topology.addresses import Addresses
from weft.network.topology.model import Segment, Topology

SegmentAction = Literal["End", "End.X", "End.DX4"]
_LINKS, _LOCATORS = 0xFD77 << 112, 0xFD78 << 112
_LOCATOR_LENGTH = 80
_END, _UNPACK, _UNPACK_TO, _END_X = range(4)


@dataclass(frozen=True, slots=True)
class LocalSid:
    """A segment id of a router, and the neighbour that it is for."""

    sid: IPv6Address
    action: SegmentAction
    via: IPv4Address | IPv6Address | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Protected:
    """By router: all of its routes, and its segment ids."""

    routes: dict[str, tuple[Route, ...]] = field(default_factory=dict)
    sids: dict[str, tuple[LocalSid, ...]] = field(default_factory=dict)


def link_address(address: IPv4Interface) -> IPv6Interface:
    """That of an interface at which tunnels pass."""
    return IPv6Interface((_LINKS | int(address.ip), 96 + address.network.prefixlen))


def uses_tunnels(topology: Topology) -> bool:
    return any(router.settings.backups == "ti-lfa" for router in topology.routers if router.routing == "spf")


def protect(
    topology: Topology, addresses: Addresses, up: frozenset[str], routes: dict[str, tuple[Route, ...]]
) -> Protected:
    """`routes` are those of `compute_routes` for the same links."""
    protecting = [each for each in topology.routers if each.routing == "spf" and each.settings.backups != "none"]
    if not protecting:
        return Protected(routes)
    segments = topology.segments(up=up)
    graph, neighbours = _graph(topology, addresses, segments)
    prefixes = prefixes_of(topology, addresses, segments, topology.transit_names)
    before, found = Before(graph), dict(routes)
    for router in protecting:
        made = _Repairs(graph, before, addresses, router.name, tunnels=router.settings.backups == "ti-lfa")
        found[router.name] = tuple(
            replace(route, backup=made.of_route(route, prefixes)) for route in routes[router.name]
        )
    if not uses_tunnels(topology):
        return Protected(found)
    sids = {name: tuple(_sids(addresses, name, neighbours.get(name, []))) for name in topology.transit_names}
    for name in sorted(topology.transit_names):
        found[name] = found[name] + tuple(_locator_routes(graph, before, addresses, name, routes[name]))
    return Protected(found, sids)


Neighbours = dict[str, list[tuple[str, NextHop]]]


def _graph(topology: Topology, addresses: Addresses, segments: list[Segment]) -> tuple[Graph, Neighbours]:
    """Routers that forward for others; labels are the next hops. And each one's neighbours over links of two."""
    graph, neighbours = Graph(), Neighbours()
    for router in topology.routers:
        if router.name in topology.transit_names:
            graph.node(router.name)
    for segment in segments:
        ends = [(link, end.node) for link, end in segment.ends if end.node in topology.transit_names]

        def hop(to: tuple[object, str], link: str) -> NextHop:
            return NextHop(addresses.interfaces[to[0].name, to[1]].ip, link)  # type: ignore[attr-defined]

        if len(segment.links) == 1 and len(ends) == 2:
            (link, one), (_, other) = ends
            labels = hop((link, other), link.name), hop((link, one), link.name)
            graph.add_link(one, other, labels, link.cost)
            neighbours.setdefault(one, []).append((other, labels[0]))
            neighbours.setdefault(other, []).append((one, labels[1]))
            continue
        for link, node in ends:
            for other_link, other in ends:
                if other != node:
                    graph.add_edge(node, other, hop((other_link, other), link.name), link.cost)
    return graph, neighbours


class _Repairs:
    """Those of one router."""

    def __init__(self, graph: Graph, before: Before, addresses: Addresses, router: str, *, tunnels: bool) -> None:
        self._graph, self._before, self._addresses = graph, before, addresses
        self._router, self._tunnels = router, tunnels
        self._edges = {graph.labels[edge]: edge for edge in graph.outgoing[graph.numbers[router]]}
        self._repairs: dict[tuple[object, object], Repair] = dict(backups(graph, router)) if tunnels else {}

    def of_route(self, route: Route, prefixes: Prefixes) -> tuple[Backup, ...]:
        if len(route.next_hops) != 1:
            return ()
        hop = replace(route.next_hops[0], weight=1)
        if (edge := self._edges.get(hop)) is None or self._graph.twins[edge] < 0:
            return ()
        assert isinstance(route.destination, IPv4Network)
        for stand in prefixes[route.destination]:
            number = self._graph.numbers.get(stand.node)
            if number is None or not stand.delivers:
                continue
            if self._before.between(self._graph.numbers[self._router], number) + stand.cost != route.metric:
                continue
            if self._tunnels:
                if (repair := self._repairs.get((hop, stand.node))) is not None and (made := self._backup(repair)):
                    return (made,)
            elif (other := alternate(self._graph, self._before, self._router, edge, number)) is not None:
                return (Backup(other.via, other.link),)
        return ()

    def _backup(self, repair: Repair) -> Backup | None:
        first = repair.first_hop
        assert isinstance(first, NextHop)
        if not repair.segments:
            return Backup(first.via, first.link)
        return Backup(None, first.link, tuple(self._sid(each, each is repair.segments[-1]) for each in repair.segments))

    def _sid(self, segment: NodeSegment | AdjacencySegment, is_last: bool) -> IPv6Address:
        loopback = self._addresses.loopbacks[str(segment.node)]
        if isinstance(segment, NodeSegment):
            return _sid(loopback, _UNPACK if is_last else _END)
        assert isinstance(segment.label, NextHop)
        return _sid(loopback, _UNPACK_TO if is_last else _END_X, int(segment.label.via))


def alternate(graph: Graph, before: Before, router: str, failed: int, destination: int) -> NextHop | None:
    """The nearest neighbour whose shortest paths to the destination all spare a link (RFC 5286, inequality 1)."""
    best: tuple[int, int] | None = None
    failure = failure_of(graph, failed, "link")
    for edge in graph.outgoing[graph.numbers[router]]:
        head = graph.heads[edge]
        if edge in failure.edges or before.between(head, destination) >= INFINITE:
            continue
        if head == destination or before.spared(head, destination, failure):
            total = graph.weights[edge] + before.between(head, destination)
            best = min(best, (total, edge)) if best is not None else (total, edge)
    if best is None:
        return None
    label = graph.labels[best[1]]
    assert isinstance(label, NextHop)
    return label


def _sid(loopback: IPv4Address, function: int, argument: int = 0) -> IPv6Address:
    return IPv6Address(_LOCATORS | int(loopback) << 48 | function << 32 | argument)


def _sids(addresses: Addresses, name: str, neighbours: list[tuple[str, NextHop]]) -> Iterator[LocalSid]:
    loopback = addresses.loopbacks[name]
    yield LocalSid(_sid(loopback, _END), "End")
    yield LocalSid(_sid(loopback, _UNPACK), "End.DX4")
    for _, hop in neighbours:
        assert isinstance(hop.via, IPv4Address)
        yield LocalSid(_sid(loopback, _UNPACK_TO, int(hop.via)), "End.DX4", hop.via, hop.link)
        yield LocalSid(_sid(loopback, _END_X, int(hop.via)), "End.X", IPv6Address(_LINKS | int(hop.via)), hop.link)


def _locator_routes(
    graph: Graph, before: Before, addresses: Addresses, name: str, routes: tuple[Route, ...]
) -> Iterator[Route]:
    """To the segment ids of all others, by the ways of IPv4; the backups need no tunnels (RFC 9855, 6)."""
    by_destination = {route.destination: route for route in routes}
    edges = {graph.labels[edge]: edge for edge in graph.outgoing[graph.numbers[name]]}
    for other, loopback in sorted(addresses.loopbacks.items()):
        known = by_destination.get(IPv4Network(loopback))
        if other == name or known is None or other not in graph.numbers:
            continue
        backup: tuple[Backup, ...] = ()
        if len(known.next_hops) == 1:
            edge = edges.get(replace(known.next_hops[0], weight=1))
            if edge is not None and graph.twins[edge] >= 0:
                around = alternate(graph, before, name, edge, graph.numbers[other])
                if around is not None:
                    backup = (Backup(IPv6Address(_LINKS | int(around.via)), around.link),)
        hops = tuple(replace(hop, via=IPv6Address(_LINKS | int(hop.via))) for hop in known.next_hops)
        locator = IPv6Network((_LOCATORS | int(loopback) << 48, _LOCATOR_LENGTH))
        yield Route(locator, hops, known.metric, backup)
