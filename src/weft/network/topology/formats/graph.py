"""What all formats come to: nodes and links with attributes, as the file had them; and a lab made of these.

Attributes are known by several names, in any case: those of the Topology Zoo (LinkSpeedRaw, Latitude, Longitude) and
those that people choose (capacity, bandwidth, weight, cost, delay, latency).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from weft.core.errors import InvalidError
from weft.network.topology.building import Builder, Options
from weft.network.topology.geography import Place
from weft.network.topology.model import Topology
from weft.network.topology.units import parse_delay, parse_rate

_MOST_RATE = 10**13
_LEAST_RATE = 8_000
_MOST_COST = 65535


class FormatError(InvalidError):
    """`abilene.gml:12: cannot ...`."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}")


@dataclass(frozen=True, slots=True)
class Node:
    """`id` is what links say; `line` is where it stands."""

    id: str
    label: str
    place: Place | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """0 capacity, None for cost and delay: the file does not say. Capacity in bit/s, delay in microseconds.

    `unread`: it says something that no link can have.
    """

    source: str
    target: str
    capacity: int = 0
    delay: int | None = None
    cost: int | None = None
    unread: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """`directed`: a link there and one back are one. `notes` say what was left out."""

    file: str
    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    directed: bool = False
    notes: tuple[str, ...] = field(default=())


def to_topology(graph: Graph, options: Options) -> tuple[Topology, list[str]]:
    """The lab, and what of the graph it does not have. Raises FormatError.

    Links side by side stay so, but for those there and back of a directed graph. Loops are left out.
    """
    notes = list(graph.notes)
    names: dict[str, str] = {}
    loops = 0
    try:
        builder = Builder(options, graph.name)
        for node in graph.nodes:
            if node.id in names:
                raise FormatError(graph.file, node.line, f"there are two nodes {node.id!r}")
            names[node.id] = builder.router(node.label or node.id, node.place)
        open_ended: dict[tuple[str, str], int] = {}
        for edge in graph.edges:
            for end in (edge.source, edge.target):
                if end not in names:
                    raise FormatError(graph.file, edge.line, f"there is no node {end!r}")
            if edge.source == edge.target:
                loops += 1
                continue
            back = (edge.target, edge.source)
            if graph.directed and open_ended.get(back):
                open_ended[back] -= 1
                continue
            open_ended[back[::-1]] = open_ended.get(back[::-1], 0) + 1
            a, b = names[edge.source], names[edge.target]
            builder.link(a, b, capacity=edge.capacity, delay=edge.delay, cost=edge.cost)
        topology = builder.build()
    except FormatError:
        raise
    except InvalidError as error:
        raise FormatError(graph.file, 1, str(error)) from error
    if loops:
        notes.append(f"{loops} {'link' if loops == 1 else 'links'} from a node to itself left out")
    if unread := sum(edge.unread for edge in graph.edges):
        notes.append(f"{unread} of {len(graph.edges)} links say a capacity, delay or cost that no link can have")
    if missing := sum(node.place is None for node in graph.nodes) if topology.places else 0:
        notes.append(f"{missing} of {len(graph.nodes)} nodes have no place; their links have no delay by distance")
    return topology, notes


class Attributes:
    """A node's or link's attributes by lower-case name; the first that is known and can be read counts."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        self.unread = False
        self._raw = {key.lower(): value.strip() for key, value in raw.items()}

    def text(self, *names: str) -> str:
        return next((self._raw[name] for name in names if self._raw.get(name)), "")

    def place(self) -> Place | None:
        longitude = _number(self.text("longitude", "lon", "lng", "long"))
        latitude = _number(self.text("latitude", "lat"))
        return as_place(longitude, latitude)

    def capacity(self) -> int:
        """Bit/s, or a rate such as 10Gbit; 0 where it says none that a link can have."""
        text = self.text("linkspeedraw", "capacity", "bandwidth", "bw")
        if not text and (units := self.text("linkspeedunits")):
            # The Topology Zoo's first files have `LinkSpeed "10"` and `LinkSpeedUnits "G"`, and no raw number.
            text = f"{self.text('linkspeed')}{units}bit"
        number = _number(text)
        return self._read(text, parse_rate if number is None else lambda _: as_rate(number)) or 0

    def delay(self) -> int | None:
        """A number is of milliseconds; or a time such as 5ms."""
        text = self.text("delay", "latency")
        return self._read(f"{text}ms" if text and _number(text) is not None else text, parse_delay)

    def cost(self) -> int | None:
        text = self.text("cost", "metric", "weight")
        number = _number(text)
        return self._read(text, lambda _: None if number is None else as_cost(number))

    def _read(self, text: str, parse: Callable[[str], int | None]) -> int | None:
        try:
            found = parse(text) if text else None
        except ValueError:
            found = None
        self.unread |= bool(text) and not found and _number(text) != 0
        return found


def as_place(longitude: float | None, latitude: float | None) -> Place | None:
    if longitude is None or latitude is None or abs(longitude) > 180 or abs(latitude) > 90:
        return None
    return longitude, latitude


def as_rate(number: float) -> int:
    return round(number) if _LEAST_RATE <= number <= _MOST_RATE else 0


def as_cost(number: float) -> int | None:
    """The nearest cost that routing protocols have; None where there is no sense in it."""
    if number <= 0:
        return None
    return max(1, min(_MOST_COST, round(number)))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
