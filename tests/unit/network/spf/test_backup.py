"""Packets walked over the tables from before the failure reach their destination by post-convergence paths."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing.spf.backup import (
    AdjacencySegment,
    Before,
    Failure,
    NodeSegment,
    Repair,
    backups,
    failure_of,
)
from weft.network.routing.spf.graph import INFINITE, Graph, distances

NODES = st.integers(0, 6)
LINKS = st.lists(st.tuples(NODES, NODES, st.integers(1, 5)).filter(lambda e: e[0] != e[1]), max_size=16)


def made(links: list[tuple[int, int, int]]) -> Graph:
    graph = Graph()
    for node in range(7):
        graph.node(node)
    for number, (one, other, cost) in enumerate(links):
        graph.add_link(one, other, (f"{number}>", f"<{number}"), cost)
    return graph


def walks(graph: Graph, at: int, target: int) -> list[list[int]]:
    """All shortest paths from before the failure, as lists of edges."""
    if at == target:
        return [[]]
    cost = distances(graph, at)[target]
    assert cost < INFINITE
    out: list[list[int]] = []
    for edge in graph.outgoing[at]:
        if graph.weights[edge] + distances(graph, graph.heads[edge])[target] == cost:
            out += [[edge, *rest] for rest in walks(graph, graph.heads[edge], target)]
    return out


def check(graph: Graph, repair: Repair, destination: int, failure: Failure, cost: int) -> None:
    def cross(edges: list[int]) -> int:
        for edge in edges:
            assert edge not in failure.edges
            assert graph.heads[edge] != failure.node
        return sum(graph.weights[e] for e in edges)

    first = graph.labels.index(repair.first_hop)
    at, spent = graph.heads[first], cross([first])
    for segment in (*repair.segments, NodeSegment(destination)):
        if isinstance(segment, AdjacencySegment):
            edge = graph.labels.index(segment.label)
            assert (graph.tails[edge], segment.node) == (at, at)
            spent += cross([edge])
            at = graph.heads[edge]
        else:
            target = graph.numbers[segment.node]
            (part,) = {cross(walk) for walk in walks(graph, at, target)}
            spent += part
            at = target
    assert (at, spent) == (destination, cost)


@pytest.mark.parametrize("protect", ["link", "node"])
@given(links=LINKS)
def test_repairs_follow_the_path_after_the_failure(
    protect: Literal["link", "node"], links: list[tuple[int, int, int]]
) -> None:
    graph = made(links)
    found = backups(graph, 0, protect)
    before, expected = distances(graph, 0), set()
    for failed in graph.outgoing[0]:
        failure = failure_of(graph, failed, protect)
        after = distances(graph, 0, failure.edges, failure.node)
        rest = distances(graph, graph.heads[failed])
        for destination in range(1, 7):
            if after[destination] < INFINITE and graph.weights[failed] + rest[destination] == before[destination]:
                key = (graph.labels[failed], destination)
                expected.add(key)
                check(graph, found[key], destination, failure, after[destination])
    assert set(found) == expected


def test_a_ring_of_five_needs_a_pq_node() -> None:
    graph = made([(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1), (4, 0, 1)])
    failure, before = failure_of(graph, 0, "link"), Before(graph)
    assert not before.loop_free(0, 4, 1)
    assert before.pq_nodes(0, 1, failure) == [2, 3]
    assert before.node_protecting(4, 1, 3)
    assert before.downstream(0, 4, 3)
    assert backups(graph, 0)["0>", 1] == Repair("<4", (NodeSegment(2),))
