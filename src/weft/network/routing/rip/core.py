"""RIP version 2 (RFC 2453) as a sans-IO core: events in, actions out.

`Rip` is a `protocol.RoutingProtocol`: its packets are the payload of UDP datagrams of port 520, to the group 224.0.0.9
or to a neighbour. What keeps routers from counting to infinity is split horizon with poisoned reverse and triggered
updates (3.4.3, 3.4.4).
"""

import random
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.network.routing.protocol import (
    Action,
    Event,
    Interface,
    InterfaceChanged,
    InterfaceRemoved,
    NeighborChanged,
    NeighborLost,
    Notice,
    PacketError,
    PacketReceived,
    Redistribute,
    RouteUpdate,
    Send,
    Shutdown,
    TimerFired,
)
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route
from weft.network.routing.rip.config import RipConfig, RipInterfaceConfig
from weft.network.routing.rip.packet import (
    INFINITY,
    REQUEST,
    RESPONSE,
    SENDER,
    WHOLE_TABLE,
    Entry,
    Message,
    decode,
    encode,
    room,
)
from weft.network.routing.rip.table import Destination, Table, Way
from weft.network.routing.timers import Timers

GROUP = IPv4Address("224.0.0.9")
_JITTER = 1 / 6  # 3.8: 30 s, plus or minus up to 5


