"""The k shortest paths without loops (Yen 1971) and the shortest pair of disjoint paths (Bhandari 1999).

In: a `Graph` and two nodes. Out: paths as tuples of edge numbers, by cost, then fewest edges, then edge numbers.
"""

import heapq

from weft.network.routing.spf.constrained import Constraints, Path, constrained_path
from weft.network.routing.spf.graph import INFINITE, Graph


def k_shortest(graph: Graph, source: int, target: int, k: int) -> list[Path]:
    best = constrained_path(graph, source, target)
    found: list[Path] = []
    heap = [] if best is None else [_ranked(graph, best)]
    known = {best}
    while heap and len(found) < k:
        path = heapq.heappop(heap)[2]
        found.append(path)
        for at in range(len(path)):
            root = path[:at]
            passed = frozenset(graph.tails[edge] for edge in root)
            taken = frozenset(other[at] for other in found if other[:at] == root and len(other) > at)
            limits = Constraints(avoid_nodes=passed, avoid_edges=taken)
            spur = constrained_path(graph, graph.tails[path[at]], target, limits)
            if spur is not None and (*root, *spur) not in known:
                known.add((*root, *spur))
                heapq.heappush(heap, _ranked(graph, (*root, *spur)))
    return found


def _ranked(graph: Graph, path: Path) -> tuple[int, int, Path]:
    return sum(graph.weights[edge] for edge in path), len(path), path


def disjoint_pair(graph: Graph, source: int, target: int) -> tuple[Path, Path] | None:
    """Two paths without a common edge whose costs have the least sum; None where a single failure cuts all paths."""
    used: set[int] = set()
    for _ in range(2):
        path = _augmenting(graph, source, target, used)
        if path is None:
            return None
        for edge, forward in path:
            (used.add if forward else used.discard)(edge)
    first, second = sorted(_ranked(graph, _taken(graph, source, target, used)) for _ in range(2))
    return first[2], second[2]


def _augmenting(graph: Graph, source: int, target: int, used: set[int]) -> list[tuple[int, bool]] | None:
    """Bellman-Ford by queue, as used edges count backwards and negative."""
    distance = [INFINITE] * len(graph.names)
    distance[source] = 0
    via: dict[int, tuple[int, bool]] = {}
    queue = [source]
    for node in queue:
        steps = [(edge, True, graph.heads[edge]) for edge in graph.outgoing[node] if edge not in used]
        steps += [(edge, False, graph.tails[edge]) for edge in graph.incoming[node] if edge in used]
        for edge, forward, other in steps:
            through = distance[node] + (graph.weights[edge] if forward else -graph.weights[edge])
            if through < distance[other]:
                distance[other] = through
                via[other] = (edge, forward)
                queue.append(other)
    if distance[target] >= INFINITE or source == target:
        return None
    path = []
    while target != source:
        edge, forward = via[target]
        path.append((edge, forward))
        target = graph.tails[edge] if forward else graph.heads[edge]
    return path


def _taken(graph: Graph, source: int, target: int, used: set[int]) -> Path:
    """Takes one path out of the union of two."""
    path = []
    while source != target:
        edge = min(edge for edge in graph.outgoing[source] if edge in used)
        used.discard(edge)
        path.append(edge)
        source = graph.heads[edge]
    return tuple(path)
