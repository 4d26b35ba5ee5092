"""Where nodes stand in a drawing: on the map where places are known, in layers where the lab is a hierarchy, else so
that distances in the drawing are as near as can be to distances in the lab.

In: a topology. Out: a point for each node, about one link's length apart, y downwards; the same for the same topology.
Who is next: `svg`, which scales.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from math import atan2, cos, exp, hypot, log, pi, radians, sin
from statistics import median
from typing import Literal

from weft.network.topology.model import Topology

Point = tuple[float, float]
Layout = Literal["map", "layers", "force"]
LAYOUTS: tuple[Layout, ...] = ("map", "layers", "force")

# Above, each node keeps its distance to its neighbours and to this many others, not to all.
_ALL_PAIRS = 150
_PIVOTS = 60
_ROUNDS = 30
_SHORTER = 0.3
# How near nodes may stand on a map, in links of median length.
_NEAR = 0.4


def choose_layout(topology: Topology) -> Layout:
    """A map needs a place for each node that more than one link leads to."""
    beside = _neighbours(topology)
    inner = [name for name in topology.node_names if len(beside[name]) > 1]
    if topology.places and all(name in topology.places for name in inner):
        return "map"
    levels = _levels(topology, beside)
    steps = {abs(levels.get(link.a.node, 0) - levels.get(link.b.node, 0)) for link in topology.links}
    if len(levels) == len(beside) and steps == {1} and max(levels.values()) >= 2:
        return "layers"
    return "force"


def lay_out(topology: Topology, layout: Layout | None = None) -> dict[str, Point]:
    """Every node's point; None chooses."""
    layout = layout or choose_layout(topology)
    if layout == "map":
        return _map(topology)
    if layout == "layers":
        return _layers(topology)
    return _force(topology)


def _neighbours(topology: Topology) -> dict[str, list[str]]:
    """Each neighbour once, in the order of the links."""
    found: dict[str, dict[str, None]] = {name: {} for name in topology.node_names}
    for link in topology.links:
        found[link.a.node][link.b.node] = None
        found[link.b.node][link.a.node] = None
    return {name: list(others) for name, others in found.items()}


