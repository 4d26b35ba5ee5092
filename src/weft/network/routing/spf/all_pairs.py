"""Distances between all pairs of nodes, by scipy where it is installed and exact, else by our own search.

In: a `Graph`. Out: a row of whole numbers for each node, the same from both ways.
"""

import importlib
from typing import Any

from weft.network.routing.spf.graph import INFINITE, Graph, distances

EXACT = 1 << 53
WORTH_IT = 64  # nodes; below, the import and the conversion take longer than the search


def all_pairs(graph: Graph) -> list[list[int]]:
    size = len(graph.names)
    if size >= WORTH_IT and max(graph.weights, default=1) * size < EXACT:
        try:
            csgraph, sparse = (importlib.import_module(f"scipy.sparse{part}") for part in (".csgraph", ""))
        except ImportError:
            pass
        else:
            return by_scipy(graph, csgraph, sparse)
    return [distances(graph, node) for node in range(size)]


def by_scipy(graph: Graph, csgraph: Any, sparse: Any) -> list[list[int]]:
    found = csgraph.dijkstra(matrix(graph, sparse))
    found[found == float("inf")] = INFINITE
    rows: list[list[int]] = found.astype("int64").tolist()
    return rows


def matrix(graph: Graph, sparse: Any) -> Any:
    """The cheapest of parallel edges only, as a sparse matrix adds them up."""
    cheapest: dict[tuple[int, int], int] = {}
    for edges in graph.outgoing:
        for edge in edges:
            ends, weight = (graph.tails[edge], graph.heads[edge]), graph.weights[edge]
            cheapest[ends] = min(weight, cheapest.get(ends, weight))
    tails, heads = zip(*cheapest, strict=True) if cheapest else ((), ())
    size = len(graph.names)
    return sparse.csr_matrix((list(cheapest.values()), (tails, heads)), shape=(size, size), dtype=float)
