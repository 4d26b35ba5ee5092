"""RIP cores joined by wires, under a clock that jumps from event to event."""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

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
from weft.network.routing.rip import Rip, RipConfig


@dataclass
class Wire:
    ends: list[tuple[str, Interface]] = field(default_factory=list)
    up: bool = True
    loss: float = 0.0


@dataclass
class Net:
    seed: int = 1
    now: float = 0.0
    cores: dict[str, Rip] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    routes: dict[str, dict[IPv4Network, Route]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    metrics_seen: dict[tuple[str, IPv4Network], list[int]] = field(default_factory=dict)
    _queue: list[tuple[float, int, str, Event]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def add(self, name: str, config: RipConfig) -> None:
        self.cores[name] = Rip(config, random.Random(f"{self.seed}{name}"))
        self.routes[name] = {}

    def plug(self, wire: str, router: str, interface: str, address: str) -> None:
        made = Interface(interface, IPv4Interface(address))
        self.wires.setdefault(wire, Wire()).ends.append((router, made))
        self.post(router, InterfaceChanged(made))

    def post(self, router: str, event: Event, delay: float = 0.0) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), router, event))

    def set_wire(self, name: str, *, up: bool) -> None:
        wire = self.wires[name]
        wire.up = up
        wire.ends = [(router, replace(interface, up=up)) for router, interface in wire.ends]
        for router, interface in wire.ends:
            self.post(router, InterfaceChanged(interface))

    def give(self, router: str, event: Event) -> None:
        for action in self.cores[router].handle(event, self.now):
            if isinstance(action, Send):
                self._send(router, action)
            elif isinstance(action, RouteUpdate):
                for prefix in action.withdrawn:
                    self.routes[router].pop(prefix, None)  # type: ignore[call-overload]
                for route in action.routes:
                    assert isinstance(route.prefix, IPv4Network)
                    self.routes[router][route.prefix] = route
                    self.metrics_seen.setdefault((router, route.prefix), []).append(route.metric)
            elif isinstance(action, Notice):
                self.notices.append(action.text)

    def _send(self, router: str, send: Send) -> None:
        wire = next(w for w in self.wires.values() if any((r, i.name) == (router, send.interface) for r, i in w.ends))
        source = next(i.address.ip for r, i in wire.ends if r == router)
        for other, interface in wire.ends:
            mine = interface.address.ip
            hears = send.destination.is_multicast or send.destination == mine
            if other != router and wire.up and hears and self.rng.random() >= wire.loss:
                assert isinstance(source, IPv4Address)
                self.post(other, PacketReceived(interface.name, source, send.destination, send.data), 0.001)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(200_000):
            timers = [(core.next_timer(), name) for name, core in self.cores.items()]
            when, name = min(((t, n) for t, n in timers if t is not None), default=(float("inf"), ""))
            packet = self._queue[0][0] if self._queue else float("inf")
            if min(when, packet) > end:
                self.now = end
                return
            self.now = max(self.now, min(when, packet))
            if packet <= when:
                _, _, router, event = heapq.heappop(self._queue)
                if router in self.cores:
                    self.give(router, event)
            else:
                self.give(name, TimerFired())
        raise AssertionError("the network does not come to rest")

    def metric(self, router: str, prefix: str) -> int | None:
        route = self.routes[router].get(IPv4Network(prefix))
        return route.metric if route is not None else None
