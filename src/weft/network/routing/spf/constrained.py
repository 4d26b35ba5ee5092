"""Constrained shortest paths (CSPF, RFC 3630 and RFC 5305 give the attributes; RFC 4655 the loose hops).

In: a `Graph`, what is known of its edges, and the demands on a path. Out: the edges of the best path that meets all
demands, or None. Ties go to the path of fewest edges, then of the lowest edge numbers.
"""

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from weft.core.errors import InvalidError
from weft.network.routing.spf.graph import Graph

Path = tuple[int, ...]


@dataclass(frozen=True)
class Resources:
    """By edge number; an edge that is not named has no capacity, no delay and no shared risks."""

    left: Mapping[int, float] = field(default_factory=dict)
    delay_us: Mapping[int, int] = field(default_factory=dict)
    risks: Mapping[int, frozenset[Hashable]] = field(default_factory=dict)


@dataclass(frozen=True)
class Constraints:
    demand: float = 0
    avoid_nodes: frozenset[int] = frozenset()
    avoid_edges: frozenset[int] = frozenset()
    avoid_risks: frozenset[Hashable] = frozenset()
    include: tuple[int, ...] = ()  # loose hops in order
    max_hops: int | None = None
    max_delay_us: int | None = None

    def __post_init__(self) -> None:
        if self.demand < 0:
            raise InvalidError(f"cannot ask for a capacity of {self.demand}: it must not be negative")


NONE, NOTHING = Constraints(), Resources()


def constrained_path(
    graph: Graph, source: int, target: int, limits: Constraints = NONE, known: Resources = NOTHING
) -> Path | None:
    """Searches labels of (cost, hops, delay), as a dearer path may be the only one within the bounds.

    The path has no loops: a node is entered once, loose hops included.
    """
    if {source, target} & limits.avoid_nodes:
        return None
    hops_count, delay_counts = limits.max_hops is not None, limits.max_delay_us is not None
    goals = len(limits.include)
    stage = 1 if goals and limits.include[0] == source else 0
    heap: list[tuple[int, int, Path, int, int, int, frozenset[int]]]
    heap = [(0, 0, (), source, stage, 0, frozenset((source,)))]
    seen: dict[tuple[int, int], list[tuple[int, int, frozenset[int]]]] = {}
    while heap:
        cost, hops, path, node, stage, delay, visited = heapq.heappop(heap)
        if node == target and stage == goals:
            return path
        # Another way here is better if it costs no more, is as short in all bounds, and closes no node to the rest;
        # without loose hops the rest of a path can always be shortened, so nodes passed need not be compared.
        kept = seen.setdefault((node, stage), [])
        if any(
            (h <= hops or not hops_count) and (d <= delay or not delay_counts) and (not goals or v <= visited)
            for h, d, v in kept
        ):
            continue
        kept.append((hops, delay, visited))
        for edge in graph.outgoing[node]:
            head = graph.heads[edge]
            if head in visited or not _usable(edge, head, limits, known):
                continue
            later = delay + known.delay_us.get(edge, 0)
            if (hops_count and hops + 1 > (limits.max_hops or 0)) or (
                delay_counts and later > (limits.max_delay_us or 0)
            ):
                continue
            after = stage + 1 if stage < goals and limits.include[stage] == head else stage
            new = (cost + graph.weights[edge], hops + 1, (*path, edge), head, after, later, visited | {head})
            heapq.heappush(heap, new)
    return None


def _usable(edge: int, head: int, limits: Constraints, known: Resources) -> bool:
    return (
        head not in limits.avoid_nodes
        and edge not in limits.avoid_edges
        and (not limits.demand or known.left.get(edge, 0) >= limits.demand)
        and not (limits.avoid_risks and known.risks.get(edge, frozenset()) & limits.avoid_risks)
    )
