"""A directed graph of whole numbers for path computation.

In: links between named nodes, with a cost and a delay. Out: flat arrays by edge number and lists of edges by node
number, which `incremental` and `backup` run on. Edge numbers stay valid while other edges come and go.
"""

import heapq
from array import array
from collections.abc import Hashable, Set
from typing import Literal

from weft.core.errors import InvalidError

Metric = Literal["cost", "delay"]
INFINITE = 1 << 62


class Graph:
    """Parallel links are kept apart by their edge number and label."""

    def __init__(self, metric: Metric = "cost") -> None:
        self.metric = metric
        self.names: list[Hashable] = []
        self.numbers: dict[Hashable, int] = {}
        self.tails = array("q")
        self.heads = array("q")
        self.weights = array("q")
        self.twins = array("q")  # the same link the other way, which fails with it; -1 for none
        self.labels: list[Hashable] = []
        self.outgoing: list[list[int]] = []
        self.incoming: list[list[int]] = []

    def node(self, name: Hashable) -> int:
        """The number of a node, which is added if it is new."""
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.names)
            self.names.append(name)
            self.outgoing.append([])
            self.incoming.append([])
        return number

    def add_edge(self, tail: Hashable, head: Hashable, label: Hashable, cost: int = 1, delay_us: int = 1) -> int:
        weight = self._checked(cost if self.metric == "cost" else delay_us)
        edge, begin, end = len(self.labels), self.node(tail), self.node(head)
        self.tails.append(begin)
        self.heads.append(end)
        self.weights.append(weight)
        self.twins.append(-1)
        self.labels.append(label)
        self.outgoing[begin].append(edge)
        self.incoming[end].append(edge)
        return edge

    def add_link(
        self, one: Hashable, other: Hashable, labels: tuple[Hashable, Hashable], cost: int = 1, delay_us: int = 1
    ) -> tuple[int, int]:
        """Both directions of a link, which fail together."""
        there = self.add_edge(one, other, labels[0], cost, delay_us)
        back = self.add_edge(other, one, labels[1], cost, delay_us)
        self.twins[there], self.twins[back] = back, there
        return there, back

    def change_edge(self, edge: int, weight: int) -> None:
        self.weights[edge] = self._checked(weight)

    def remove_edge(self, edge: int) -> None:
        if edge not in self.outgoing[self.tails[edge]]:
            raise InvalidError(f"cannot remove edge {edge}: it was removed before")
        self.outgoing[self.tails[edge]].remove(edge)
        self.incoming[self.heads[edge]].remove(edge)

    @staticmethod
    def _checked(weight: int) -> int:
        if not 1 <= weight < 1 << 40:
            raise InvalidError(f"cannot use a link of cost {weight}: it must be at least 1 and below 2^40")
        return weight


def distances(graph: Graph, source: int, without: Set[int] = frozenset(), avoid: int = -1) -> list[int]:
    """From `source` to every node by number, without some edges and one node; INFINITE where no path leads."""
    found = [INFINITE] * len(graph.names)
    if source == avoid:
        return found
    found[source] = 0
    heap = [(0, source)]
    heads, weights, outgoing = graph.heads, graph.weights, graph.outgoing
    while heap:
        cost, node = heapq.heappop(heap)
        if cost > found[node]:
            continue
        for edge in outgoing[node]:
            head = heads[edge]
            through = cost + weights[edge]
            if through < found[head] and head != avoid and edge not in without:
                found[head] = through
                heapq.heappush(heap, (through, head))
    return found
