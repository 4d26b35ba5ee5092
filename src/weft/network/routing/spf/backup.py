"""Repairs computed before a failure: TI-LFA (RFC 9855) and the tests of RFC 5286 and RFC 7490.

In: a `Graph` and a source. Out: for each first hop that may fail and each destination behind it, the first hop to use
instead and the segments to put on the packet. A segment is the node or the adjacency to go to next; after the last
one the packet goes to its own destination. No segments means that the first hop is a loop-free alternate.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from weft.network.routing.spf.graph import INFINITE, Graph, distances


@dataclass(frozen=True, slots=True)
class NodeSegment:
    node: Hashable


@dataclass(frozen=True, slots=True)
class AdjacencySegment:
    """The link `label` of `node`, at which the packet must be by then."""

    node: Hashable
    label: Hashable


Segment = NodeSegment | AdjacencySegment


@dataclass(frozen=True, slots=True)
class Repair:
    first_hop: Hashable
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A link in both directions, or a node (-1 for none)."""

    edges: frozenset[int]
    node: int = -1


class Before:
    """Distances before the failure, computed once for each node that is asked about."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._rows: dict[int, list[int]] = {}

    def between(self, one: int, other: int) -> int:
        row = self._rows.get(one)
        if row is None:
            row = self._rows[one] = distances(self.graph, one)
        return row[other]

    def spared(self, one: int, other: int, failure: Failure) -> bool:
        """Whether `other` is reached and no shortest path to it, of several equal ones, meets the failure."""
        cost = self.between(one, other)
        if cost >= INFINITE or failure.node in (one, other):
            return False
        if failure.node >= 0:
            return self.between(one, failure.node) + self.between(failure.node, other) > cost
        graph = self.graph
        return all(
            self.between(one, graph.tails[e]) + graph.weights[e] + self.between(graph.heads[e], other) > cost
            for e in failure.edges
        )

    def loop_free(self, source: int, neighbour: int, destination: int) -> bool:
        """RFC 5286, inequality 1: the neighbour does not send the packet back."""
        there = self.between(neighbour, destination)
        return there < self.between(neighbour, source) + self.between(source, destination)

    def downstream(self, source: int, neighbour: int, destination: int) -> bool:
        """RFC 5286, inequality 2: the neighbour is nearer, so that no loop forms even of several repairs."""
        return self.between(neighbour, destination) < self.between(source, destination)

    def node_protecting(self, neighbour: int, failed: int, destination: int) -> bool:
        """RFC 5286, inequality 3."""
        through = self.between(neighbour, failed) + self.between(failed, destination)
        return self.between(neighbour, destination) < through

    def p_space(self, source: int, failure: Failure) -> set[int]:
        """RFC 7490, 5.2.1.1: what `source` reaches by shortest paths that all spare the failure."""
        return {node for node in range(len(self.graph.names)) if self.spared(source, node, failure)}

    def extended_p_space(self, source: int, failure: Failure) -> set[int]:
        """RFC 7490, 5.2.1.2: the P-spaces of the neighbours over links that do not fail."""
        edges = (e for e in self.graph.outgoing[source] if e not in failure.edges)
        heads = {self.graph.heads[e] for e in edges}
        return {node for head in heads for node in self.p_space(head, failure)}

    def q_space(self, destination: int, failure: Failure) -> set[int]:
        """RFC 7490, 5.2.1.3: what reaches `destination` by shortest paths that all spare the failure."""
        return {node for node in range(len(self.graph.names)) if self.spared(node, destination, failure)}

    def pq_nodes(self, source: int, destination: int, failure: Failure) -> list[int]:
        """Where a tunnel may end, the nearest to `source` first."""
        both = self.extended_p_space(source, failure) & self.q_space(destination, failure)
        return sorted(both - {source}, key=lambda node: (self.between(source, node), node))


def failure_of(graph: Graph, edge: int, protect: Literal["link", "node"]) -> Failure:
    twin = graph.twins[edge]
    edges = frozenset((edge,) if twin < 0 else (edge, twin))
    return Failure(edges, graph.heads[edge] if protect == "node" else -1)


def backups(
    graph: Graph, source: Hashable, protect: Literal["link", "node"] = "link"
) -> dict[tuple[Hashable, Hashable], Repair]:
    """By label of the failed first hop and destination; left out where nothing is connected after the failure."""
    begin, before = graph.numbers[source], Before(graph)
    repairs: dict[tuple[Hashable, Hashable], Repair] = {}
    for failed in graph.outgoing[begin]:
        failure = failure_of(graph, failed, protect)
        after = distances(graph, begin, failure.edges, failure.node)
        for destination, name in enumerate(graph.names):
            cost = before.between(begin, destination)
            through = graph.weights[failed] + before.between(graph.heads[failed], destination)
            if destination == begin or through != cost or after[destination] >= INFINITE:
                continue
            path = post_convergence(graph, begin, destination, after, failure)
            segments = _segments(before, path[1:], graph.heads[path[0]], destination, failure)
            repairs[graph.labels[failed], name] = Repair(graph.labels[path[0]], segments)
    return repairs


def post_convergence(graph: Graph, source: int, destination: int, after: list[int], failure: Failure) -> list[int]:
    """The edges of one shortest path after the failure, the lowest edge numbers from the end among equal ones."""
    path: list[int] = []
    while destination != source:
        edge = min(
            e
            for e in graph.incoming[destination]
            if e not in failure.edges
            and graph.tails[e] != failure.node
            and after[graph.tails[e]] + graph.weights[e] == after[destination]
        )
        path.append(edge)
        destination = graph.tails[edge]
    return path[::-1]


def _segments(before: Before, path: list[int], at: int, destination: int, failure: Failure) -> tuple[Segment, ...]:
    """Each time the furthest node of the path whose shortest paths all spare the failure and cost what the path costs.

    Those shortest paths are then shortest after the failure too, so the packet stays on post-convergence paths.
    """
    graph, found = before.graph, list[Segment]()
    while at != destination:
        reach, total = 0, 0
        for position, edge in enumerate(path, 1):
            total += graph.weights[edge]
            head = graph.heads[edge]
            if before.between(at, head) == total and before.spared(at, head, failure):
                reach = position
        if reach:
            at = graph.heads[path[reach - 1]]
            if at != destination:
                found.append(NodeSegment(graph.names[at]))
        else:
            found.append(AdjacencySegment(graph.names[at], graph.labels[path[0]]))
            at, reach = graph.heads[path[0]], 1
        path = path[reach:]
    return tuple(found)
