"""A lab in virtual time: the routers and controller that run in namespaces, on simulated links.

In: a topology, a seed, and from then on what is done to links and nodes. Out: forwarding, hop by hop, by the same
tables; what changed last and how many packets each protocol sent. Deterministic: the same calls with the same seed give
the same run. Who is next: `watch` looks at flows, `lab` runs a schedule.

Routers run their protocols as `routing.daemon` does. The controller hears of links at once, computes all routes anew
and hands them down, each router's a little later than another's; both times are of the size that `bench/convergence.py`
measures on a machine.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from weft.network.controller.routes import Route as ComputedRoute
from weft.network.controller.routes import compute_routes
from weft.network.dataplane.simulation.agenda import Agenda
from weft.network.dataplane.simulation.wires import Port, Wires
from weft.network.routing.daemon.announced import Objects
from weft.network.routing.daemon.assembly import assemble, static_routes
from weft.network.routing.daemon.plan import Beside, Circuit, Plan, plan
from weft.network.routing.protocol import Interface, PacketReceived
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route
from weft.network.routing.router import Forward, Output, Router, Transmit
from weft.network.topology.addresses import Addresses, allocate
from weft.network.topology.model import Link, Topology
from weft.network.topology.names import interface_name
from weft.network.topology.writer import link_spec, router_spec

# From a link's change to the controller's new routes in a router, and how far routers are apart in this.
CONTROLLER_SECONDS = 0.015
INSTALL_SECONDS = 0.005
# Daemons do not start at the same instant.
_START_SECONDS = 0.1
_TTLS = {"ospf": 1, "rip": 1, "bfd": 255}


@dataclass(slots=True)
class Node:
    """A router or a host; of a host, `router` has no protocols. `timer` is the time that it is to be woken at."""

    name: str
    router: Router
    ports: dict[str, Port]  # by interface
    interfaces: dict[str, Interface]
    owned: frozenset[IPv4Address]
    made: Plan | None = None
    alive: bool = True
    timer: float | None = None
    generation: int = 0


@dataclass
class Counts:
    """Packets sent and their bytes, by protocol."""

    packets: Counter[str] = field(default_factory=Counter)
    octets: Counter[str] = field(default_factory=Counter)


class SimulatedNetwork:
    """`changed` is called with the name of each node whose forwarding is another than before."""

    def __init__(
        self,
        topology: Topology,
        *,
        seed: int = 1,
        changed: Callable[[str], object] = lambda name: None,
        policies: Objects | None = None,
    ) -> None:
        self.topology = topology
        self.addresses: Addresses = allocate(topology)
        self.agenda = Agenda()
        self.counts = Counts()
        self.last_change = 0.0
        self._seed = seed
        self._policies = policies or {}
        self._rng = random.Random(f"{seed} network")
        self._changed = changed
        self.wires = Wires(topology, self.addresses, self.agenda, random.Random(f"{seed} wires"), self._deliver)
        self._circuits = _circuits(topology)
        self.nodes: dict[str, Node] = {}
        for router in topology.routers:
            self.nodes[router.name] = self._make(router.name)
        for host in topology.hosts:
            self.nodes[host.name] = self._make(host.name)
        self._links_at: dict[str, list[Link]] = {name: [] for name in topology.node_names}
        for link in topology.links:
            for end in (link.a, link.b):
                self._links_at[end.node].append(link)
        self._computing = False
        self._controlled = bool(topology.hosts) or any(each.routing == "spf" for each in topology.routers)
        for node in self.nodes.values():
            self.agenda.at(self._rng.uniform(0, _START_SECONDS), self._boot, node, node.generation)
        self._compute()

    # What may be done to it

    def set_link(self, name: str, up: bool) -> None:
        """Both ends lose or get their carrier."""
        wire = self.wires.wires[name]
        if wire.up == up:
            return
        self.wires.set_up(name, up)
        for end in (wire.link.a, wire.link.b):
            node = self.nodes.get(end.node)
            port = self.wires.ports.get((end.node, name))
            if node is None or port is None:
                continue
            interface = interface_name(name)
            old = node.interfaces[interface]
            node.interfaces[interface] = Interface(old.name, old.address, old.mtu, up)
            self._note(node.name)
            if node.alive:
                self._carry_out(node, node.router.set_interfaces(node.interfaces.values(), self.agenda.now))
        self._compute()

    def set_loss(self, name: str, share: float) -> None:
        """A loss of 1 is a link that fails without a word: both carriers stay."""
        self.wires.wires[name].loss = share
        for end in (self.wires.wires[name].link.a, self.wires.wires[name].link.b):
            self._note(end.node)

    def set_reorder(self, name: str, share: float) -> None:
        self.wires.wires[name].reorder = share

    def kill(self, name: str) -> None:
        """A node stops without a word: it neither forwards nor answers; its neighbours' carriers stay. A switch takes
        its links with it."""
        if name in self.topology.switch_names:
            for link in self._links_at[name]:
                self.set_link(link.name, False)
            return
        node = self.nodes[name]
        node.alive = False
        node.generation += 1
        node.timer = None
        self._note(name)

    def start(self, name: str) -> None:
        """A node that was killed begins anew, knowing nothing."""
        if name in self.topology.switch_names:
            for link in self._links_at[name]:
                self.set_link(link.name, True)
            return
        if self.nodes[name].alive:
            return
        generation = self.nodes[name].generation + 1
        node = self.nodes[name] = self._make(name)
        node.generation = generation
        self._boot(node, generation)
        self._compute()

    def run(self, until: float) -> None:
        self.agenda.run(until)

    # How it forwards

    def step(self, name: str, destination: IPv4Address, flow: int) -> Port | str:
        """The port that a packet goes to from a node, or why it goes no further. `flow` chooses among equals."""
        node = self.nodes[name]
        route = node.router.rib.lookup(destination)
        if route is None:
            return "no route"
        if not route.next_hops:
            return "blackhole"
        hop = route.next_hops[flow % len(route.next_hops)] if len(route.next_hops) > 1 else route.next_hops[0]
        port = node.ports.get(hop.interface)
        if port is None or not node.interfaces[hop.interface].up:
            return "link down"
        address = hop.via if hop.via is not None else destination
        other = self.wires.neighbour(port, address)
        if other is None:
            return "no neighbour"
        if not self.nodes[other.node].alive:
            return "dead router"
        if self.wires.loss(port, other) >= 1:
            return "lost"
        return other

    # Inside

    def _make(self, name: str) -> Node:
        ports, interfaces, owned = {}, {}, set()
        loopback = self.addresses.loopbacks.get(name)
        if loopback is not None:
            interfaces["lo"] = Interface("lo", IPv4Interface(loopback))
            owned.add(loopback)
        for link, _ in self._circuits[name]:
            address = self.addresses.interfaces[link.name, name]
            interface = interface_name(link.name)
            ports[interface] = self.wires.ports[name, link.name]
            up = self.wires.wires[link.name].up
            interfaces[interface] = Interface(interface, address, link.mtu or 1500, up)
            owned.add(address.ip)
        router = self.topology.router_by_name.get(name)
        if router is None:
            return Node(name, Router({}), ports, interfaces, frozenset(owned))
        spec = {"node": name, "loopback": f"{loopback}/32", **router_spec(router)}
        made = plan(spec, [circuit for _, circuit in self._circuits[name]], self._policies)
        assembled = assemble(made, f"{self._seed} {name}")
        return Node(name, assembled, ports, interfaces, frozenset(owned), made)

    def _boot(self, node: Node, generation: int) -> None:
        if node.generation != generation or not node.alive:
            return
        now = self.agenda.now
        self._carry_out(node, node.router.set_interfaces(node.interfaces.values(), now))
        if node.made is not None:
            self._carry_out(node, node.router.replace("static", static_routes(node.made), now))

    def _deliver(self, port: Port, other: Port, sent: Transmit) -> None:
        node = self.nodes[other.node]
        if not node.alive or sent.protocol not in node.router.protocols:
            return
        event = PacketReceived(
            interface_name(other.link), port.address, sent.send.destination, sent.send.data, _TTLS[sent.protocol]
        )
        self._carry_out(node, node.router.handle(sent.protocol, event, self.agenda.now))

    def _wake(self, node: Node, generation: int, when: float) -> None:
        if node.generation == generation and node.timer == when:
            node.timer = None
            self._carry_out(node, node.router.fire(self.agenda.now))

    def _carry_out(self, node: Node, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case Transmit(protocol, send):
                    self.counts.packets[protocol] += 1
                    self.counts.octets[protocol] += len(send.data)
                    if (port := node.ports.get(send.interface)) is not None:
                        self.wires.send(port, send.destination, output)
                case Forward():
                    self._note(node.name)
        when = node.router.next_timer()
        if when != node.timer:
            node.timer = when
            if when is not None:
                self.agenda.at(when, self._wake, node, node.generation, when)

    def _note(self, name: str) -> None:
        self.last_change = self.agenda.now
        self._changed(name)

    def _compute(self) -> None:
        if self._controlled and not self._computing:
            self._computing = True
            self.agenda.after(CONTROLLER_SECONDS, self._hand_down)

    def _hand_down(self) -> None:
        self._computing = False
        up = frozenset(name for name, wire in self.wires.wires.items() if wire.up)
        for name, routes in compute_routes(self.topology, self.addresses, up).items():
            node = self.nodes[name]
            converted = [_converted(route) for route in routes]
            self.agenda.after(self._rng.uniform(0, INSTALL_SECONDS), self._install, node, node.generation, converted)

    def _install(self, node: Node, generation: int, routes: list[Route]) -> None:
        if node.generation == generation and node.alive:
            self._carry_out(node, node.router.replace("spf", routes, self.agenda.now))


def _converted(route: ComputedRoute) -> Route:
    hops = tuple(NextHop(interface_name(hop.link), hop.via, hop.weight) for hop in route.next_hops)
    return Route(route.destination, hops, "spf", PREFERENCES["spf"], route.metric)


def _circuits(topology: Topology) -> dict[str, list[tuple[Link, Circuit]]]:
    """Of every node but switches its links, as a router's daemon is told of them."""
    kinds: dict[str, Beside] = dict.fromkeys(topology.router_names, "router")
    kinds |= dict.fromkeys(topology.switch_names, "switch")
    found: dict[str, list[tuple[Link, Circuit]]] = {
        name: [] for name in topology.node_names if name not in topology.switch_names
    }
    for link in sorted(topology.links, key=lambda link: link.name):
        for mine, other in ((link.a, link.b), (link.b, link.a)):
            if mine.node in found:
                area = str(link.area) if link.area is not None else None
                beside = kinds.get(other.node, "host")
                bfd = link_spec(link).get("bfd")
                found[mine.node].append((link, Circuit(interface_name(link.name), beside, link.cost, area, bfd)))
    return found
