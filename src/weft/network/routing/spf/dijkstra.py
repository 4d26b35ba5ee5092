"""Dijkstra's algorithm that keeps every equal-cost first hop (RFC 2328, 16.1 and 16.8).

In: a directed graph with costs of at least 1, where edges bear a label (the way out of the node). Out: for each node
that can be reached, its distance and the labels of all first edges on shortest paths to it.
"""

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from weft.core.errors import InvalidError

N = TypeVar("N", bound=Hashable)
L = TypeVar("L", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Edge(Generic[N, L]):
    """A way from a node to `target`."""

    target: N
    cost: int
    label: L

    def __post_init__(self) -> None:
        if self.cost < 1:
            raise InvalidError(f"cannot use a link of cost {self.cost}: it must be at least 1")


@dataclass(slots=True)
class Reach(Generic[L]):
    """How to reach a node."""

    cost: int
    first_hops: frozenset[L]


def shortest_paths(
    graph: Mapping[N, Sequence[Edge[N, L]]], source: N, is_transit: Callable[[N], bool] = lambda _: True
) -> dict[N, Reach[L]]:
    """All that `source` reaches, itself included with cost 0; no path leads through a node that is not transit."""
    reached: dict[N, Reach[L]] = {source: Reach(0, frozenset())}
    order = count()  # nodes need not be comparable
    heap: list[tuple[int, int, N]] = [(0, next(order), source)]
    done: set[N] = set()
    while heap:
        cost, _, node = heapq.heappop(heap)
        if node in done:
            continue
        done.add(node)
        if node != source and not is_transit(node):
            continue
        # As costs are positive, every shortest path to `node` is known by now, and so are its first hops.
        hops = reached[node].first_hops
        for edge in graph.get(node, ()):
            through = cost + edge.cost
            first = hops if node != source else frozenset((edge.label,))
            known = reached.get(edge.target)
            if known is None or through < known.cost:
                reached[edge.target] = Reach(through, first)
                heapq.heappush(heap, (through, next(order), edge.target))
            elif through == known.cost and edge.target != source:
                known.first_hops |= first
    return reached
