"""Runs routers on the sockets of network namespaces: many in one process, on one event loop.

In: namespaces with their routers. Out: packets, kernel routes, and for who asks the neighbours' changes. One `Monitor`
hears of interfaces in all namespaces. An error of one router is logged and does not reach the others.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from weft.core.errors import WeftError
from weft.network.dataplane.linux.reroute import FastReroute
from weft.network.routing.daemon.kernel import Fib, read_interfaces
from weft.network.routing.daemon.sockets import KINDS, ProtocolSocket
from weft.network.routing.protocol import Address, Event, NeighborChanged, Notice, ProtocolName, Shutdown
from weft.network.routing.rib.routes import Route
from weft.network.routing.router import Forward, Output, Reachable, Redistribution, Router, Transmit
from weft.network.southbound.monitor import Monitor, Part
from weft.network.southbound.netlink import Netlink

logger = logging.getLogger(__name__)
_SWEEP_SECONDS = 60.0
_FIRST_PORT = 1 << 29

Listener = Callable[[str, NeighborChanged | Notice], None]


class RouterDriver:
    """One router. `listener` gets its name with each change of a neighbour and each notice."""

    def __init__(
        self, name: str, namespace: Path, router: Router, listener: Listener | None = None, *, port: int = 0
    ) -> None:
        """`port` is that of the netlink socket, by which a `Monitor` knows our own changes."""
        self.name = name
        self.router = router
        self._namespace = namespace
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._netlink = Netlink(namespace, port=port)
        self._fib = Fib(self._netlink)
        self._sockets: dict[ProtocolName, ProtocolSocket] = {}
        self._indices: dict[str, int] = {}  # of interfaces, by name
        self._timer: tuple[float, asyncio.Handle] | None = None  # uvloop's handles do not tell their time
        self._sweep: asyncio.TimerHandle | None = None

    def start(self) -> None:
        for protocol in self.router.protocols:
            if protocol in KINDS:
                opened = self._sockets[protocol] = ProtocolSocket(self._namespace, protocol)
                self._loop.add_reader(opened.fileno(), self._readable, protocol)
        self.refresh()
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._fib.sweep)

    def close(self, *, farewell: bool = True) -> None:
        """With `farewell` takes leave of neighbours and of kernel routes; else they stay for who comes next."""
        if farewell:
            self._carry_out(self.router.handle_all(Shutdown(), self._loop.time()))
        for handle in (self._timer[1] if self._timer is not None else None, self._sweep):
            if handle is not None:
                handle.cancel()
        for opened in self._sockets.values():
            self._loop.remove_reader(opened.fileno())
            opened.close()
        self._sockets.clear()
        self._netlink.close()

    def refresh(self) -> None:
        """Reads the interfaces again and tells the router."""
        present = read_interfaces(self._netlink)
        indices = {interface.name: index for index, interface in present.items()}
        if gone := {name for name, index in self._indices.items() if indices.get(name) != index}:
            for opened in self._sockets.values():
                for name in gone:
                    opened.leave(name)
            # Also where one of the same name has come in its place.
            stayed = [each for each in self.router.interfaces.values() if each.name not in gone]
            self._carry_out(self.router.set_interfaces(stayed, self._loop.time()))
        for name, index in indices.items():
            if self._indices.get(name) != index:
                for opened in self._sockets.values():
                    opened.join(name, index)
        self._indices = indices
        self._carry_out(self.router.set_interfaces(present.values(), self._loop.time()))

    def set_static(self, routes: Iterable[Route]) -> None:
        """The user's own routes; the interface of a next hop may be left open."""
        self._carry_out(self.router.replace("static", routes, self._loop.time()))

    def set_redistribution(self, redistribution: Redistribution) -> None:
        """Other policies for what protocols announce."""
        self._carry_out(self.router.set_redistribution(redistribution, self._loop.time()))

    def watch(self, interface: str, address: Address) -> None:
        """BFD looks after a neighbour, and its failure moves routes to their backups here and at once."""
        self._carry_out(self.router.watch(interface, address, self._loop.time()))

    def _reroute(self, interface: str, alive: bool) -> None:
        try:
            with FastReroute(self._namespace) as reroute:
                count = reroute.recover(interface) if alive else reroute.fail(interface)
        except (WeftError, OSError) as error:  # the link itself has gone: the kernel has taken it out by itself
            logger.debug("not rerouted", extra={"router": self.name, "error": str(error)})
            return
        word = "answers again" if alive else "is silent"
        text = f"the neighbor {word}: {count} next-hop objects changed"
        logger.info(text, extra={"router": self.name, "interface": interface})

    def repair(self) -> None:
        if count := self._fib.repair(self._indices):
            logger.info("routes repaired", extra={"router": self.name, "routes": count})

    def give(self, protocol: ProtocolName, event: Event) -> None:
        self._carry_out(self.router.handle(protocol, event, self._loop.time()))

    def _fire(self) -> None:
        self._timer = None
        try:
            self._carry_out(self.router.fire(self._loop.time()))
        except Exception:
            logger.exception("a router failed", extra={"router": self.name})
            self._arm()

    def _readable(self, protocol: ProtocolName) -> None:
        try:
            for event in self._sockets[protocol].receive():
                self.give(protocol, event)
        except Exception:
            logger.exception("a router failed", extra={"router": self.name, "protocol": protocol})
            self._arm()

    def _carry_out(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case Transmit(protocol, send):
                    if error := self._sockets[protocol].send(send):
                        logger.debug("not sent", extra={"router": self.name, "error": str(error)})
                case Forward(routes, removed):
                    for refusal in self._fib.change(list(routes), list(removed), self._indices):
                        logger.warning("the kernel refused a route", extra={"router": self.name, "error": str(refusal)})
                case Reachable(interface, _, alive):
                    self._reroute(interface, alive)
                case NeighborChanged() | Notice():
                    if self._listener is not None:
                        self._listener(self.name, output)
        self._arm()

    def _arm(self) -> None:
        when = self.router.next_timer()
        if self._timer is not None:
            if self._timer[0] == when:
                return
            self._timer[1].cancel()
            self._timer = None
        if when is not None:
            self._timer = (when, self._loop.call_at(when, self._fire))


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

    def add(self, name: str, namespace: Path, router: Router) -> RouterDriver:
        """Raises WeftError where the namespace or the right to open its sockets is missing."""
        driver = RouterDriver(name, namespace, router, self._listener, port=self._port)
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
