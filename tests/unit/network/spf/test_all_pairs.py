"""All pairs by scipy equal our own, parallel links and unreachable nodes included."""

import random

import pytest

from weft.network.routing.spf.all_pairs import all_pairs, by_scipy
from weft.network.routing.spf.graph import Graph, distances


@pytest.mark.parametrize("seed", range(5))
def test_same_either_way(seed: int) -> None:
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    sparse = pytest.importorskip("scipy.sparse")
    chance, graph = random.Random(seed), Graph()
    for node in range(80):
        graph.node(node)
    for number in range(120):
        graph.add_edge(chance.randrange(80), chance.randrange(80), number, chance.randint(1, 9))
        graph.add_edge(1, 2, f"parallel {number}", chance.randint(1, 9))
    own = [distances(graph, node) for node in range(80)]
    assert by_scipy(graph, csgraph, sparse) == own
    assert all_pairs(graph) == own


def test_no_links() -> None:
    graph = Graph()
    graph.node("a")
    assert all_pairs(graph) == [[0]]
