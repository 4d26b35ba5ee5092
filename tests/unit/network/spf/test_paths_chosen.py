"""Constrained, k shortest and disjoint paths equal what trying every path finds."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing.spf.constrained import Constraints, Path, Resources, constrained_path
from weft.network.routing.spf.graph import Graph
from weft.network.routing.spf.k_shortest import disjoint_pair, k_shortest

NODES = st.integers(0, 4)
EDGES = st.lists(st.tuples(NODES, NODES, st.integers(1, 4)).filter(lambda e: e[0] != e[1]), max_size=11)
SETS = st.frozensets(st.integers(0, 4), max_size=1)


def made(edges: list[tuple[int, int, int]]) -> Graph:
    graph = Graph()
    for node in range(5):
        graph.node(node)
    for number, (tail, head, cost) in enumerate(edges):
        graph.add_edge(tail, head, number, cost)
    return graph


def every(graph: Graph, at: int, target: int, seen: tuple[int, ...] = ()) -> list[Path]:
    if at == target:
        return [()]
    return [
        (edge, *rest)
        for edge in graph.outgoing[at]
        if graph.heads[edge] not in (*seen, at)
        for rest in every(graph, graph.heads[edge], target, (*seen, at))
    ]


def cost(graph: Graph, path: Path) -> int:
    return sum(graph.weights[edge] for edge in path)


def ranked(graph: Graph, paths: list[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (cost(graph, path), len(path), path))


@given(EDGES, st.integers(1, 9))
def test_k_shortest(edges: list[tuple[int, int, int]], k: int) -> None:
    graph = made(edges)
    assert k_shortest(graph, 0, 4, k) == ranked(graph, every(graph, 0, 4))[:k]


@given(EDGES)
def test_disjoint_pair(edges: list[tuple[int, int, int]]) -> None:
    graph = made(edges)
    pairs = [pair for pair in combinations(every(graph, 0, 4), 2) if not set(pair[0]) & set(pair[1])]
    found = disjoint_pair(graph, 0, 4)
    if not pairs:
        assert found is None
        return
    assert found is not None
    assert not set(found[0]) & set(found[1])
    assert {found[0], found[1]} <= set(every(graph, 0, 4))
    assert sum(cost(graph, path) for path in found) == min(sum(cost(graph, path) for path in p) for p in pairs)


@given(
    EDGES,
    st.lists(st.integers(0, 2), min_size=11, max_size=11),
    st.integers(0, 2),
    SETS,
    SETS,
    SETS,
    st.lists(st.integers(1, 3), max_size=2, unique=True),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 5),
)
def test_constrained(
    edges: list[tuple[int, int, int]],
    values: list[int],
    demand: int,
    nodes: frozenset[int],
    banned: frozenset[int],
    risks: frozenset[int],
    include: list[int],
    max_hops: int | None,
    max_delay: int | None,
) -> None:
    graph = made(edges)
    numbered = dict(enumerate(values))
    shared = {edge: frozenset((value + 1,)) for edge, value in numbered.items()}
    known = Resources(numbered, numbered, shared)
    limits = Constraints(demand, nodes, banned, frozenset(risks), tuple(include), max_hops, max_delay)

    def meets(path: Path) -> bool:
        heads = [0, *(graph.heads[edge] for edge in path)]
        return (
            all(values[e] >= demand and e not in banned and not shared[e] & risks for e in path)
            and not nodes & set(heads)
            and [node for node in heads if node in include] == include
            and (max_hops is None or len(path) <= max_hops)
            and (max_delay is None or sum(values[e] for e in path) <= max_delay)
        )

    best = ranked(graph, [path for path in every(graph, 0, 4) if meets(path)])
    assert constrained_path(graph, 0, 4, limits, known) == (best[0] if best else None)
