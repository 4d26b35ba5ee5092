"""OSPFv2 (RFC 2328) as a sans-IO core: events in, actions out; the parts of this package do the work.

`Ospf` is a `protocol.RoutingProtocol`: its packets are the payload of IP packets of protocol 89.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.network.routing.ospf.adjacency import Adjacency
from weft.network.routing.ospf.config import OspfConfig
from weft.network.routing.ospf.database import Entry
from weft.network.routing.ospf.flooding import Flooding
from weft.network.routing.ospf.lsa import NETWORK, ROUTER, LsaHeader
from weft.network.routing.ospf.origination import Origination
from weft.network.routing.ospf.packet import (
    DatabaseDescription,
    Hello,
    LinkStateAck,
    LinkStateRequest,
    LinkStateUpdate,
    decode,
)
from weft.network.routing.ospf.ranges import discarded
from weft.network.routing.ospf.routes import Calculation, Table, differences, is_border
from weft.network.routing.ospf.state import (
    ALL_DESIGNATED,
    NAMES,
    Circuit,
    Instance,
    InterfaceState,
    Neighbor,
    NeighborState,
    Pace,
)
from weft.network.routing.protocol import (
    Action,
    Event,
    Interface,
    InterfaceChanged,
    InterfaceRemoved,
    NeighborLost,
    Notice,
    PacketError,
    PacketReceived,
    Redistribute,
    RouteUpdate,
    Shutdown,
    TimerFired,
)
from weft.network.routing.rib.routes import PREFERENCES, Route


@dataclass(frozen=True, slots=True)
class NeighborStatus:
    """A neighbour for people's eyes."""

    interface: str
    router_id: IPv4Address
    address: IPv4Address
    state: str
    role: str  # "DR", "Backup", "DROther", or "-" on point-to-point networks


