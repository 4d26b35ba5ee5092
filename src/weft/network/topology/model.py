"""The graph of a lab: nodes, links between them, and what a link can carry.

Built by `reader`, which checks; here are only facts. Link metrics are as routing protocols have them: a cost of
1 to 65535 (RFC 2328, 8.1), the same in both directions.
"""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from typing import Literal

State = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Router:
    """A node that forwards. With `routing` "none" it gets no routes, and none lead through it."""

    name: str
    loopback: IPv4Address | None = None
    routing: Literal["spf", "none"] = "spf"


@dataclass(frozen=True, slots=True)
class Switch:
    """A node that joins its links into one Ethernet segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Host:
    """A node that sends and receives, and never forwards."""

    name: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link; the address is the user's wish, None means: the controller chooses."""

    node: str
    address: IPv4Interface | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """`capacity` in bit/s, 0 for as fast as the kernel; `delay` in microseconds; `loss` as a share of 1."""

    name: str
    a: Endpoint
    b: Endpoint
    capacity: int = 0
    delay: int = 0
    loss: float = 0.0
    cost: int = 1
    state: State = "up"

    def other(self, node: str) -> Endpoint:
        return self.b if node == self.a.node else self.a

    def end(self, node: str) -> Endpoint:
        return self.a if node == self.a.node else self.b


@dataclass(frozen=True, slots=True)
class Segment:
    """What shares one subnet: a link between two nodes, or the links that switches join.

    `ends` are the ends that get addresses, with the link that each belongs to.
    """

    links: tuple[Link, ...]
    ends: tuple[tuple[Link, Endpoint], ...]


@dataclass(frozen=True)
class Topology:
    """A lab. Names are unique among all nodes, and among links."""

    name: str
    routers: tuple[Router, ...] = ()
    switches: tuple[Switch, ...] = ()
    hosts: tuple[Host, ...] = ()
    links: tuple[Link, ...] = ()

    @cached_property
    def router_names(self) -> frozenset[str]:
        return frozenset(router.name for router in self.routers)

    @cached_property
    def switch_names(self) -> frozenset[str]:
        return frozenset(switch.name for switch in self.switches)

    @cached_property
    def transit_names(self) -> frozenset[str]:
        """The routers that routes may lead through."""
        return frozenset(router.name for router in self.routers if router.routing == "spf")

    @property
    def node_names(self) -> list[str]:
        return [node.name for nodes in (self.routers, self.switches, self.hosts) for node in nodes]

    def segments(self, *, up: frozenset[str] | None = None) -> list[Segment]:
        """The Ethernet segments in the order of their first link; with `up`, of only the links so named.

        A link that is down parts what switches have joined, and a segment becomes several islands.
        """
        links = [link for link in self.links if up is None or link.name in up]
        parent: dict[str, str] = {link.name: link.name for link in links}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        at_switch: dict[str, str] = {}
        for link in links:
            for end in (link.a, link.b):
                if end.node in self.switch_names:
                    first = at_switch.setdefault(end.node, link.name)
                    parent[find(link.name)] = find(first)
        groups: dict[str, list[Link]] = {}
        for link in links:
            groups.setdefault(find(link.name), []).append(link)
        return [
            Segment(
                tuple(group),
                tuple((link, end) for link in group for end in (link.a, link.b) if end.node not in self.switch_names),
            )
            for group in groups.values()
        ]
