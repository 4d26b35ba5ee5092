"""OSPF cores joined by wires, under a clock that jumps from event to event."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.network.routing.ospf import Ospf, OspfConfig
from weft.network.routing.protocol import (
    Event,
    Interface,
    InterfaceChanged,
    Notice,
    PacketReceived,
    RouteUpdate,
    Send,
    TimerFired,
)
from weft.network.routing.rib.routes import Route


@dataclass
class Port:
    """An interface of a router on a wire."""

    router: str
    interface: Interface


@dataclass
class Wire:
    """What joins ports; all hear a multicast. `drop` says which packets are lost."""

    ports: list[Port]
    up: bool = True
    delay: float = 0.001
    drop: Callable[[bytes], bool] = lambda data: False


@dataclass
class Net:
    cores: dict[str, Ospf] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    now: float = 0.0
    routes: dict[str, dict[IPv4Network, Route]] = field(default_factory=dict)
    notices: list[tuple[str, Notice]] = field(default_factory=list)
    sent: int = 0
    _queue: list[tuple[float, int, str, Event]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _timers: dict[str, float | None] = field(default_factory=dict)

    def add(self, name: str, config: OspfConfig) -> Ospf:
        self.routes[name] = {}
        core = self.cores[name] = Ospf(config)
        return core

    def plug(self, wire: str, router: str, interface: str, address: str, mtu: int = 1500) -> None:
        port = Port(router, Interface(interface, IPv4Interface(address), mtu))
        self.wires.setdefault(wire, Wire([])).ports.append(port)
        self.post(router, InterfaceChanged(port.interface))

    def post(self, router: str, event: Event, delay: float = 0.0) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), router, event))

    def give(self, router: str, event: Event) -> None:
        for action in self.cores[router].handle(event, self.now):
            if isinstance(action, Send):
                self._send(router, action)
            elif isinstance(action, RouteUpdate):
                for prefix in action.withdrawn:
                    self.routes[router].pop(prefix, None)  # type: ignore[call-overload]
                self.routes[router] |= {route.prefix: route for route in action.routes}  # type: ignore[misc]
            elif isinstance(action, Notice):
                self.notices.append((router, action))
        self._timers[router] = self.cores[router].next_timer()

    def _send(self, router: str, send: Send) -> None:
        self.sent += 1
        wire = self.wire_of(router, send.interface)
        source = self.port(router, send.interface).interface.address.ip
        if not wire.up or wire.drop(send.data):
            return
        for port in wire.ports:
            mine = port.interface.address.ip
            if port.router != router and (send.destination.is_multicast or send.destination == mine):
                event = PacketReceived(port.interface.name, source, send.destination, send.data)
                self.post(port.router, event, wire.delay)

    def wire_of(self, router: str, interface: str) -> Wire:
        return next(
            w for w in self.wires.values() for p in w.ports if (p.router, p.interface.name) == (router, interface)
        )

    def port(self, router: str, interface: str) -> Port:
        return next(p for p in self.wire_of(router, interface).ports if p.router == router)

    def set_wire(self, name: str, *, up: bool) -> None:
        """Carrier goes or comes at all ends."""
        wire = self.wires[name]
        wire.up = up
        for port in wire.ports:
            port.interface = replace(port.interface, up=up)
            self.post(port.router, InterfaceChanged(port.interface))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(2_000_000):
            due = [(when, name) for name, when in self._timers.items() if when is not None]
            timer = min(due, default=(float("inf"), ""))
            when = min(timer[0], self._queue[0][0] if self._queue else float("inf"))
            if when > end:
                self.now = end
                return
            self.now = max(self.now, when)
            if self._queue and self._queue[0][0] <= timer[0]:
                _, _, router, event = heapq.heappop(self._queue)
                if router in self.cores:
                    self.give(router, event)
            else:
                self.give(timer[1], TimerFired())
        raise AssertionError("the network does not come to rest")

    def kill(self, name: str) -> None:
        """Without a word."""
        del self.cores[name]
        self._timers.pop(name, None)

    def databases(self, area: str | None = "0.0.0.0", of: Iterable[str] | None = None) -> list[list[tuple[int, ...]]]:
        """What each router holds, without ages."""
        key = IPv4Address(area) if area is not None else None
        names = self.cores if of is None else of
        return [[(*h.key, h.sequence, h.checksum) for h in self.cores[name].database(key, self.now)] for name in names]

    def hops(self, router: str, prefix: str) -> list[str]:
        route = self.routes[router].get(IPv4Network(prefix))
        return [f"{hop.interface} {hop.via}" for hop in route.next_hops] if route is not None else []

    def full(self) -> bool:
        return all(
            each.state == "Full" or (each.state == "2-Way" and each.role == "DROther")
            for core in self.cores.values()
            for each in core.neighbors()
        )
