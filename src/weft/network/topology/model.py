"""The graph of a lab: nodes, links between them, and what a link can carry.

Built by `reader`, which checks; here are only facts. Link metrics are as routing protocols have them: a cost of
1 to 65535 (RFC 2328, 8.1), the same in both directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from typing import Literal

from weft.network.routing.authentication import Authentication
from weft.network.topology.settings import (
    AreaSettings,
    BfdSettings,
    OspfSettings,
    Protocol,
    Redistribution,
    RipSettings,
    RoutingSettings,
    SpfDelay,
    StaticRoute,
)

__all__ = [
    "ACTIONS",
    "Action",
    "AreaSettings",
    "Authentication",
    "BfdSettings",
    "Endpoint",
    "Host",
    "Link",
    "OspfSettings",
    "Protocol",
    "Redistribution",
    "RipSettings",
    "Router",
    "RoutingSettings",
    "ScheduledEvent",
    "Segment",
    "SpfDelay",
    "State",
    "StaticRoute",
    "Switch",
    "SwitchDataplane",
    "Topology",
    "routing_of",
]

State = Literal["up", "down"]
SwitchDataplane = Literal["linux", "openflow"]
Action = Literal["cut", "restore", "flap", "loss", "reorder", "partition", "heal", "kill", "start"]
ACTIONS: tuple[Action, ...] = ("cut", "restore", "flap", "loss", "reorder", "partition", "heal", "kill", "start")


@dataclass(frozen=True, slots=True)
class Router:
    """A node that forwards. `settings` are the lab's with the router's own over them.

    With `routing` "none" it gets no routes, and none lead through it.
    """

    name: str
    loopback: IPv4Address | None = None
    settings: RoutingSettings = field(default_factory=RoutingSettings)
    static: tuple[StaticRoute, ...] = ()

    @property
    def routing(self) -> Protocol:
        return self.settings.protocol


def routing_of(router: Router) -> RoutingSettings:
    """What a router runs, with the lab's defaults filled in."""
    return router.settings


@dataclass(frozen=True, slots=True)
class Switch:
    """A node that joins its links into one Ethernet segment: a bridge of the kernel, or a datapath of Open vSwitch."""

    name: str
    dataplane: SwitchDataplane = "linux"


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
    """`capacity` in bit/s, 0 for as fast as the kernel; `delay` and `jitter` in microseconds; `loss` as a share of 1.

    `mtu` None: the kernel's. `area` None: that of the routers. `bfd` None: as the routers say. Links with a
    shared-risk group in common fail together (RFC 4203, 1.3).
    """

    name: str
    a: Endpoint
    b: Endpoint
    capacity: int = 0
    delay: int = 0
    loss: float = 0.0
    cost: int = 1
    state: State = "up"
    jitter: int = 0
    mtu: int | None = None
    area: IPv4Address | None = None
    shared_risk_groups: tuple[str, ...] = ()
    bfd: BfdSettings | Literal["off"] | None = None

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


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """What happens to a lab `at` seconds after it is up. Names of shared-risk groups are resolved to `links`.

    flap: `links` go down and up again `count` times, each time `period` apart (down for half of it). loss, reorder:
    `share` of the packets on `links`. partition: links between two of `groups` are cut; heal: they are restored.
    """

    at: float
    action: Action
    links: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    period: float = 0.0
    count: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class Topology:
    """A lab. Names are unique among all nodes, and among links. `routing` is what routers have that say nothing.

    `schedule` is in the order of time. `places` are longitude and latitude of nodes, where known; only drawings and
    delays come of them.
    """

    name: str
    routers: tuple[Router, ...] = ()
    switches: tuple[Switch, ...] = ()
    hosts: tuple[Host, ...] = ()
    links: tuple[Link, ...] = ()
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    schedule: tuple[ScheduledEvent, ...] = ()
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)

    @cached_property
    def router_by_name(self) -> Mapping[str, Router]:
        return {router.name: router for router in self.routers}

    def area_of(self, link: Link, router: str) -> IPv4Address:
        """The OSPF area of a router's end of a link."""
        return link.area if link.area is not None else self.router_by_name[router].settings.ospf.area

    def bfd_of(self, link: Link, router: str) -> BfdSettings | None:
        """What a router's end of a link runs; None is off."""
        if link.bfd is None:
            return self.router_by_name[router].settings.bfd
        return None if link.bfd == "off" else link.bfd

    @cached_property
    def ospf_areas(self) -> frozenset[IPv4Address]:
        """Those that OSPF routers are in."""
        return frozenset(
            self.area_of(link, end.node)
            for link in self.links
            for end in (link.a, link.b)
            if end.node in self.router_names and self.router_by_name[end.node].routing == "ospf"
        )

    @cached_property
    def router_names(self) -> frozenset[str]:
        return frozenset(router.name for router in self.routers)

    @cached_property
    def switch_names(self) -> frozenset[str]:
        return frozenset(switch.name for switch in self.switches)

    @cached_property
    def forwarding_names(self) -> frozenset[str]:
        """The routers that have routes, by whichever protocol."""
        return frozenset(router.name for router in self.routers if router.routing != "none")

    @cached_property
    def transit_names(self) -> frozenset[str]:
        """The routers that the controller's routes may lead through."""
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
