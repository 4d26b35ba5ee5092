"""The shortest-path tree of one area over its link-state database (RFC 2328, 16.1, first stage).

In: the router- and network-LSAs of an area and this router's circuits. Out: for each vertex that is reached its cost
and all equal-cost next hops. A link counts only where both ends tell of it (16.1, step 2b).
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from weft.network.routing.ospf.database import Entry
from weft.network.routing.ospf.lsa import (
    MAX_AGE,
    NETWORK,
    POINT_TO_POINT,
    ROUTER,
    TRANSIT,
    Lsa,
    NetworkBody,
    RouterBody,
)
from weft.network.routing.ospf.state import Circuit, NeighborState

Vertex = tuple[int, int]  # ROUTER and its ID, or NETWORK and its link state ID
Hop = tuple[str, int]  # interface and address; 0 for a network that is on the interface itself
Hops = frozenset[Hop]
NO_HOPS: Hops = frozenset()


@dataclass(slots=True)
class Reach:
    """How to reach a vertex, and its LSA."""

    cost: int
    hops: Hops
    lsa: Lsa


@lru_cache(32768)
def _neighbors(lsa: Lsa) -> tuple[tuple[Vertex, int, int], ...]:
    """(vertex, cost, our address on the link) of each link of an LSA to another vertex."""
    if isinstance(lsa.body, NetworkBody):
        return tuple(((ROUTER, router), 0, 0) for router in lsa.body.routers)
    assert isinstance(lsa.body, RouterBody)
    kinds = {POINT_TO_POINT: ROUTER, TRANSIT: NETWORK}
    return tuple(((kinds[link.type], link.id), link.metric, link.data) for link in lsa.body.links if link.type in kinds)


@lru_cache(32768)
def _names(lsa: Lsa) -> frozenset[Vertex]:
    return frozenset(vertex for vertex, _, _ in _neighbors(lsa))


def shortest_path_tree(
    entries: Iterable[Entry], now: float, root: int, circuits: Mapping[str, Circuit], area: int
) -> dict[Vertex, Reach]:
    """Every vertex of the area that `root` reaches."""
    lsas: dict[Vertex, Lsa] = {}
    for entry in entries:
        lsa = entry.lsa
        if lsa.type == ROUTER and entry.age_at(now) < MAX_AGE:
            if lsa.id == lsa.router:
                lsas[ROUTER, lsa.router] = lsa
        elif lsa.type == NETWORK and entry.age_at(now) < MAX_AGE:
            lsas[NETWORK, lsa.id] = lsa
    start: Vertex = (ROUTER, root)
    if start not in lsas:
        return {}
    by_address = {int(each.address.ip): each for each in circuits.values() if each.area == area and each.interface.up}
    reached = {start: Reach(0, NO_HOPS, lsas[start])}
    heap: list[tuple[int, int, Vertex]] = [(0, 0, start)]
    done: set[Vertex] = set()
    while heap:
        # At equal cost networks go first, so that all ways to a router are found (16.1, step 3).
        cost, _, vertex = heapq.heappop(heap)
        if vertex in done:
            continue
        done.add(vertex)
        here = reached[vertex]
        for target, metric, data in _neighbors(here.lsa):
            there = lsas.get(target)
            if there is None or target in done or vertex not in _names(there):
                continue
            total = cost + metric
            known = reached.get(target)
            if known is not None and total > known.cost:
                continue
            hops = here.hops
            if vertex == start:
                hops = _first_hops(target, data, by_address)
            elif vertex[0] == NETWORK and all(address == 0 for _, address in hops):
                hops = _hops_over(vertex, hops, there)
            if not hops:
                continue
            if known is None or total < known.cost:
                reached[target] = Reach(total, hops, there)
                heapq.heappush(heap, (total, -target[0], target))
            else:
                known.hops |= hops
    return reached


def _first_hops(target: Vertex, data: int, by_address: Mapping[int, Circuit]) -> Hops:
    """16.1.1, where the parent is the root: `data` is our own address on the link."""
    circuit = by_address.get(data)
    if circuit is None:
        return NO_HOPS
    if target[0] == NETWORK:
        return frozenset(((circuit.name, 0),))
    return frozenset(
        (circuit.name, int(neighbor.address))
        for neighbor in circuit.neighbors.values()
        if neighbor.router == target[1] and neighbor.state is NeighborState.FULL
    )


def _hops_over(network: Vertex, hops: Hops, lsa: Lsa) -> Hops:
    """16.1.1, where the parent is a network that the root is on: the router's own address there."""
    addresses = [data for vertex, _, data in _neighbors(lsa) if vertex == network]
    return frozenset((name, address) for name, _ in hops for address in addresses)
