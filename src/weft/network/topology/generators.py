"""Labs of any size by rule: rings, trees, fat-trees, grids, and random graphs that are the same for the same seed.

In: numbers, and `Options` for links, hosts and routing. Out: a topology; InvalidError where the numbers make none.
Who is next: `weft lab generate`, benchmarks and tests.
"""

import random as random_numbers
from collections.abc import Iterable
from itertools import pairwise
from math import exp, hypot, log

from weft.core.errors import InvalidError
from weft.network.topology.building import Builder, Options
from weft.network.topology.geography import EARTH_RADIUS, Place
from weft.network.topology.model import Topology
from weft.network.topology.reader import MAX_NODES

_DEFAULT = Options()
_TRIES = 200
_KM_PER_DEGREE = EARTH_RADIUS * 3.141592653589793 / 180


def line(count: int, options: Options = _DEFAULT) -> Topology:
    """Routers in a row."""
    builder, names = _routers(count, options, f"line-{count}")
    return _joined(builder, pairwise(names))


def ring(count: int, options: Options = _DEFAULT) -> Topology:
    _need(count >= 3, "ring", "at least 3 routers")
    builder, names = _routers(count, options, f"ring-{count}")
    return _joined(builder, zip(names, names[1:] + names[:1], strict=True))


def star(leaves: int, options: Options = _DEFAULT) -> Topology:
    """r1 in the middle."""
    _need(leaves >= 1, "star", "at least 1 leaf")
    builder, names = _routers(leaves + 1, options, f"star-{leaves}")
    return _joined(builder, ((names[0], leaf) for leaf in names[1:]))


