"""What an OSPF router knows at a moment: areas, interfaces, neighbours; and the few things that all its parts do.

The parts (`adjacency`, `flooding`, `origination`, `routes`) share one `Instance`; `core` calls them.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface

from weft.network.routing.ospf.config import AreaConfig, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.ospf.database import Database
from weft.network.routing.ospf.lsa import EXTERNAL, HEADER_LENGTH, OPTION_E, Key, Lsa, LsaHeader
from weft.network.routing.ospf.packet import (
    PACKET_HEADER_LENGTH,
    Content,
    DatabaseDescription,
    LinkStateUpdate,
    Packet,
    encode,
)
from weft.network.routing.protocol import Action, Interface, NeighborChanged, Notice, Send
from weft.network.routing.timers import Timers

ALL_ROUTERS = IPv4Address("224.0.0.5")
ALL_DESIGNATED = IPv4Address("224.0.0.6")
_IP_HEADER_LENGTH = 20
TimerKey = tuple[str, str, int]  # what, interface, neighbour


class InterfaceState(IntEnum):
    """9.1"""

    DOWN = 0
    LOOPBACK = 1
    WAITING = 2
    POINT_TO_POINT = 3
    DR_OTHER = 4
    BACKUP = 5
    DR = 6


class NeighborState(IntEnum):
    """10.1, without Attempt, which only NBMA networks have"""

    DOWN = 0
    INIT = 1
    TWO_WAY = 2
    EX_START = 3
    EXCHANGE = 4
    LOADING = 5
    FULL = 6


NAMES = {
    NeighborState.DOWN: "Down",
    NeighborState.INIT: "Init",
    NeighborState.TWO_WAY: "2-Way",
    NeighborState.EX_START: "ExStart",
    NeighborState.EXCHANGE: "Exchange",
    NeighborState.LOADING: "Loading",
    NeighborState.FULL: "Full",
}


@dataclass(slots=True, eq=False)
class Neighbor:
    """10, and the lists of an adjacency (10, "Link state retransmission list" and so on)."""

    key: int
    router: int
    address: IPv4Address
    priority: int = 0
    designated: int = 0
    backup: int = 0
    options: int = 0
    state: NeighborState = NeighborState.DOWN
    is_master: bool = False  # whether we are
    dd_sequence: int = 0
    last_received: DatabaseDescription | None = None
    last_sent: DatabaseDescription | None = None
    summary: list[LsaHeader] = field(default_factory=list)
    requests: dict[Key, LsaHeader] = field(default_factory=dict)
    requested: set[Key] = field(default_factory=set)  # asked for in the last Link State Request
    retransmit: dict[Key, Lsa] = field(default_factory=dict)
    authentication_sequence: int = -1


@dataclass(slots=True, eq=False)
class Circuit:
    """An interface that takes part. Designated routers are named by their address on the network, as a number."""

    config: OspfInterfaceConfig
    interface: Interface
    state: InterfaceState = InterfaceState.DOWN
    designated: int = 0
    backup: int = 0
    neighbors: dict[int, Neighbor] = field(default_factory=dict)
    floods: dict[Key, Lsa] = field(default_factory=dict)
    flooded: float = float("-inf")
    acks: list[LsaHeader] = field(default_factory=list)

    name: str = field(init=False)
    area: int = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.area = self.config.name, int(self.config.area)

    @property
    def address(self) -> IPv4Interface:
        address = self.interface.address
        assert isinstance(address, IPv4Interface)
        return address

    @property
    def is_point_to_point(self) -> bool:
        return self.config.network_type == "point-to-point"

    @property
    def room(self) -> int:
        """Bytes for a packet's content."""
        used = _IP_HEADER_LENGTH + PACKET_HEADER_LENGTH + self.config.authentication.digest_length
        return max(self.interface.mtu, 576) - used

    def elects(self, neighbor: Neighbor) -> bool:
        """Whether an adjacency is wanted (10.4)."""
        if self.is_point_to_point or self.state in (InterfaceState.DR, InterfaceState.BACKUP):
            return True
        return int(neighbor.address) in (self.designated, self.backup)


