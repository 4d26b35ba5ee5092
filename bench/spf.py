"""Shortest paths from one node: in full beside graph libraries (built before, search only), and after one change."""

import importlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from bench.measure import Row, interleaved_ms
from weft.network.routing.spf.all_pairs import matrix
from weft.network.routing.spf.graph import Graph, distances
from weft.network.routing.spf.incremental import IncrementalSPF

RUNS = 5


def random_graph(nodes: int = 10_000, links: int = 50_000) -> Graph:
    chance, graph = random.Random(1), Graph()
    for node in range(nodes):
        graph.node(node)
    for number in range(links):
        one, other = chance.sample(range(nodes), 2)
        graph.add_link(one, other, (number, -number), chance.randint(1, 100))
    return graph


def fat_tree(k: int = 48) -> Graph:
    graph, half = Graph(), k // 2
    for pod in range(k):
        for upper in range(half):
            for lower in range(half):
                graph.add_link(("edge", pod, lower), ("aggregation", pod, upper), (upper, lower))
                graph.add_link(("aggregation", pod, upper), ("core", upper, lower), (half + lower, pod))
    return graph


def peers(graph: Graph) -> dict[str, Callable[[], object]]:
    """A search from node 0 by each library that is installed."""
    edges = list(zip(graph.tails, graph.heads, graph.weights, strict=True))
    size = len(graph.names)

    def networkx(lib: Any) -> Callable[[], object]:
        built = lib.MultiDiGraph()
        built.add_weighted_edges_from(edges)
        return lambda: lib.single_source_dijkstra_path_length(built, 0)

    def rustworkx(lib: Any) -> Callable[[], object]:
        built = lib.PyDiGraph()
        built.add_nodes_from(range(size))
        built.add_edges_from(edges)
        return lambda: lib.dijkstra_shortest_path_lengths(built, 0, float)

    def igraph(lib: Any) -> Callable[[], object]:
        built = lib.Graph(size, [edge[:2] for edge in edges], directed=True)
        weights = [edge[2] for edge in edges]
        return lambda: built.distances(0, weights=weights)

    def scipy(lib: Any) -> Callable[[], object]:
        csgraph = importlib.import_module("scipy.sparse.csgraph")
        built = matrix(graph, importlib.import_module("scipy.sparse"))
        return lambda: csgraph.dijkstra(built, indices=0)

    def networkit(lib: Any) -> Callable[[], object]:
        built = lib.Graph(size, weighted=True, directed=True)
        for tail, head, weight in edges:
            built.addEdge(tail, head, weight)
        return lambda: lib.distance.Dijkstra(built, 0, False, False).run()

    found: dict[str, Callable[[], object]] = {}
    for build in (networkx, rustworkx, igraph, scipy, networkit):
        try:
            found[build.__name__] = build(importlib.import_module(build.__name__))
        except ImportError:
            print(f"{build.__name__} is not installed: its row is left out")
    return found


def run() -> Iterator[Row]:
    for name, graph in (("random, 10,000 nodes, 50,000 links", random_graph()), ("fat tree, k=48", fat_tree())):
        times = interleaved_ms({"weft": lambda g=graph: distances(g, 0), **peers(graph)}, RUNS, 1)
        ours = times.pop("weft")
        for peer, theirs in times.items():
            yield Row(f"full SPF: {name}", "ms", ours, peer, theirs)
        spf, chance = IncrementalSPF(graph, 0), random.Random(2)

        def on_tree(spf: IncrementalSPF = spf, chance: random.Random = chance) -> None:
            edge = min(spf.parents[chance.randrange(1, len(spf.graph.names))])
            weight = spf.graph.weights[edge]
            spf.change(edge, weight + 100)
            spf.change(edge, weight)

        def anywhere(spf: IncrementalSPF = spf, chance: random.Random = chance) -> None:
            edge = chance.randrange(len(spf.graph.labels))
            weight = spf.graph.weights[edge]
            spf.change(edge, weight + 100)
            spf.change(edge, weight)

        actions = {"tree": on_tree, "any": anywhere, "full": lambda g=graph: IncrementalSPF(g, 0)}
        times = interleaved_ms(actions, 25, 1)
        for what, edge in (("tree", "a link of the shortest-path tree"), ("any", "a random link")):
            note = f"{edge} costs more, and what it did again"
            yield Row(f"two changes: {name}", "ms", times[what], "Weft twice in full", 2 * times["full"], note)