def tree(depth: int, fanout: int, options: Options = _DEFAULT) -> Topology:
    """Hosts only at the leaves; `depth` 0 is the root alone."""
    _need(depth >= 0 and fanout >= 1, "tree", "a depth of 0 or more and a fanout of 1 or more")
    # The sum of fanout ** level stops as soon as it is too much, so that no input takes long.
    count, width = 1, 1
    for _ in range(depth):
        width *= fanout
        count += width
        _need(count <= MAX_NODES, "tree", f"at most {MAX_NODES} nodes")
    builder, names = _routers(count, options, f"tree-{depth}-{fanout}")
    for index in range(1, count):
        builder.link(names[(index - 1) // fanout], names[index])
    return builder.build(dict.fromkeys(names[count - width :], options.hosts))


def fat_tree(k: int, options: Options = _DEFAULT, hosts: int | None = None) -> Topology:
    """Three layers of routers with k ports each: (k/2)² cores, and k pods of k/2 aggregation and k/2 edge routers.

    `hosts` at each edge router, k/2 where left out. Al-Fares, Loukissas and Vahdat: A Scalable, Commodity Data Center
    Network Architecture, SIGCOMM 2008.
    """
    _need(k >= 2 and k % 2 == 0, "fat-tree", "an even number of ports")
    _need(5 * k * k // 4 <= MAX_NODES, "fat-tree", f"at most {MAX_NODES} nodes")
    half = k // 2
    builder = Builder(options, f"fat-tree-{k}")
    cores = [builder.router(f"core{index + 1}") for index in range(half * half)]
    edges = []
    for pod in range(1, k + 1):
        aggregation = [builder.router(f"agg{pod}-{index + 1}") for index in range(half)]
        pod_edges = [builder.router(f"edge{pod}-{index + 1}") for index in range(half)]
        for position, upper in enumerate(aggregation):
            for core in cores[position * half : (position + 1) * half]:
                builder.link(core, upper)
            for lower in pod_edges:
                builder.link(upper, lower)
        edges += pod_edges
    return builder.build(dict.fromkeys(edges, half if hosts is None else hosts))


def grid(rows: int, columns: int, options: Options = _DEFAULT) -> Topology:
    return _grid(rows, columns, options, "grid", wrap=False)


def torus(rows: int, columns: int, options: Options = _DEFAULT) -> Topology:
    """A grid whose rows and columns are rings; a ring of two is one link."""
    return _grid(rows, columns, options, "torus", wrap=True)


def _grid(rows: int, columns: int, options: Options, kind: str, *, wrap: bool) -> Topology:
    _need(rows >= 1 and columns >= 1, kind, "at least one row and one column")
    _need(rows * columns <= MAX_NODES, kind, f"at most {MAX_NODES} nodes")
    builder = Builder(options, f"{kind}-{rows}-{columns}")
    names = [[builder.router(f"r{row + 1}-{column + 1}") for column in range(columns)] for row in range(rows)]
    for row in range(rows):
        for column in range(columns):
            if column + 1 < columns:
                builder.link(names[row][column], names[row][column + 1])
            elif wrap and columns > 2:
                builder.link(names[row][column], names[row][0])
            if row + 1 < rows:
                builder.link(names[row][column], names[row + 1][column])
            elif wrap and rows > 2:
                builder.link(names[row][column], names[0][column])
    return builder.build()


def random(count: int, probability: float, options: Options = _DEFAULT, seed: int = 1) -> Topology:
    """Each two routers are linked with `probability`; graphs that are not connected are thrown away.

    Gilbert: Random Graphs, Annals of Mathematical Statistics 1959; often named after Erdős and Rényi.
    """
    _need(0 < probability <= 1, "random lab", "a probability above 0 and up to 1")
    _need(1 <= count <= MAX_NODES, "random lab", f"1 to {MAX_NODES} routers")
    numbers = random_numbers.Random(seed)
    for _ in range(_TRIES if count <= 100 else _TRIES // 10):
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count) if numbers.random() < probability]
        if len(_components(count, pairs)) == 1:
            builder, names = _routers(count, options, f"random-{count}")
            return _joined(builder, ((names[a], names[b]) for a, b in pairs))
    least = log(count) / count
    raise InvalidError(
        f"cannot make a random lab: none of {count} routers with probability {probability:g} was connected;"
        f" it takes about {least:.2g} (ln n / n) or more"
    )


def waxman(
    count: int,
    options: Options = _DEFAULT,
    seed: int = 1,
    *,
    alpha: float = 0.15,
    beta: float = 0.6,
    size: float = 1000.0,
) -> Topology:
    """Routers anywhere in a square of `size` km; two at distance d are linked with β exp(-d / αL).

    L is the greatest distance. Parts that remain apart are joined where they are nearest. Waxman: Routing of
    Multipoint Connections, IEEE JSAC 1988.
    """
    _need(1 <= count <= MAX_NODES, "Waxman lab", f"1 to {MAX_NODES} routers")
    _need(alpha > 0 and 0 < beta <= 1, "Waxman lab", "alpha above 0, and beta above 0 and up to 1")
    _need(0 < size <= 5000, "Waxman lab", "a size of up to 5000 km")
    numbers = random_numbers.Random(seed)
    points = [(numbers.random(), numbers.random()) for _ in range(count)]
    lengths = {
        (a, b): hypot(points[a][0] - points[b][0], points[a][1] - points[b][1])
        for a in range(count)
        for b in range(a + 1, count)
    }
    longest = max(lengths.values(), default=1.0) or 1.0
    pairs = [pair for pair, d in lengths.items() if numbers.random() < beta * exp(-d / (alpha * longest))]
    pairs = _join_nearest(count, pairs, lengths)
    # Around 0° 0', where degrees of longitude and latitude are of one length.
    places: list[Place] = [
        (round((x - 0.5) * size / _KM_PER_DEGREE, 5), round((y - 0.5) * size / _KM_PER_DEGREE, 5)) for x, y in points
    ]
    builder = Builder(options, f"waxman-{count}")
    names = [builder.router(f"r{index + 1}", place) for index, place in enumerate(places)]
    return _joined(builder, ((names[a], names[b]) for a, b in sorted(pairs)))


def scale_free(count: int, links: int, options: Options = _DEFAULT, seed: int = 1) -> Topology:
    """Routers come one by one, each with `links` links to others, more likely to those that have many.

    Begins with a star. Barabási and Albert: Emergence of Scaling in Random Networks, Science 1999.
    """
    _need(1 <= links < count, "scale-free lab", "at least one link a router, and more routers than that")
    numbers = random_numbers.Random(seed)
    builder, names = _routers(count, options, f"scale-free-{count}")
    pairs = [(0, leaf) for leaf in range(1, links + 1)]
    # Each router as often as it has links: a choice from here is one by degree.
    ends = [end for pair in pairs for end in pair]
    for new in range(links + 1, count):
        chosen: dict[int, None] = {}
        while len(chosen) < links:
            chosen[numbers.choice(ends)] = None
        pairs += [(old, new) for old in chosen]
        ends += [*chosen, *[new] * links]
    return _joined(builder, ((names[a], names[b]) for a, b in pairs))


def _routers(count: int, options: Options, name: str) -> tuple[Builder, list[str]]:
    builder = Builder(options, name)
    _need(1 <= count <= MAX_NODES, "lab", f"1 to {MAX_NODES} routers")
    return builder, [builder.router(f"r{index + 1}") for index in range(count)]


def _joined(builder: Builder, pairs: Iterable[tuple[str, str]]) -> Topology:
    for a, b in pairs:
        builder.link(a, b)
    return builder.build()


def _need(right: bool, kind: str, what: str) -> None:
    if not right:
        raise InvalidError(f"cannot make a {kind}: it needs {what}")


def _components(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    beside: list[list[int]] = [[] for _ in range(count)]
    for a, b in pairs:
        beside[a].append(b)
        beside[b].append(a)
    seen = [False] * count
    found = []
    for start in range(count):
        if seen[start]:
            continue
        seen[start] = True
        part = [start]
        for node in part:
            for other in beside[node]:
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        found.append(part)
    return found


def _join_nearest(
    count: int, pairs: list[tuple[int, int]], lengths: dict[tuple[int, int], float]
) -> list[tuple[int, int]]:
    """The pairs, and the shortest that join all parts (Kruskal)."""
    part = {}
    for index, members in enumerate(_components(count, pairs)):
        part.update(dict.fromkeys(members, index))
    joined = list(pairs)
    for a, b in sorted(lengths, key=lengths.__getitem__) if len(set(part.values())) > 1 else ():
        if part[a] != part[b]:
            joined.append((a, b))
            gone = part[b]
            part = {node: part[a] if own == gone else own for node, own in part.items()}
    return joined
