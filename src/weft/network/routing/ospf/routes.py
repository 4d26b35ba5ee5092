"""The routing table: within areas, between them, and beyond the AS (RFC 2328, 16).

In: the databases. Out: `Table`, from which come the routes that the router uses (`core`) and the summaries that an area
border router announces (`origination`). Paths compare as the RFC has them: intra-area, inter-area, external type 1,
type 2; then by cost; equal ones are joined.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from weft.network.routing.ospf.lsa import (
    ASBR_SUMMARY,
    EXTERNAL,
    FLAG_B,
    FLAG_E,
    LS_INFINITY,
    MAX_AGE,
    NETWORK,
    ROUTER,
    STUB,
    SUMMARY,
    ExternalBody,
    Lsa,
    NetworkBody,
    RouterBody,
    SummaryBody,
)
from weft.network.routing.ospf.spf import NO_HOPS, Hops, Reach, Vertex, shortest_path_tree
from weft.network.routing.ospf.state import Instance, InterfaceState
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route

INTRA, INTER, EXTERNAL_1, EXTERNAL_2 = 0, 1, 2, 3
Prefix = tuple[int, int]  # network address, mask


@dataclass(frozen=True, slots=True)
class Path:
    """`cost` is that within the AS; of an external path of type 2, `outer` is what counts first."""

    kind: int
    cost: int
    hops: Hops
    area: int
    outer: int = 0
    tag: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        return self.kind, self.outer, self.cost

    @property
    def metric(self) -> int:
        return self.outer if self.kind == EXTERNAL_2 else self.cost


@dataclass(slots=True)
class Table:
    networks: dict[Prefix, Path] = field(default_factory=dict)
    boundary: dict[int, Path] = field(default_factory=dict)  # AS boundary routers

    def add(self, prefix: Prefix, path: Path) -> None:
        _better(self.networks, prefix, path)

    def add_boundary(self, router: int, path: Path) -> None:
        _better(self.boundary, router, path)


def _better(paths: dict[Prefix, Path] | dict[int, Path], key: Prefix | int, path: Path) -> None:
    known = paths.get(key)  # type: ignore[arg-type]
    if known is None or path.rank < known.rank:
        paths[key] = path  # type: ignore[index]
    elif path.rank == known.rank:
        paths[key] = Path(  # type: ignore[index]
            known.kind, known.cost, known.hops | path.hops, known.area, known.outer, known.tag
        )


def active_areas(instance: Instance) -> set[int]:
    return {each.area for each in instance.circuits.values() if each.state is not InterfaceState.DOWN}


def is_border(instance: Instance) -> bool:
    """An area border router, one of its areas being the backbone (as Cisco's, RFC 3509, 2.1)."""
    areas = active_areas(instance)
    return len(areas) > 1 and 0 in areas


class Calculation:
    """Keeps the trees of areas whose databases did not change."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._trees: dict[int, dict[Vertex, Reach]] = {}
        self.runs = 0

    def run(self) -> Table:
        instance = self._instance
        self.runs += 1
        table = Table()
        active = active_areas(instance)
        for area in instance.areas:
            if area not in active:
                self._trees.pop(area, None)
            elif instance.areas[area].is_dirty or area not in self._trees:
                database = instance.areas[area].database
                self._trees[area] = shortest_path_tree(database, instance.now, instance.router, instance.circuits, area)
                instance.areas[area].is_dirty = False
        for area, tree in self._trees.items():
            _within(table, area, tree)
        for area in [0] if is_border(instance) else list(self._trees):
            self._between(table, area)
        self._beyond(table)
        return table

    def _between(self, table: Table, area: int) -> None:
        """16.2: by the summaries of area border routers."""
        tree = self._trees.get(area, {})
        for entry in self._instance.areas[area].database if area in self._instance.areas else ():
            lsa = entry.lsa
            if lsa.type not in (SUMMARY, ASBR_SUMMARY) or lsa.router == self._instance.router:
                continue
            border = tree.get((ROUTER, lsa.router))
            if border is None or not _flags(border.lsa) & FLAG_B or entry.age_at(self._instance.now) >= MAX_AGE:
                continue
            body = lsa.body
            assert isinstance(body, SummaryBody)
            if body.metric >= LS_INFINITY:
                continue
            path = Path(INTER, border.cost + body.metric, border.hops, area)
            if lsa.type == SUMMARY:
                table.add((lsa.id & body.mask, body.mask), path)
            else:
                table.add_boundary(lsa.id, path)

    def _beyond(self, table: Table) -> None:
        """16.4: by AS-external-LSAs."""
        inner = dict(table.networks)
        for entry in self._instance.external:
            lsa, body = entry.lsa, entry.lsa.body
            assert isinstance(body, ExternalBody)
            if lsa.router == self._instance.router or body.metric >= LS_INFINITY:
                continue
            way = table.boundary.get(lsa.router)
            if way is None or entry.age_at(self._instance.now) >= MAX_AGE:
                continue
            if body.forwarding:
                way = _longest(inner, body.forwarding)
                if way is None:
                    continue
                if all(address == 0 for _, address in way.hops):  # on a network of our own
                    hops = frozenset((name, body.forwarding) for name, _ in way.hops)
                    way = Path(way.kind, way.cost, hops, way.area)
            prefix = (lsa.id & body.mask, body.mask)
            if body.type_2:
                table.add(prefix, Path(EXTERNAL_2, way.cost, way.hops, way.area, body.metric, body.tag))
            else:
                table.add(prefix, Path(EXTERNAL_1, way.cost + body.metric, way.hops, way.area, 0, body.tag))


def _flags(lsa: Lsa) -> int:
    return lsa.body.flags if isinstance(lsa.body, RouterBody) else 0


def _within(table: Table, area: int, tree: dict[Vertex, Reach]) -> None:
    """16.1, second stage: networks and stub networks; and the area's boundary routers."""
    for vertex, reach in tree.items():
        body = reach.lsa.body
        if vertex[0] == NETWORK:
            assert isinstance(body, NetworkBody)
            table.add((vertex[1] & body.mask, body.mask), Path(INTRA, reach.cost, reach.hops, area))
            continue
        assert isinstance(body, RouterBody)
        if body.flags & FLAG_E:
            table.add_boundary(vertex[1], Path(INTRA, reach.cost, reach.hops, area))
        for link in body.links:
            if link.type == STUB:
                table.add((link.id & link.data, link.data), Path(INTRA, reach.cost + link.metric, reach.hops, area))


def _longest(networks: dict[Prefix, Path], address: int) -> Path | None:
    mask = 0xFFFFFFFF
    while True:
        path = networks.get((address & mask, mask))
        if path is not None:
            return path
        if mask == 0:
            return None
        mask = mask << 1 & 0xFFFFFFFF


@lru_cache(65536)
def network_of(prefix: Prefix) -> IPv4Network:
    return IPv4Network((prefix[0], prefix[1].bit_count()))


@lru_cache(65536)
def _next_hops(hops: Hops, most: int) -> tuple[NextHop, ...]:
    return tuple(NextHop(name, IPv4Address(address)) for name, address in sorted(hops)[:most] if address)


def differences(
    old: dict[Prefix, Path], new: dict[Prefix, Path], most: int, blocked: Callable[[Prefix], bool]
) -> tuple[tuple[Route, ...], tuple[IPv4Network, ...]]:
    """(routes to add or replace, prefixes to withdraw): what of a table others may use, less what they have.

    Networks that the router is on itself are no routes of OSPF; nor is what `blocked` names.
    """
    routes = []
    withdrawn = []
    for prefix, path in new.items():
        known = old.get(prefix)
        if known is not None and (known.hops, known.metric, known.tag) == (path.hops, path.metric, path.tag):
            continue
        hops = NO_HOPS if blocked(prefix) else path.hops
        if next_hops := _next_hops(hops, most):
            network = network_of(prefix)
            routes.append(Route(network, next_hops, "ospf", PREFERENCES["ospf"], path.metric, path.tag))
        elif known is not None and _next_hops(known.hops, most):
            withdrawn.append(network_of(prefix))
    for prefix, path in old.items():
        if prefix not in new and _next_hops(path.hops, most):
            withdrawn.append(network_of(prefix))
    return tuple(routes), tuple(withdrawn)


__all__ = ["EXTERNAL", "Calculation", "Path", "Table", "active_areas", "differences", "is_border", "network_of"]