class Rip:
    """One router. `rng` jitters updates."""

    def __init__(self, config: RipConfig, rng: random.Random | None = None) -> None:
        self._config = config
        self._rng = rng or random.Random()
        self._table = Table(config.timeout_interval, config.garbage_interval, config.max_paths)
        self._interfaces: dict[str, Interface] = {}
        self._timers: Timers[str] = Timers()
        self._actions: list[Action] = []
        self._now = 0.0
        self._sequence = config.sequence_origin
        self._heard: dict[Way, tuple[float, int]] = {}  # neighbours: until when, last authentication sequence
        self._is_stopped = False
        self.updates_sent = 0

    def next_timer(self) -> float | None:
        return self._timers.next()

    def metric_of(self, prefix: IPv4Network) -> int:
        """16 where it cannot be reached."""
        known = self._table.get(prefix)
        return known.metric if known is not None else INFINITY

    def handle(self, event: Event, now: float) -> Sequence[Action]:
        self._now = now
        self._actions = []
        if self._is_stopped:
            return []
        match event:
            case PacketReceived():
                self._received(event)
            case TimerFired():
                for what in self._timers.expired(now):
                    self._timer(what)
            case InterfaceChanged(interface):
                self._interface_changed(interface)
            case InterfaceRemoved(name):
                self._interface_down(name)
                self._interfaces.pop(name, None)
            case NeighborLost(name, address):
                self._table.lose_gateway(name, address, now)
                for way in [way for way in self._heard if way == (name, address)]:
                    self._forget(way)
            case Redistribute(routes, withdrawn):
                self._redistribute(routes, [each for each in withdrawn if isinstance(each, IPv4Network)])
            case Shutdown():
                self._shut_down()
                return self._actions
        self._finish()
        return self._actions

    def _finish(self) -> None:
        self._tell_routes(self._table.take_moves())
        if self._table.has_news and not self._timers.running("suppression"):
            self._update(self._table.take_news())
            self._timers.set("suppression", self._now + self._rng.uniform(*self._config.suppression))
        deadline = self._table.next_deadline()
        heard = min((until for until, _ in self._heard.values()), default=None)
        for what, when in (("expire", deadline), ("silence", heard)):
            if when is not None:
                self._timers.set(what, when)

    # Input (3.9)

    def _received(self, event: PacketReceived) -> None:
        config = self._config.interface_by_name.get(event.interface)
        interface = self._interfaces.get(event.interface)
        source = event.source
        if config is None or interface is None or not interface.up or not isinstance(source, IPv4Address):
            return
        if source == interface.address.ip:
            return
        try:
            message = decode(event.data, config.authentication)
        except PacketError as error:
            self._notice(event.interface, f"packet from {source} refused: {error}")
            return
        if source not in interface.address.network:
            self._notice(event.interface, f"packet from {source} refused: it is not on {interface.address.network}")
            return
        way = (event.interface, source)
        _, last = self._heard.get(way, (0.0, -1))
        if config.authentication.digest_length and message.sequence < last:
            self._notice(event.interface, f"packet from {source} refused: its authentication sequence number fell")
            return
        for text in message.refused:
            self._notice(event.interface, f"entry from {source} refused: {text}")
        if message.command == REQUEST:
            self._answer(config, source, message)
            return
        if way not in self._heard:
            self._actions.append(NeighborChanged("rip", *way, "Up"))
        self._heard[way] = (self._now + self._config.timeout_interval, message.sequence)
        for entry in message.entries:
            self._learn(config, interface, source, entry)

    def _learn(self, config: RipInterfaceConfig, interface: Interface, source: IPv4Address, entry: Entry) -> None:
        network = entry.prefix
        address = network.network_address
        if (
            entry.family != 2
            or address.is_multicast
            or address.is_loopback
            or (int(address) and int(address) >> 24 == 0)
        ):
            self._notice(interface.name, f"entry from {source} refused: {network} is no destination")
            return
        gateway = source
        if entry.next_hop != SENDER and entry.next_hop in interface.address.network:
            if entry.next_hop == interface.address.ip:
                return
            gateway = entry.next_hop
        metric = min(entry.metric + config.cost, INFINITY)
        self._table.learn(network, metric, entry.tag, (interface.name, gateway), self._now)

    def _answer(self, config: RipInterfaceConfig, source: IPv4Address, request: Message) -> None:
        """3.9.1"""
        if config.passive or not request.entries:
            return
        if len(request.entries) == 1 and request.entries[0].family == 0 and request.entries[0].metric == INFINITY:
            self._send_entries(config, source, self._entries(config, self._table))
            return
        entries = [
            Entry(entry.prefix, self.metric_of(entry.prefix), entry.tag)
            for entry in request.entries
            if entry.family == 2
        ]
        self._send_entries(config, source, entries)

    # Timers

    def _timer(self, what: str) -> None:
        if what == "update":
            self._update(None)
        elif what == "expire":
            self._table.expire(self._now)
        elif what == "silence":
            for way in [way for way, (until, _) in self._heard.items() if until <= self._now]:
                self._forget(way)

    def _forget(self, way: Way) -> None:
        del self._heard[way]
        self._actions.append(NeighborChanged("rip", *way, "Down", gone=True))

    # Output (3.10)

    def _update(self, changed: Iterable[IPv4Network] | None) -> None:
        """To all neighbours: the whole table, or only what changed."""
        if changed is None:
            self._table.take_news()
            spread = self._config.update_interval * _JITTER
            when = self._now + self._config.update_interval + self._rng.uniform(-spread, spread)
            self._timers.set("update", when)
            destinations = list(self._table)
        else:
            destinations = [known for prefix in changed if (known := self._table.get(prefix)) is not None]
        for name, interface in self._interfaces.items():
            config = self._config.interface_by_name[name]
            if interface.up and not config.passive:
                self._send_entries(config, GROUP, self._entries(config, destinations))

    def _entries(self, config: RipInterfaceConfig, destinations: Iterable[Destination]) -> list[Entry]:
        """What an interface gets to hear, by its split horizon."""
        found = []
        for each in destinations:
            metric = each.metric
            if any(interface == config.name for interface, _ in each.ways):
                if config.split_horizon == "simple":
                    continue
                if config.split_horizon == "poisoned-reverse":
                    metric = INFINITY
            found.append(Entry(each.prefix, metric, each.tag))
        return found

    def _send_entries(self, config: RipInterfaceConfig, to: IPv4Address, entries: Sequence[Entry]) -> None:
        size = room(config.authentication)
        for start in range(0, len(entries), size):
            self._send(config, to, RESPONSE, tuple(entries[start : start + size]))

    def _send(self, config: RipInterfaceConfig, to: IPv4Address, command: int, entries: tuple[Entry, ...]) -> None:
        sequence = 0
        if config.authentication.digest_length:
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            sequence = self._sequence
        self.updates_sent += command == RESPONSE
        data = encode(Message(command, entries, sequence), config.authentication)
        self._actions.append(Send(config.name, to, data))

    # Interfaces and other protocols

    def _interface_changed(self, interface: Interface) -> None:
        config = self._config.interface_by_name.get(interface.name)
        if config is None or not isinstance(interface.address, IPv4Interface):
            return
        known = self._interfaces.get(interface.name)
        if known is not None and known.up and (not interface.up or known.address != interface.address):
            self._interface_down(interface.name)
            known = None
        self._interfaces[interface.name] = interface
        if not interface.up or (known is not None and known.up):
            return
        self._table.announce(interface.address.network, f"interface {interface.name}", 1, 0, self._now)
        if not config.passive:
            self._send(config, GROUP, REQUEST, WHOLE_TABLE.entries)
            self._send_entries(config, GROUP, self._entries(config, self._table))
        self._timers.start("update", self._now + self._config.update_interval)

    def _interface_down(self, name: str) -> None:
        interface = self._interfaces.get(name)
        if interface is None or not interface.up:
            return
        assert isinstance(interface.address, IPv4Interface)
        self._table.withdraw(interface.address.network, f"interface {name}", self._now)
        self._table.lose_interface(name, self._now)
        for way in [way for way in self._heard if way[0] == name]:
            self._forget(way)

    def _redistribute(self, routes: Iterable[Route], withdrawn: Iterable[IPv4Network]) -> None:
        for prefix in withdrawn:
            self._table.withdraw(prefix, "redistributed", self._now)
        for route in routes:
            if isinstance(route.prefix, IPv4Network):
                metric = min(max(route.metric, 1), INFINITY - 1)
                self._table.announce(route.prefix, "redistributed", metric, route.tag & 0xFFFF, self._now)

    def _shut_down(self) -> None:
        """Says of all that it cannot be reached by us any more."""
        for interface in self._interfaces.values():
            config = self._config.interface_by_name[interface.name]
            if interface.up and not config.passive:
                entries = [Entry(each.prefix, INFINITY, each.tag) for each in self._table]
                self._send_entries(config, GROUP, entries)
        gone = tuple(each.prefix for each in self._table if each.ways)
        if gone:
            self._actions.append(RouteUpdate((), gone))
        self._timers = Timers()
        self._is_stopped = True

    def _tell_routes(self, moves: Iterable[IPv4Network]) -> None:
        routes = []
        withdrawn = []
        for prefix in moves:
            known = self._table.get(prefix)
            if known is None or not known.ways:
                withdrawn.append(prefix)
                continue
            hops = tuple(NextHop(interface, gateway) for interface, gateway in sorted(known.ways))
            routes.append(Route(prefix, hops, "rip", PREFERENCES["rip"], known.metric, known.tag))
        if routes or withdrawn:
            self._actions.append(RouteUpdate(tuple(routes), tuple(withdrawn)))

    def _notice(self, interface: str, text: str) -> None:
        self._actions.append(Notice("rip", interface, text))