class Ospf:
    """One router. `spf_runs` counts how often the routes were computed."""

    def __init__(self, config: OspfConfig) -> None:
        self._config = config
        self._instance = Instance(config)
        self._adjacency = Adjacency(self._instance, self._circuit_changed)
        self._flooding = Flooding(self._instance, self._lsa_changed, self._own_returned, self._mismatch, self._buried)
        self._origination = Origination(self._instance, self._flooding)
        self._calculation = Calculation(self._instance)
        self._spf_pace = Pace(config.spf_throttle)
        self._table = Table()
        self._discarded: set[IPv4Network] = set()  # 11.1: active ranges

    @property
    def spf_runs(self) -> int:
        return self._calculation.runs

    def next_timer(self) -> float | None:
        return self._instance.timers.next()

    def neighbors(self) -> list[NeighborStatus]:
        found = []
        for circuit in self._instance.circuits.values():
            for each in circuit.neighbors.values():
                roles = {circuit.designated: "DR", circuit.backup: "Backup"}
                role = "-" if circuit.is_point_to_point else roles.get(int(each.address), "DROther")
                router = IPv4Address(each.router)
                found.append(NeighborStatus(circuit.name, router, each.address, NAMES[each.state], role))
        return found

    def database(self, area: IPv4Address | None, now: float) -> list[LsaHeader]:
        """The headers of all LSAs of an area, or with None of all AS-external LSAs, sorted by key."""
        held = self._instance.external if area is None else self._instance.area(int(area)).database
        return sorted((entry.lsa.header(entry.age_at(now)) for entry in held), key=lambda header: header.key)

    def handle(self, event: Event, now: float) -> Sequence[Action]:
        instance = self._instance
        instance.now = now
        instance.actions = []
        if instance.is_stopping:
            return []
        match event:
            case PacketReceived():
                self._received(event)
            case TimerFired():
                for what, name, neighbor in instance.timers.expired(now):
                    self._timer(what, name, neighbor)
            case InterfaceChanged(interface):
                self._interface_changed(interface)
            case InterfaceRemoved(name):
                if (circuit := instance.circuits.get(name)) is not None:
                    self._adjacency.interface_down(circuit)
                    del instance.circuits[name]
            case NeighborLost(name, address):
                self._neighbor_lost(name, address)
            case Redistribute(routes, withdrawn):
                for prefix in withdrawn:
                    if isinstance(prefix, IPv4Network):
                        self._origination.external.pop(prefix, None)
                self._origination.external |= {
                    route.prefix: route for route in routes if isinstance(route.prefix, IPv4Network)
                }
                self._origination.is_dirty = True
            case Shutdown():
                self._shut_down()
        self._finish()
        return instance.actions

    def _finish(self) -> None:
        # Flooding may bring LSAs of ours back, and what was buried may let others be originated.
        for _ in range(3):
            if self._origination.is_dirty:
                self._origination.sync()
            self._flooding.finish()
            if not self._origination.is_dirty:
                return

    # Packets (8.2)

    def _received(self, event: PacketReceived) -> None:
        instance = self._instance
        circuit = instance.circuits.get(event.interface)
        if circuit is None or circuit.state <= InterfaceState.LOOPBACK or circuit.config.passive:
            return
        source = event.source
        if not isinstance(source, IPv4Address) or source == circuit.address.ip:
            return
        if event.destination == ALL_DESIGNATED and circuit.state not in (InterfaceState.DR, InterfaceState.BACKUP):
            return
        try:
            packet = decode(event.data, circuit.config.authentication)
        except PacketError as error:
            instance.notice(circuit, f"packet from {source} refused: {error}")
            return
        if wrong := self._refusal(circuit, source, packet.router, packet.area):
            instance.notice(circuit, f"packet from {source} refused: {wrong}")
            return
        key = packet.router if circuit.is_point_to_point else int(source)
        neighbor = circuit.neighbors.get(key)
        if circuit.config.authentication.digest_length and neighbor is not None:
            if packet.sequence < neighbor.authentication_sequence:
                instance.notice(circuit, f"packet from {source} refused: its authentication sequence number fell")
                return
            neighbor.authentication_sequence = packet.sequence
        match packet.content:
            case Hello():
                self._adjacency.received_hello(circuit, packet.router, source, packet.content)
            case _ if neighbor is None:
                return
            case DatabaseDescription():
                self._adjacency.received_description(circuit, neighbor, packet.content)
            case LinkStateRequest():
                self._flooding.request(circuit, neighbor, packet.content)
            case LinkStateUpdate():
                self._flooding.update(circuit, neighbor, packet.content)
                self._load()
            case LinkStateAck():
                self._flooding.acknowledgement(circuit, neighbor, packet.content)

    def _refusal(self, circuit: Circuit, source: IPv4Address, router: int, area: int) -> str:
        if router == self._instance.router:
            return "its router ID is ours"
        if area != circuit.area:
            return f"its area is {IPv4Address(area)}, not {IPv4Address(circuit.area)}"
        if not circuit.is_point_to_point and source not in circuit.address.network:
            return f"it is not on {circuit.address.network}"
        return ""

    def _load(self) -> None:
        """What was requested may have come, from whomever."""
        for circuit in self._instance.circuits.values():
            for neighbor in circuit.neighbors.values():
                if NeighborState.EXCHANGE <= neighbor.state < NeighborState.FULL:
                    self._adjacency.request_more(circuit, neighbor)

    # Timers

    def _timer(self, what: str, name: str, key: int) -> None:
        if what == "spf":
            self._calculate()
        elif what == "originate":
            self._origination.is_dirty = True
        elif what == "refresh":
            self._origination.refresh()
        elif what == "age":
            self._flooding.expire()
        elif (circuit := self._instance.circuits.get(name)) is not None:
            self._circuit_timer(what, circuit, key)

    def _circuit_timer(self, what: str, circuit: Circuit, key: int) -> None:
        if what == "hello":
            self._adjacency.hello(circuit)
        elif what == "wait":
            self._adjacency.wait_over(circuit)
        elif what == "ack":
            self._flooding.send_delayed_acks(circuit)
        elif (neighbor := circuit.neighbors.get(key)) is not None:
            if what == "dead":
                self._instance.notice(circuit, f"neighbor {neighbor.address} is silent")
                self._adjacency.kill(circuit, neighbor)
            else:
                self._adjacency.repeat(circuit, neighbor)
                self._flooding.retransmit(circuit, neighbor)

    # Interfaces

    def _interface_changed(self, interface: Interface) -> None:
        config = self._config.interface_by_name.get(interface.name)
        if config is None:
            return
        if not isinstance(interface.address, IPv4Interface):
            self._instance.actions.append(Notice("ospf", interface.name, "OSPFv2 needs an IPv4 address"))
            return
        circuit = self._instance.circuits.get(interface.name)
        if circuit is None:
            circuit = self._instance.circuits[interface.name] = Circuit(config, interface)
            self._instance.area(circuit.area)
        elif circuit.interface == interface:
            return
        elif circuit.state is not InterfaceState.DOWN and (
            not interface.up or interface.address != circuit.interface.address
        ):
            self._adjacency.interface_down(circuit)
        has_other_mtu = interface.mtu != circuit.interface.mtu
        circuit.interface = interface
        if has_other_mtu:
            self._adjacency.mtu_changed(circuit)
        if interface.up and circuit.state is InterfaceState.DOWN:
            self._adjacency.interface_up(circuit)

    def _neighbor_lost(self, name: str, address: object) -> None:
        circuit = self._instance.circuits.get(name)
        for neighbor in list(circuit.neighbors.values()) if circuit is not None else ():
            if neighbor.address == address and circuit is not None:
                self._instance.notice(circuit, f"neighbor {address} is lost")
                self._adjacency.kill(circuit, neighbor)

    def _shut_down(self) -> None:
        """Flushes our LSAs, then tells the neighbours that we know them no more."""
        self._instance.is_stopping = True
        self._origination.sync()
        self._flooding.finish()
        for circuit in self._instance.circuits.values():
            if circuit.state >= InterfaceState.WAITING:
                self._adjacency.hello(circuit, farewell=True)
        self._instance.timers = type(self._instance.timers)()
        old, self._table = self._table, Table()
        self._tell_routes(old)

    # What the parts tell one another

    def _circuit_changed(self, circuit: Circuit) -> None:
        self._origination.is_dirty = True
        self._lsa_changed(circuit.area, ROUTER)

    def _lsa_changed(self, area: int, kind: int) -> None:
        if kind in (ROUTER, NETWORK):
            self._instance.area(area).is_dirty = True
        self._instance.timers.start(("spf", "", 0), self._spf_pace.due(self._instance.now))

    def _own_returned(self, area: int, entry: Entry) -> None:
        self._origination.returned(area, entry)

    def _mismatch(self, circuit: Circuit, neighbor: Neighbor, why: str) -> None:
        self._adjacency.mismatch(circuit, neighbor, why)

    def _buried(self) -> None:
        self._origination.is_dirty = True

    def _calculate(self) -> None:
        self._spf_pace.ran(self._instance.now)
        old = self._table
        self._table = self._origination.table = self._calculation.run()
        self._origination.is_dirty = True  # summaries
        self._tell_routes(old)

    def _tell_routes(self, old: Table) -> None:
        mine = {
            (int(circuit.address.network.network_address), int(circuit.address.network.netmask))
            for circuit in self._instance.circuits.values()
            if circuit.state is not InterfaceState.DOWN
        }
        routes, withdrawn = differences(old.networks, self._table.networks, self._config.max_paths, mine.__contains__)
        before, self._discarded = self._discarded, set()
        if is_border(self._instance):
            self._discarded = discarded(self._table.networks, self._config.areas)
        routes += tuple(Route(each, (), "ospf", PREFERENCES["ospf"]) for each in sorted(self._discarded - before))
        told = {route.prefix for route in routes}
        withdrawn = tuple(each for each in withdrawn if each not in self._discarded)
        withdrawn += tuple(each for each in sorted(before - self._discarded) if each not in told)
        if routes or withdrawn:
            self._instance.actions.append(RouteUpdate(routes, withdrawn))
