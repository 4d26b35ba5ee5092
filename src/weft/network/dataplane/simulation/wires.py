"""The links of a simulated network: who hears what, when, and what is lost on the way.

In: packets with the end that they leave by; links that go down, lose, reorder. Out: packets with the end that they
reach, after the link's delay. Switches join their links into one segment, as Ethernet does.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weft.network.dataplane.simulation.agenda import Agenda
from weft.network.routing.protocol import Address
from weft.network.topology.addresses import Addresses
from weft.network.topology.model import Link, Topology

# What two namespaces and the stack between them take, where the lab file says no delay.
_LEAST_DELAY = 20e-6
# A packet that is overtaken comes this much later, so that the ones behind it are there first.
_OVERTAKEN = 5e-3


@dataclass(slots=True)
class Wire:
    """A link as it is now. `loss` and `reorder` are shares of the packets."""

    link: Link
    delay: float
    jitter: float
    loss: float
    reorder: float = 0.0
    up: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """An end with an address: of a router or a host, by the link's name."""

    node: str
    link: str
    address: Address


Deliver = Callable[[Port, Port, Any], None]


class Wires:
    """`deliver` is called with the port that sent, the port that receives, and what was sent."""

    def __init__(
        self, topology: Topology, addresses: Addresses, agenda: Agenda, rng: random.Random, deliver: Deliver
    ) -> None:
        self._topology = topology
        self._agenda = agenda
        self._rng = rng
        self._deliver = deliver
        self.wires = {link.name: _wire(link) for link in topology.links}
        self.ports = {
            (node, link): Port(node, link, interface.ip) for (link, node), interface in addresses.interfaces.items()
        }
        self._beside: dict[Port, tuple[Port, ...]] = {}
        self._join()

    def _join(self) -> None:
        """Who hears whom, with the links as they are now."""
        self._beside = dict.fromkeys(self.ports.values(), ())
        up = frozenset(name for name, wire in self.wires.items() if wire.up)
        for segment in self._topology.segments(up=up):
            ports = [self.ports[end.node, link.name] for link, end in segment.ends]
            for port in ports:
                self._beside[port] = tuple(other for other in ports if other is not port)

    def set_up(self, link: str, up: bool) -> None:
        wire = self.wires[link]
        if wire.up == up:
            return
        wire.up = up
        ends = [self.ports.get((end.node, link)) for end in (wire.link.a, wire.link.b)]
        if any(port is None for port in ends):  # a switch is at the other end
            self._join()
            return
        for port, other in ((ends[0], ends[1]), (ends[1], ends[0])):
            if port is not None and other is not None:
                self._beside[port] = (other,) if up else ()

    def neighbour(self, port: Port, address: Address) -> Port | None:
        """Who has an address on the port's segment."""
        return next((other for other in self._beside[port] if other.address == address), None)

    def loss(self, port: Port, other: Port) -> float:
        """The share of packets lost from one port to another of its segment."""
        if port.link == other.link:
            return self.wires[port.link].loss
        return 1 - (1 - self.wires[port.link].loss) * (1 - self.wires[other.link].loss)

    def send(self, port: Port, destination: Address, what: Any) -> None:
        """To all on the segment for a multicast, else to who has the address."""
        for other in self._beside[port]:
            if not destination.is_multicast and other.address != destination:
                continue
            wire = self.wires[port.link]
            delay, jitter, loss, reorder = wire.delay, wire.jitter, wire.loss, wire.reorder
            if other.link != port.link:
                second = self.wires[other.link]
                delay, jitter = delay + second.delay, jitter + second.jitter
                loss, reorder = self.loss(port, other), max(reorder, second.reorder)
            if loss and self._rng.random() < loss:
                continue
            if jitter:
                delay += self._rng.uniform(0, jitter)
            if reorder and self._rng.random() < reorder:
                delay += _OVERTAKEN
            self._agenda.after(delay, self._arrive, port, other, what)

    def _arrive(self, port: Port, other: Port, what: Any) -> None:
        """What is on a link when it is cut is lost."""
        if self.wires[port.link].up and self.wires[other.link].up:
            self._deliver(port, other, what)


def _wire(link: Link) -> Wire:
    delay = max(link.delay * 1e-6, _LEAST_DELAY)
    return Wire(link, delay, link.jitter * 1e-6, link.loss, up=link.state == "up")
