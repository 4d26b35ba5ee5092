"""Labs put together from a bare graph: what generators and readers of other formats have in common.

In: nodes and links one by one, with options for what the source leaves open. Out: a topology that `reader` would
accept, or InvalidError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft.core.errors import InvalidError
from weft.network.topology.geography import Place, fibre_delay
from weft.network.topology.labels import Labels
from weft.network.topology.model import Endpoint, Host, Link, Router, RoutingSettings, Topology
from weft.network.topology.reader import MAX_LINKS, MAX_NODES


@dataclass(frozen=True, slots=True)
class Options:
    """`hosts` go to each router that may have some; `capacity` in bit/s and `delay` in microseconds are of links that
    do not say, between routers; `geographic` gives these the delay of a fibre where both places are known."""

    name: str = ""
    hosts: int = 0
    capacity: int = 0
    delay: int = 0
    cost: int = 1
    geographic: bool = True
    routing: RoutingSettings = field(default_factory=RoutingSettings)

    def __post_init__(self) -> None:
        if self.hosts < 0:
            raise InvalidError("cannot give a router fewer than no hosts")


class Builder:
    """Nodes first, then links between them."""

    def __init__(self, options: Options, name: str) -> None:
        self._options = options
        self._name = Labels().unique(options.name or name, "lab")
        self._nodes = Labels()
        self._link_names = Labels()
        self._routers: list[Router] = []
        self._hosts: list[Host] = []
        self._links: list[Link] = []
        self._places: dict[str, Place] = {}

    def router(self, name: str, place: Place | None = None) -> str:
        """Returns the name that it has in the lab."""
        self._room(len(self._routers) + len(self._hosts), MAX_NODES, "nodes")
        label = self._nodes.unique(name, "router")
        self._routers.append(Router(label, settings=self._options.routing))
        if place is not None:
            self._places[label] = place
        return label

    def host(self, name: str, router: str) -> str:
        self._room(len(self._routers) + len(self._hosts), MAX_NODES, "nodes")
        label = self._nodes.unique(name, "host")
        self._hosts.append(Host(label))
        self._add(Link("", Endpoint(label), Endpoint(router), capacity=self._options.capacity))
        return label

    def link(
        self, a: str, b: str, *, capacity: int = 0, delay: int | None = None, cost: int | None = None, name: str = ""
    ) -> None:
        """Of two routers; what is left out comes of the options."""
        options = self._options
        if delay is None:
            delay = options.delay
            if options.geographic and a in self._places and b in self._places:
                delay = fibre_delay(self._places[a], self._places[b])
        capacity = capacity or options.capacity
        cost = options.cost if cost is None else cost
        self._add(Link(name, Endpoint(a), Endpoint(b), capacity=capacity, delay=delay, cost=cost))

    def _add(self, link: Link) -> None:
        self._room(len(self._links), MAX_LINKS, "links")
        name = self._link_names.unique(link.name or f"{link.a.node}-{link.b.node}", "link")
        self._links.append(Link(name, link.a, link.b, link.capacity, link.delay, link.loss, link.cost))

    def _room(self, count: int, most: int, things: str) -> None:
        if count >= most:
            raise InvalidError(f"cannot make lab {self._name}: it has more than {most} {things}")

    def build(self, hosts_at: Mapping[str, int] | None = None) -> Topology:
        """`hosts_at` in place of the options: how many hosts each router gets."""
        counts = hosts_at if hosts_at is not None else {router.name: self._options.hosts for router in self._routers}
        number = 0
        for router, count in counts.items():
            for _ in range(count):
                number += 1
                self.host(f"h{number}", router)
        if not self._routers:
            raise InvalidError(f"cannot make lab {self._name}: it has no nodes")
        return Topology(
            self._name,
            tuple(self._routers),
            (),
            tuple(self._hosts),
            tuple(self._links),
            self._options.routing,
            places=self._places,
        )