def _distances(start: Sequence[str], beside: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Links from the nearest of `start`."""
    found = dict.fromkeys(start, 0)
    todo = deque(start)
    while todo:
        node = todo.popleft()
        for other in beside[node]:
            if other not in found:
                found[other] = found[node] + 1
                todo.append(other)
    return found


def _levels(topology: Topology, beside: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How far up from hosts; where there are none, from what has one link."""
    bottom = [host.name for host in topology.hosts] or [name for name, others in beside.items() if len(others) == 1]
    return _distances(bottom, beside)


# Map


def _map(topology: Topology) -> dict[str, Point]:
    """Equirectangular, true to length in the middle; nodes without a place stand around a neighbour that has one."""
    places = topology.places
    beside = _neighbours(topology)
    middle = sum(latitude for _, latitude in places.values()) / max(1, len(places))
    points = {name: (place[0] * cos(radians(middle)), -place[1]) for name, place in places.items() if name in beside}
    lengths = [_length(points[a.node], points[b.node]) for a, b in ((x.a, x.b) for x in topology.links)
               if a.node in points and b.node in points]  # fmt: skip
    unit = median([length for length in lengths if length > 0] or [1.0])
    points = {name: (x / unit, y / unit) for name, (x, y) in points.items()}
    _hang(points, beside, _map_order(points, beside))
    return _apart(points)


def _apart(points: dict[str, Point]) -> dict[str, Point]:
    """Nodes that would cover each other, such as two routers of one city, are pushed aside, little by little."""
    names = list(points)
    xs, ys = [points[name][0] for name in names], [points[name][1] for name in names]
    for _ in range(40):
        moved = False
        cells: dict[tuple[int, int], list[int]] = {}
        for index in range(len(names)):
            cells.setdefault((int(xs[index] // _NEAR), int(ys[index] // _NEAR)), []).append(index)
        for index in range(len(names)):
            column, row = int(xs[index] // _NEAR), int(ys[index] // _NEAR)
            for other in [o for i in (-1, 0, 1) for j in (-1, 0, 1) for o in cells.get((column + i, row + j), ())]:
                if other <= index:
                    continue
                dx, dy = xs[other] - xs[index], ys[other] - ys[index]
                far = hypot(dx, dy)
                if far >= _NEAR:
                    continue
                if far < 1e-9:
                    dx, dy, far = cos(2.4 * other), sin(2.4 * other), 1.0
                    push = _NEAR / 2
                else:
                    push = (_NEAR - far) / 2
                xs[index], ys[index] = xs[index] - push * dx / far, ys[index] - push * dy / far
                xs[other], ys[other] = xs[other] + push * dx / far, ys[other] + push * dy / far
                moved = True
        if not moved:
            break
    return dict(zip(names, zip(xs, ys, strict=True), strict=True))


def _map_order(points: Mapping[str, Point], beside: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes without a point, those beside others first."""
    far = _distances(list(points), beside)
    unplaced = [name for name in beside if name not in points]
    return sorted(unplaced, key=lambda name: far.get(name, len(beside)))


def _hang(points: dict[str, Point], beside: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    """Each into the widest gap around its first neighbour that has a point, a short link away."""
    alone = 0
    for name in names:
        anchor = next((other for other in beside[name] if other in points), None)
        if anchor is None:
            bottom = max((y for _, y in points.values()), default=0.0)
            points[name] = (float(alone), bottom + (0.0 if alone else 1.0))
            alone += 1
            continue
        x, y = points[anchor]
        taken = sorted(
            atan2(points[o][1] - y, points[o][0] - x) for o in beside[anchor] if o in points and points[o] != (x, y)
        )
        angle = -pi / 2
        if taken:
            gaps = [
                (after - before, before) for before, after in zip(taken, [*taken[1:], taken[0] + 2 * pi], strict=True)
            ]
            # The first of gaps that are about the same, so that rounding moves nothing.
            widest = max(gap for gap, _ in gaps)
            gap, before = next((gap, before) for gap, before in gaps if gap > widest - 1e-6)
            angle = before + gap / 2
        points[name] = (x + 0.55 * cos(angle), y + 0.55 * sin(angle))


# Layers


def _layers(topology: Topology) -> dict[str, Point]:
    """Hosts below; in each layer nodes stand over the middle of their neighbours below, then beside each other."""
    beside = _neighbours(topology)
    levels = _levels(topology, beside)
    top = max(levels.values(), default=0)
    rows: list[list[str]] = [[] for _ in range(top + 2)]
    for name in topology.node_names:
        rows[levels.get(name, top + 1)].append(name)
    rows = [row for row in rows if row]
    order = _untangle(rows, beside)
    widest = max(len(row) for row in rows)
    points = {}
    for height, row in enumerate(order):
        step = widest / len(row)
        for index, name in enumerate(row):
            points[name] = ((index + 0.5) * step * 0.8, -1.4 * height)
    return points


def _untangle(rows: list[list[str]], beside: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Sorts each row by the mean place of its neighbours in the row before, up and down (Sugiyama's barycentres)."""
    place = {name: (index + 0.5) / len(row) for row in rows for index, name in enumerate(row)}
    order = [list(row) for row in rows]
    # First from the top down: what is above has the order of the file.
    for sweep in range(6):
        indices = range(len(order) - 2, -1, -1) if sweep % 2 == 0 else range(1, len(order))
        for index in indices:
            fixed = set(order[index + 1] if sweep % 2 == 0 else order[index - 1])

            def mean(name: str, fixed: set[str] = fixed) -> float:
                near = [place[other] for other in beside[name] if other in fixed]
                return sum(near) / len(near) if near else place[name]

            order[index].sort(key=lambda name, mean=mean: round(mean(name), 9))  # type: ignore[misc]
            for position, name in enumerate(order[index]):
                place[name] = (position + 0.5) / len(order[index])
    return order


# Force


def _force(topology: Topology) -> dict[str, Point]:
    """Each connected part by itself, beside the others, the largest first."""
    beside = _neighbours(topology)
    seen: set[str] = set()
    parts = []
    for name in beside:
        if name not in seen:
            part = list(_distances([name], beside))
            seen.update(part)
            parts.append(sorted(part, key=list(beside).index) if len(part) < 3 else part)
    points: dict[str, Point] = {}
    left = 0.0
    for part in sorted(parts, key=len, reverse=True):
        own = _upright(_stress(part, beside))
        low_x, low_y = min(x for x, _ in own.values()), min(y for _, y in own.values())
        for name, (x, y) in own.items():
            points[name] = (x - low_x + left, y - low_y)
        left = max(x for x, _ in points.values()) + 1.2
    return points


def _stress(names: Sequence[str], beside: Mapping[str, Sequence[str]]) -> dict[str, Point]:
    """Stress by stochastic gradient descent: Zheng, Pawar and Goodman, Graph Drawing by SGD, TVCG 2019.

    Pairs are moved towards the distance that they have in the graph, at first all the way, then less and less.
    """
    numbers = random.Random(1)
    index = {name: position for position, name in enumerate(names)}
    pairs: dict[tuple[int, int], int] = {}
    sources = names if len(names) <= _ALL_PAIRS else numbers.sample(list(names), _PIVOTS)
    for source in sources:
        for other, steps in _distances([source], beside).items():
            if steps:
                a, b = sorted((index[source], index[other]))
                pairs[a, b] = steps
    for name in names:
        for other in beside[name]:
            a, b = sorted((index[name], index[other]))
            pairs[a, b] = 1
    # What hangs on one link alone is nearer, so that the rest has more room.
    ends = {index[name] for name in names if len(beside[name]) == 1} if len(names) > 2 else set()
    terms = [(a, b, steps - _SHORTER * ((a in ends) + (b in ends))) for (a, b), steps in pairs.items()]
    # A circle in the order of a walk is nearer to the end than chance is.
    circle = len(names) / (2 * pi)
    xs = [circle * cos(2 * pi * i / len(names)) + numbers.random() * 0.1 for i in range(len(names))]
    ys = [circle * sin(2 * pi * i / len(names)) + numbers.random() * 0.1 for i in range(len(names))]
    longest = max((steps for _, _, steps in terms), default=1.0)
    first, last = longest**2, 0.05
    decay = log(first / last) / (_ROUNDS - 1)
    for round_ in range(_ROUNDS):
        rate = first * exp(-decay * round_)
        numbers.shuffle(terms)
        for a, b, wanted in terms:
            dx, dy = xs[a] - xs[b], ys[a] - ys[b]
            is_now = hypot(dx, dy) or 1e-9
            move = min(1.0, rate / (wanted * wanted)) * (is_now - wanted) / (2 * is_now)
            xs[a] -= move * dx
            ys[a] -= move * dy
            xs[b] += move * dx
            ys[b] += move * dy
    return {name: (xs[position], ys[position]) for name, position in index.items()}


def _upright(points: dict[str, Point]) -> dict[str, Point]:
    """Turned so that the drawing is wider than high, and the first node in the left upper half."""
    count = len(points)
    mx, my = sum(x for x, _ in points.values()) / count, sum(y for _, y in points.values()) / count
    sxx = sum((x - mx) ** 2 for x, _ in points.values())
    syy = sum((y - my) ** 2 for _, y in points.values())
    sxy = sum((x - mx) * (y - my) for x, y in points.values())
    angle = -0.5 * atan2(2 * sxy, sxx - syy)
    turned = {
        name: ((x - mx) * cos(angle) - (y - my) * sin(angle), (x - mx) * sin(angle) + (y - my) * cos(angle))
        for name, (x, y) in points.items()
    }
    x, y = next(iter(turned.values()))
    flip_x, flip_y = (-1 if x > 0 else 1), (-1 if y > 0 else 1)
    return {name: (x * flip_x, y * flip_y) for name, (x, y) in turned.items()}


def _length(a: Point, b: Point) -> float:
    return hypot(a[0] - b[0], a[1] - b[1])
