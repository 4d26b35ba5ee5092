"""Incremental computation equals full computation after any changes, and names exactly the nodes that differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.spf.graph import INFINITE, Graph, distances
from weft.network.routing.spf.incremental import IncrementalSPF

NODES = st.integers(0, 7)
COSTS = st.integers(1, 4)
EDGES = st.lists(st.tuples(NODES, NODES, COSTS).filter(lambda e: e[0] != e[1]), max_size=24)
CHANGES = st.lists(st.tuples(st.sampled_from(["change", "remove", "add", "node"]), NODES, NODES, COSTS), max_size=12)


def made(edges: list[tuple[int, int, int]]) -> Graph:
    graph = Graph()
    for node in range(8):
        graph.node(node)
    for number, (tail, head, cost) in enumerate(edges):
        graph.add_edge(tail, head, number, cost)
    return graph


@given(EDGES, CHANGES)
def test_equals_full(edges: list[tuple[int, int, int]], changes: list[tuple[str, int, int, int]]) -> None:
    graph = made(edges)
    spf = IncrementalSPF(graph, 0)
    for what, one, other, cost in changes:
        old = [(d, set(p)) for d, p in zip(spf.distance, spf.parents, strict=True)]
        present = sorted(e for out in graph.outgoing for e in out)
        if what == "node":
            changed = spf.remove_node(one)
        elif what == "add" and one != other:
            changed = spf.added(graph.add_edge(one, other, "new", cost))
        elif what in ("change", "remove") and present:
            edge = present[(one * 8 + other) % len(present)]
            changed = spf.change(edge, cost) if what == "change" else spf.remove(edge)
        else:
            continue
        full = IncrementalSPF(graph, 0)
        assert (spf.distance, spf.parents) == (full.distance, full.parents)
        new = list(zip(spf.distance, spf.parents, strict=True))
        assert changed == {node for node in range(8) if old[node] != new[node]}


def test_delay_is_the_metric_where_asked() -> None:
    graph = Graph("delay")
    graph.add_link("a", "b", ("a1", "b1"), cost=1, delay_us=500)
    assert distances(graph, 0) == [0, 500]
    graph.node("c")
    assert distances(graph, 0)[2] == INFINITE


def test_bad_edges_are_refused() -> None:
    graph = Graph()
    with pytest.raises(InvalidError):
        graph.add_edge("a", "b", "x", 0)
    edge = graph.add_edge("a", "b", "x", 1)
    graph.remove_edge(edge)
    with pytest.raises(InvalidError):
        graph.remove_edge(edge)
