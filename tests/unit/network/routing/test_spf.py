"""Shortest paths against networkx on random graphs."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.spf import Edge, shortest_paths

Edges = list[tuple[int, int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    size = draw(st.integers(2, 9))
    node = st.integers(0, size - 1)
    # Few different costs make many equal paths.
    return size, draw(st.lists(st.tuples(node, node, st.integers(1, 3)), max_size=30))


def ours(edges: Edges) -> dict[int, list[Edge[int, int]]]:
    """Each edge's label is its place in the list."""
    graph: dict[int, list[Edge[int, int]]] = {}
    for label, (a, b, cost) in enumerate(edges):
        graph.setdefault(a, []).append(Edge(b, cost, label))
    return graph


def expected(size: int, edges: Edges, source: int, opaque: int | None) -> dict[int, tuple[int, set[int]]]:
    """By networkx: an edge out of the source is a first hop when what follows it makes up the whole distance."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(size))
    for a, b, cost in edges:
        if a == opaque and a != source:
            continue
        if a != b and (not graph.has_edge(a, b) or graph[a][b]["weight"] > cost):
            graph.add_edge(a, b, weight=cost)
    distance = nx.single_source_dijkstra_path_length(graph, source)
    # After the first hop no shortest path comes back to the source.
    rest = dict(nx.all_pairs_dijkstra_path_length(graph))
    return {
        target: (
            total,
            set()
            if target == source
            else {
                label
                for label, (a, b, cost) in enumerate(edges)
                if a == source and b != source and target in rest[b] and cost + rest[b][target] == total
            },
        )
        for target, total in distance.items()
    }


@given(graphs(), st.data())
def test_distances_and_all_first_hops_are_those_of_networkx(graph: tuple[int, Edges], data: st.DataObject) -> None:
    size, edges = graph
    source = data.draw(st.integers(0, size - 1))
    opaque = data.draw(st.none() | st.integers(0, size - 1))
    reached = shortest_paths(ours(edges), source, lambda node: node != opaque)
    found = {node: (reach.cost, set(reach.first_hops)) for node, reach in reached.items()}
    assert found == expected(size, edges, source, opaque)


def test_equal_paths_are_all_kept_and_parallel_edges_too() -> None:
    edges = [(0, 1, 1), (0, 2, 1), (1, 3, 1), (2, 3, 1), (0, 1, 1)]
    reach = shortest_paths(ours(edges), 0)[3]
    assert (reach.cost, reach.first_hops) == (2, {0, 1, 4})


def test_a_cost_below_one_is_refused() -> None:
    with pytest.raises(InvalidError, match="at least 1"):
        Edge("b", 0, "x")