class Pace:
    """One throttle at work: `due` says when what is asked for now may happen. Who asks again within the hold time has
    to wait for its end, and makes the next one twice as long; after it all is as at first (as in FRR)."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._hold = self._next = throttle.hold
        self._last: float | None = None

    def due(self, now: float) -> float:
        soonest = now + self._throttle.initial
        if self._last is None or now - self._last >= self._hold:
            self._next = self._throttle.hold
            return soonest
        self._next = min(self._hold * 2, self._throttle.maximum)
        return max(soonest, self._last + self._hold)

    def ran(self, now: float) -> None:
        self._hold, self._last = self._next, now


@dataclass(slots=True, eq=False)
class Area:
    config: AreaConfig
    database: Database = field(default_factory=Database)
    is_dirty: bool = True  # its shortest-path tree is to be computed anew

    @property
    def options(self) -> int:
        return OPTION_E if self.config.type == "normal" else 0


class Instance:
    """All of it, and the actions that the event at hand has brought about so far."""

    def __init__(self, config: OspfConfig) -> None:
        self.config = config
        self.router = int(config.router_id)
        self.now = 0.0
        self.timers: Timers[TimerKey] = Timers()
        self.actions: list[Action] = []
        self.circuits: dict[str, Circuit] = {}
        self.areas: dict[int, Area] = {}
        self.external = Database()
        self.packet_sequence = config.sequence_origin
        self.is_stopping = False

    def area(self, area: int) -> Area:
        found = self.areas.get(area)
        if found is None:
            found = self.areas[area] = Area(self.config.area(IPv4Address(area)))
        return found

    def database(self, area: int, kind: int) -> Database:
        return self.external if kind == EXTERNAL else self.area(area).database

    def circuits_of(self, area: int | None) -> list[Circuit]:
        """The interfaces that are up in an area; None: in all areas that external routes reach."""
        return [
            circuit
            for circuit in self.circuits.values()
            if circuit.state >= InterfaceState.WAITING
            and (circuit.area == area or (area is None and self.area(circuit.area).config.type == "normal"))
        ]

    def is_exchanging(self) -> bool:
        """Whether some neighbour is in Exchange or Loading, when MaxAge LSAs may not be forgotten (14)."""
        return any(
            NeighborState.EXCHANGE <= neighbor.state < NeighborState.FULL
            for circuit in self.circuits.values()
            for neighbor in circuit.neighbors.values()
        )

    def send(self, circuit: Circuit, destination: IPv4Address, content: Content) -> None:
        if circuit.config.passive:
            return
        sequence = 0
        if circuit.config.authentication.digest_length:
            self.packet_sequence = (self.packet_sequence + 1) & 0xFFFFFFFF
            sequence = self.packet_sequence
        packet = Packet(self.router, circuit.area, content, sequence)
        self.actions.append(Send(circuit.name, destination, encode(packet, circuit.config.authentication)))

    def send_lsas(self, circuit: Circuit, destination: IPv4Address, lsas: list[Lsa]) -> None:
        """As many Link State Updates as it takes; ages grow by the time on the way (13.3)."""
        batch: list[tuple[int, Lsa]] = []
        room = circuit.room - 4
        for lsa in lsas:
            entry = self.database(circuit.area, lsa.type).get(lsa.key)
            age = 0
            if entry is not None and entry.lsa is lsa:
                age = entry.age_at(self.now)
                if entry.told == float("-inf"):
                    entry.told = self.now
            if batch and room < lsa.length:
                self.send(circuit, destination, LinkStateUpdate(tuple(batch)))
                batch, room = [], circuit.room - 4
            batch.append((min(3600, age + circuit.config.transmit_delay), lsa))
            room -= lsa.length
        if batch:
            self.send(circuit, destination, LinkStateUpdate(tuple(batch)))

    def headers_per_packet(self, circuit: Circuit, used: int = 0) -> int:
        return (circuit.room - used) // HEADER_LENGTH

    def notice(self, circuit: Circuit, text: str) -> None:
        self.actions.append(Notice("ospf", circuit.name, text))

    def tell(self, circuit: Circuit, neighbor: Neighbor) -> None:
        self.actions.append(
            NeighborChanged(
                "ospf", circuit.name, neighbor.address, NAMES[neighbor.state],
                IPv4Address(neighbor.router), neighbor.state is NeighborState.DOWN,
            )
        )  # fmt: skip
