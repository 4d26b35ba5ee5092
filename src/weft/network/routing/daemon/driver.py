"""Runs protocol cores on the sockets of a network namespace: many routers in one process, on one event loop.

In: namespaces with cores. Out: packets, kernel routes, and for who asks the neighbours' changes. One `Monitor` hears of
interfaces in all namespaces. An error of one router is logged and does not reach the others.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

from weft.core.errors import WeftError
from weft.network.routing.bfd import Bfd
from weft.network.routing.daemon.kernel import Fib, read_interfaces
from weft.network.routing.daemon.sockets import KINDS, ProtocolSocket
from weft.network.routing.policy import Policy, redistribute
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
    ProtocolName,
    RouteUpdate,
    RoutingProtocol,
    Send,
    Shutdown,
    TimerFired,
)
from weft.network.routing.rib.changes import Changes
from weft.network.routing.rib.connected import connected_routes
from weft.network.routing.rib.rib import Rib
from weft.network.routing.rib.routes import Route, Source
from weft.network.southbound.monitor import Monitor, Part
from weft.network.southbound.netlink import Netlink

logger = logging.getLogger(__name__)
_SWEEP_SECONDS = 60.0
Announcer = Literal["ospf", "rip"]
_FIRST_PORT = 1 << 29

_SOURCES: dict[ProtocolName, Source] = {"ospf": "ospf", "rip": "rip", "ripng": "rip"}

Redistribution = Mapping[Announcer, Policy]
Listener = Callable[[str, NeighborChanged | Notice], None]


class RouterDriver:
    """One router. `listener` gets its name with each change of a neighbour and each notice."""

    def __init__(
        self,
        name: str,
        namespace: Path,
        protocols: Mapping[ProtocolName, RoutingProtocol],
        listener: Listener | None = None,
        *,
        redistribution: Redistribution | None = None,
        port: int = 0,
    ) -> None:
        """`redistribution` says what protocols announce of others' routes; `port` is that of the netlink socket, by
        which a `Monitor` knows our own changes."""
        self.name = name
        self.protocols = dict(protocols)
        self._namespace = namespace
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._netlink = Netlink(namespace, port=port)
        self._fib = Fib(self._netlink)
        self._sockets: dict[ProtocolName, ProtocolSocket] = {}
        self._interfaces: dict[int, Interface] = {}
        self._rib = Rib()
        self._redistribution = dict(redistribution or {})
        self._timers: dict[ProtocolName, asyncio.TimerHandle] = {}
        self._alive: set[tuple[str, Address]] = set()  # neighbours that BFD has seen up
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def routes(self) -> list[Route]:
        """The best routes, less those of the router's own networks."""
        return [route for route in self._rib if route.source != "connected"]

    def start(self) -> None:
        for protocol in self.protocols:
            if protocol in KINDS:
                opened = self._sockets[protocol] = ProtocolSocket(self._namespace, protocol)
                self._loop.add_reader(opened.fileno(), self._readable, protocol)
        self.refresh()
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._fib.sweep)

    def close(self, *, farewell: bool = True) -> None:
        """With `farewell` takes leave of neighbours and of kernel routes; else they stay for who comes next."""
        if farewell:
            self.give_all(Shutdown())
        for handle in (*self._timers.values(), self._sweep):
            if handle is not None:
                handle.cancel()
        for opened in self._sockets.values():
            self._loop.remove_reader(opened.fileno())
            opened.close()
        self._sockets.clear()
        self._netlink.close()

    def refresh(self) -> None:
        """Reads the interfaces again and tells the cores what is another than before."""
        present = read_interfaces(self._netlink)
        for index, interface in list(self._interfaces.items()):
            if index not in present:
                del self._interfaces[index]
                for opened in self._sockets.values():
                    opened.leave(interface.name)
                self.give_all(InterfaceRemoved(interface.name))
        for index, interface in present.items():
            if self._interfaces.get(index) == interface:
                continue
            self._interfaces[index] = interface
            for opened in self._sockets.values():
                opened.join(interface.name, index)
            self.give_all(InterfaceChanged(interface))
        self._carry_out(self._rib.replace("connected", connected_routes(self._interfaces.values())))

    def set_static(self, routes: Iterable[Route]) -> None:
        """The user's own routes; the interface of a next hop may be left open."""
        self._carry_out(self._rib.replace("static", routes))

    def repair(self) -> None:
        if count := self._fib.repair(self._indices()):
            logger.info("routes repaired", extra={"router": self.name, "routes": count})

    def give_all(self, event: Event) -> None:
        for protocol in self.protocols:
            self.give(protocol, event)

    def give(self, protocol: ProtocolName, event: Event) -> None:
        core = self.protocols[protocol]
        try:
            self._act(protocol, core.handle(event, self._loop.time()))
        finally:
            self._arm(protocol, core)

    def _arm(self, protocol: ProtocolName, core: RoutingProtocol) -> None:
        when = core.next_timer()
        handle = self._timers.get(protocol)
        if handle is not None:
            if when is not None and handle.when() == when and not handle.cancelled():
                return
            handle.cancel()
        if when is not None:
            self._timers[protocol] = self._loop.call_at(when, self._fire, protocol)

    def _fire(self, protocol: ProtocolName) -> None:
        del self._timers[protocol]
        try:
            self.give(protocol, TimerFired())
        except Exception:
            logger.exception("a router failed", extra={"router": self.name, "protocol": protocol})

    def _readable(self, protocol: ProtocolName) -> None:
        try:
            for event in self._sockets[protocol].receive():
                self.give(protocol, event)
        except Exception:
            logger.exception("a router failed", extra={"router": self.name, "protocol": protocol})

    def _indices(self) -> dict[str, int]:
        return {interface.name: index for index, interface in self._interfaces.items()}

    def _act(self, protocol: ProtocolName, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    if error := self._sockets[protocol].send(action):
                        logger.debug("not sent", extra={"router": self.name, "error": str(error)})
                case RouteUpdate():
                    self._change_routes(_SOURCES[protocol], action)
                case NeighborChanged() | Notice():
                    if isinstance(action, NeighborChanged):
                        self._watch(action)
                    if self._listener is not None:
                        self._listener(self.name, action)

    def _watch(self, change: NeighborChanged) -> None:
        """BFD looks after the neighbours of the routing protocols, and tells these what it sees (RFC 5882, 4)."""
        bfd = self.protocols.get("bfd")
        if not isinstance(bfd, Bfd):
            return
        key = (change.interface, change.address)
        if change.protocol != "bfd":
            if change.gone:
                self._alive.discard(key)
                self._act("bfd", bfd.close(*key, self._loop.time()))
            elif change.state in ("Full", "Up"):
                self._act("bfd", bfd.open(*key, self._loop.time()))
            self._arm("bfd", bfd)
        elif change.state == "Up":
            self._alive.add(key)
        elif change.state == "Down" and key in self._alive:
            self._alive.discard(key)
            for protocol in self.protocols:
                if protocol != "bfd":
                    self.give(protocol, NeighborLost(*key))

    def _change_routes(self, source: Source, update: RouteUpdate) -> None:
        self._carry_out(self._rib.update(source, update))

    def _carry_out(self, changes: Changes) -> None:
        """What changed among the best routes goes into the kernel, and to the protocols that announce it."""
        if not changes:
            return
        new = [*changes.added, *(each.new for each in changes.replaced)]
        routes = [route for route in new if route.source != "connected"]
        removed = [route.prefix for route in changes.removed]
        removed += [each.old.prefix for each in changes.replaced if each.new.source == "connected"]
        for error in self._fib.change(routes, removed, self._indices()):
            logger.warning("the kernel refused a route", extra={"router": self.name, "error": str(error)})
        for protocol, policy in self._redistribution.items():
            event = redistribute(changes, protocol, policy)
            if event.routes or event.withdrawn:
                self.give(protocol, event)


class RouterHost:
    """Many routers; `add` and `remove` at any time."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._port = _FIRST_PORT + secrets.randbelow(_FIRST_PORT)  # no two processes shall have the same
        self._monitor = Monitor(self._port)
        self._loop.add_reader(self._monitor.fileno(), self._hear)
        self.routers: dict[str, RouterDriver] = {}
        self._heard: dict[str, int] = {}  # the inode of the namespace that the monitor hears by a name

    def add(
        self,
        name: str,
        namespace: Path,
        protocols: Mapping[ProtocolName, RoutingProtocol],
        redistribution: Redistribution | None = None,
    ) -> RouterDriver:
        """Raises WeftError where the namespace or the right to open its sockets is missing."""
        driver = RouterDriver(
            name, namespace, protocols, self._listener, redistribution=redistribution, port=self._port
        )
        self.routers[name] = driver
        try:
            inode = namespace.stat().st_ino
            if self._heard.get(name) != inode:
                self._monitor.add(name, namespace)  # before the first look, so that no change falls between
                self._heard[name] = inode
            driver.start()
        except (WeftError, OSError):
            self.remove(name, farewell=False)
            raise
        return driver

    def remove(self, name: str, *, farewell: bool = True) -> None:
        driver = self.routers.pop(name, None)
        if driver is not None:
            driver.close(farewell=farewell)

    def close(self, *, farewell: bool = True) -> None:
        for name in list(self.routers):
            self.remove(name, farewell=farewell)
        self._loop.remove_reader(self._monitor.fileno())
        self._monitor.close()

    def repair(self) -> None:
        """Puts back the kernel routes that somebody else has removed or changed."""
        for driver in self.routers.values():
            try:
                driver.repair()
            except (WeftError, OSError) as error:
                logger.warning("cannot repair routes", extra={"router": driver.name, "error": str(error)})

    def _hear(self) -> None:
        for name, parts in self._monitor.changes().items():
            driver = self.routers.get(name)
            if driver is None:
                continue
            try:
                if parts & (Part.LINKS | Part.ADDRESSES):
                    driver.refresh()
            except Exception:
                logger.exception("cannot read interfaces", extra={"router": name})
