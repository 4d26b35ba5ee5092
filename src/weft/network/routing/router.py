"""A router: its protocols, the table that they fill, what they tell one another. Sans-IO, on the wire or simulated.

In: events for its protocols, its interfaces, static routes, a clock. Out: packets to send, what changes in forwarding,
changes of neighbours. BFD looks after the neighbours of the routing protocols and tells these what it sees (RFC 5882,
4). Who is next: `routing.daemon.driver` (sockets and kernel) and `dataplane.simulation`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from weft.network.routing.bfd import Bfd
from weft.network.routing.policy import Policy, change_policy, redistribute
from weft.network.routing.protocol import (
    Action,
    Address,
    Event,
    Interface,
    InterfaceChanged,
    InterfaceRemoved,
    NeighborChanged,
    NeighborLost,
    Notice,
    Prefix,
    ProtocolName,
    RouteUpdate,
    RoutingProtocol,
    Send,
    TimerFired,
)
from weft.network.routing.rib.changes import Changes
from weft.network.routing.rib.connected import connected_routes
from weft.network.routing.rib.rib import Rib
from weft.network.routing.rib.routes import Route, Source

Announcer = Literal["ospf", "rip"]
Redistribution = Mapping[Announcer, Policy]
_SOURCES: dict[ProtocolName, Source] = {"ospf": "ospf", "rip": "rip", "ripng": "rip"}


@dataclass(frozen=True, slots=True)
class Transmit:
    """A packet that one of the protocols sends."""

    protocol: ProtocolName
    send: Send


@dataclass(frozen=True, slots=True)
class Forward:
    """Routes to forward by from now on, in place of what was, and prefixes to have none for. No connected ones."""

    routes: tuple[Route, ...] = ()
    removed: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Reachable:
    """BFD has lost a neighbour that it was told to watch, or has found it again."""

    interface: str
    address: Address
    alive: bool


Output = Transmit | Forward | Reachable | NeighborChanged | Notice


class Router:
    """Outputs are to be carried out in order. `redistribution` says what protocols announce of others' routes."""

    def __init__(
        self, protocols: Mapping[ProtocolName, RoutingProtocol], redistribution: Redistribution | None = None
    ) -> None:
        self.protocols = dict(protocols)
        self.rib = Rib()
        self.interfaces: dict[str, Interface] = {}
        self._redistribution = dict(redistribution or {})
        self._alive: set[tuple[str, Address]] = set()  # neighbours that BFD has seen up
        self._watched: dict[tuple[str, Address], bool] = {}  # those that no protocol here knows; whether they were lost

    @property
    def routes(self) -> list[Route]:
        """The best routes, less those of the router's own networks."""
        return [route for route in self.rib if route.source != "connected"]

    def next_timer(self) -> float | None:
        """When `fire` is due."""
        return min((when for core in self.protocols.values() if (when := core.next_timer()) is not None), default=None)

    def fire(self, now: float) -> list[Output]:
        """To the protocols whose time has come."""
        outputs: list[Output] = []
        for protocol, core in self.protocols.items():
            when = core.next_timer()
            if when is not None and when <= now:
                self._give(protocol, TimerFired(), now, outputs)
        return outputs

    def handle(self, protocol: ProtocolName, event: Event, now: float) -> list[Output]:
        outputs: list[Output] = []
        self._give(protocol, event, now, outputs)
        return outputs

    def handle_all(self, event: Event, now: float) -> list[Output]:
        """An event that is for all protocols."""
        outputs: list[Output] = []
        self._give_all(event, now, outputs)
        return outputs

    def set_interfaces(self, present: Iterable[Interface], now: float) -> list[Output]:
        """All interfaces as they are now; the protocols hear of what is another than before."""
        outputs: list[Output] = []
        wanted = {interface.name: interface for interface in present}
        for name in [name for name in self.interfaces if name not in wanted]:
            del self.interfaces[name]
            self._give_all(InterfaceRemoved(name), now, outputs)
        for name, interface in wanted.items():
            if self.interfaces.get(name) != interface:
                self.interfaces[name] = interface
                self._give_all(InterfaceChanged(interface), now, outputs)
        if self._watched:
            self._open_watched(now, outputs)
        connected = connected_routes(self.interfaces.values())
        self._carry_out(self.rib.replace("connected", connected), now, outputs)
        return outputs

    def watch(self, interface: str, address: Address, now: float) -> list[Output]:
        """BFD looks after a neighbour of whom no protocol here speaks: the controller's routes lead over it."""
        outputs: list[Output] = []
        self._watched[interface, address] = False
        self._open_watched(now, outputs)
        return outputs

    def _open_watched(self, now: float, outputs: list[Output]) -> None:
        bfd = self.protocols.get("bfd")
        if isinstance(bfd, Bfd):
            for name, address in self._watched:
                if (interface := self.interfaces.get(name)) is not None and interface.up:
                    self._act("bfd", bfd.open(name, address, now), now, outputs)

    def replace(self, source: Source, routes: Iterable[Route], now: float) -> list[Output]:
        """All routes of a source that is no protocol here: the user's own, or the controller's. In a static one the
        interface of a next hop may be left open."""
        outputs: list[Output] = []
        self._carry_out(self.rib.replace(source, routes), now, outputs)
        return outputs

    def set_redistribution(self, redistribution: Redistribution, now: float) -> list[Output]:
        """Other policies from now on; protocols hear of the routes for which that makes a difference."""
        outputs: list[Output] = []
        before, self._redistribution = self._redistribution, dict(redistribution)
        for protocol in sorted(before.keys() | redistribution.keys()):
            event = change_policy(self.rib, protocol, before.get(protocol), redistribution.get(protocol))
            if event.routes or event.withdrawn:
                self._give(protocol, event, now, outputs)
        return outputs

    def _give_all(self, event: Event, now: float, outputs: list[Output]) -> None:
        for protocol in self.protocols:
            self._give(protocol, event, now, outputs)

    def _give(self, protocol: ProtocolName, event: Event, now: float, outputs: list[Output]) -> None:
        self._act(protocol, self.protocols[protocol].handle(event, now), now, outputs)

    def _act(self, protocol: ProtocolName, actions: Iterable[Action], now: float, outputs: list[Output]) -> None:
        for action in actions:
            match action:
                case Send():
                    outputs.append(Transmit(protocol, action))
                case RouteUpdate():
                    self._carry_out(self.rib.update(_SOURCES[protocol], action), now, outputs)
                case NeighborChanged():
                    outputs.append(action)
                    self._watch(action, now, outputs)
                case Notice():
                    outputs.append(action)

    def _watch(self, change: NeighborChanged, now: float, outputs: list[Output]) -> None:
        bfd = self.protocols.get("bfd")
        if not isinstance(bfd, Bfd):
            return
        key = (change.interface, change.address)
        if change.protocol != "bfd":
            if change.gone:
                self._alive.discard(key)
                self._act("bfd", bfd.close(*key, now), now, outputs)
            elif change.state in ("2-Way", "Full", "Up"):  # 2-Way: others than the designated on a LAN
                self._act("bfd", bfd.open(*key, now), now, outputs)
        elif change.state == "Up":
            self._alive.add(key)
            if self._watched.get(key):
                self._watched[key] = False
                outputs.append(Reachable(*key, True))
        elif change.state == "Down" and key in self._alive:
            self._alive.discard(key)
            if key in self._watched:
                self._watched[key] = True
                outputs.append(Reachable(*key, False))
            for protocol in self.protocols:
                if protocol != "bfd":
                    self._give(protocol, NeighborLost(*key), now, outputs)

    def _carry_out(self, changes: Changes, now: float, outputs: list[Output]) -> None:
        """What changed among the best routes goes into forwarding, and to the protocols that announce it."""
        if not changes:
            return
        new = [*changes.added, *(each.new for each in changes.replaced)]
        routes = tuple(route for route in new if route.source != "connected")
        removed = [route.prefix for route in changes.removed]
        removed += [each.old.prefix for each in changes.replaced if each.new.source == "connected"]
        outputs.append(Forward(routes, tuple(removed)))
        for protocol, policy in self._redistribution.items():
            event = redistribute(changes, protocol, policy)
            if event.routes or event.withdrawn:
                self._give(protocol, event, now, outputs)
