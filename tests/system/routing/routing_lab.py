"""Namespaces joined by links, with routers of Weft, FRR and BIRD in them."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from weft.network.routing.bfd import Bfd, BfdConfig
from weft.network.routing.daemon import RouterHost
from weft.network.routing.ospf import Ospf, OspfConfig, OspfInterfaceConfig
from weft.network.routing.ospf.lsa import LsaHeader
from weft.network.routing.peers import Bird, Frr, bird, frr
from weft.network.routing.peers.frr import BfdTimers
from weft.network.routing.policy import Match, Policy, Settings, Statement
from weft.network.routing.protocol import Event, NeighborChanged, Notice, ProtocolName, RoutingProtocol
from weft.network.routing.rip import Rip, RipConfig
from weft.network.routing.router import Router

T = TypeVar("T")

STATIC = Policy("static", (Statement("permit", Match(("static",)), Settings(metric=20)),))
FAST = {"hello_interval": 1, "dead_interval": 4, "retransmit_interval": 3}


def sh(command: str, check: bool = True) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def until(condition: Callable[[], object], what: str, seconds: float = 40.0) -> None:
    """Waits for something that peers do in their own time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


class Lab:
    """Namespaces `PREFIX-NODE`; a link's interface bears the name of the node at its other end, or of the LAN."""

    def __init__(self) -> None:
        self.prefix = f"rt{os.getpid() % 100000}"
        self.directory = Path(tempfile.mkdtemp(prefix="rt", dir="/tmp"))
        self.directory.chmod(0o755)
        self.addresses: dict[tuple[str, str], str] = {}
        self.nodes: list[str] = []
        self.stops: list[Callable[[], None]] = []

    def path(self, node: str) -> Path:
        return Path("/run/netns") / f"{self.prefix}-{node}"

    def node(self, name: str, number: int) -> None:
        self.nodes.append(name)
        sh(f"ip netns add {self.prefix}-{name}")
        ns = f"{self.prefix}-{name}"
        sh(f"ip -n {ns} link set lo up; ip -n {ns} addr add 1.1.1.{number}/32 dev lo")
        self.inside(
            name, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
        )
        self.inside(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1", check=False)

    def link(self, a: str, b: str, subnet: int, mtu: int = 1500) -> None:
        one, two = f"{self.prefix}-{a}", f"{self.prefix}-{b}"
        sh(f"ip -n {one} link add {b} mtu {mtu} type veth peer name {a} mtu {mtu} netns {two}")
        for ns, name, host in ((one, b, 1), (two, a, 2)):
            sh(f"ip -n {ns} addr add 10.0.{subnet}.{host}/24 dev {name}; ip -n {ns} link set {name} up")

    def lan(self, name: str, subnet: int, *nodes: str) -> None:
        """A bridge in a namespace of its own, with a port for each node."""
        ns = f"{self.prefix}-{name}"
        self.nodes.append(name)
        sh(f"ip netns add {ns}; ip -n {ns} link add name br0 type bridge; ip -n {ns} link set br0 up")
        self.inside(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1", check=False)
        for host, node in enumerate(nodes, 1):
            there = f"{self.prefix}-{node}"
            sh(f"ip -n {ns} link add {node} type veth peer name {name} netns {there}")
            sh(f"ip -n {ns} link set {node} master br0 up")
            sh(f"ip -n {there} addr add 10.0.{subnet}.{host}/24 dev {name}; ip -n {there} link set {name} up")

    def inside(self, node: str, command: str, check: bool = True) -> str:
        return sh(f"nsenter --net={self.path(node)} {command}", check)

    def frr(self, node: str, config: OspfConfig, bfd: BfdTimers | None = None, static: tuple[str, ...] = ()) -> Frr:
        text = frr.configuration(node, config, bfd, static, announced=STATIC)
        daemon = Frr(self.path(node), self.directory / node, f"{self.prefix}-{node}", text)
        self.stops.append(daemon.kill)
        daemon.start()
        return daemon

    def bird(self, node: str, config: OspfConfig, bfd: BfdTimers | None = None, static: tuple[str, ...] = ()) -> Bird:
        text = bird.configuration(config.router_id, config, bfd, static, announced=STATIC)
        daemon = Bird(self.path(node), self.directory / node, text)
        self.stops.append(daemon.kill)
        daemon.start()
        return daemon

    def rip_peer(self, make: str, node: str, number: int, config: RipConfig) -> Frr | Bird:
        """A router of FRR or BIRD that speaks RIP."""
        daemon: Frr | Bird
        if make == "frr":
            daemon = Frr(
                self.path(node), self.directory / node, f"{self.prefix}-{node}", frr.configuration(node, rip=config)
            )
        else:
            text = bird.configuration(IPv4Address(f"1.1.1.{number}"), rip=config)
            daemon = Bird(self.path(node), self.directory / node, text)
        self.stops.append(daemon.kill)
        daemon.start()
        return daemon

    def weft_rip(self, node: str, config: RipConfig) -> "WeftRouter":
        router = WeftRouter(self.path(node), rip=config)
        self.stops.append(router.stop)
        router.start()
        return router

    def weft(self, node: str, config: OspfConfig, bfd: BfdConfig | None = None) -> "WeftRouter":
        router = WeftRouter(self.path(node), config, bfd)
        self.stops.append(router.stop)
        router.start()
        return router

    @contextlib.contextmanager
    def capture(self, node: str, interface: str, what: str = "ip proto 89") -> Iterator[Path]:
        """What passes an interface, in a file."""
        file = self.directory / f"{node}-{interface}.pcap"
        argv = [
            "nsenter",
            f"--net={self.path(node)}",
            "tcpdump",
            "-U",
            "-i",
            interface,
            "-w",
            str(file),
            "-Z",
            "root",
            what,
        ]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        until(lambda: file.exists() and file.stat().st_size >= 24, "tcpdump writes", 10)
        try:
            yield file
        finally:
            process.terminate()
            process.wait(10)

    def close(self) -> None:
        for stop in reversed(self.stops):
            stop()
        for node in self.nodes:
            sh(f"ip netns del {self.prefix}-{node}", check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def config(
    number: int,
    *circuits: str | OspfInterfaceConfig,
    kind: str = "point-to-point",
    more: dict[str, object] | None = None,
    **whole: object,
) -> OspfConfig:
    """A router whose interfaces are named, with fast timers."""
    made = [
        each
        if isinstance(each, OspfInterfaceConfig)
        else OspfInterfaceConfig(each, network_type=kind, **{**FAST, **(more or {})})
        for each in circuits
    ]
    loopback = OspfInterfaceConfig("lo", network_type="loopback", area=made[0].area)
    return OspfConfig(IPv4Address(f"1.1.1.{number}"), (*made, loopback), **whole)


def lsas_of_frr(router: Frr, area: str = "0.0.0.0") -> set[tuple[str, str, str, str]]:
    """(link state ID, router, sequence, checksum) of all that FRR shows for an area, and of AS-external LSAs."""
    found = set()
    inside = False
    for line in router.ask("show ip ospf database").splitlines():
        if "Link States" in line:
            inside = f"(Area {area}" in line or "AS External" in line
        words = line.split()
        if inside and len(words) >= 5 and words[0].count(".") == 3:
            found.add((words[0], words[1], words[3].lower(), f"{int(words[4], 16):#06x}"))
    return found


def lsas_of_bird(router: Bird, area: str = "0.0.0.0") -> set[tuple[str, str, str, str]]:
    found = set()
    inside = False
    for line in router.ask("show ospf lsadb").splitlines():
        if line.startswith(("Area", "Global")):
            inside = line.split() == ["Area", area] or line.startswith("Global")
        words = line.split()
        if inside and len(words) == 6 and words[1].count(".") == 3:
            found.add((words[1], words[2], f"0x{words[3]}", f"0x{words[5]}"))
    return found


def lsas_of_weft(headers: list[LsaHeader]) -> set[tuple[str, str, str, str]]:
    return {
        (str(IPv4Address(h.id)), str(IPv4Address(h.router)), f"{h.sequence & 0xFFFFFFFF:#010x}", f"{h.checksum:#06x}")
        for h in headers
    }


class WeftRouter:
    """Our own router: its core on real sockets, on an event loop in a thread."""

    def __init__(
        self,
        namespace: Path,
        config: OspfConfig | None = None,
        bfd: BfdConfig | None = None,
        rip: RipConfig | None = None,
    ) -> None:
        self.core = Ospf(config or OspfConfig(IPv4Address(1)))
        self.bfd = Bfd(bfd) if bfd is not None else None
        self.rip = Rip(rip) if rip is not None else None
        self.notices: list[str] = []
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._host: RouterHost | None = None

    def start(self) -> None:
        self._thread.start()
        self.call(self._open)

    def _open(self) -> None:
        self._host = RouterHost(self._hear)
        protocols: dict[ProtocolName, RoutingProtocol] = {"ospf": self.core}
        if self.rip is not None:
            protocols = {"rip": self.rip}
        if self.bfd is not None:
            protocols["bfd"] = self.bfd
        self._host.add("router", self._namespace, Router(protocols))

    def _hear(self, name: str, action: NeighborChanged | Notice) -> None:
        if isinstance(action, Notice):
            self.notices.append(f"{action.interface}: {action.text}")

    def call(self, work: Callable[[], T]) -> T:
        """Runs `work` on the router's loop."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def give(self, event: Event, protocol: ProtocolName = "ospf") -> None:
        self.call(lambda: self._host and self._host.routers["router"].give(protocol, event))

    def neighbors(self) -> dict[str, tuple[str, str]]:
        return self.call(lambda: {str(each.router_id): (each.state, each.role) for each in self.core.neighbors()})

    def lsas(self, area: str = "0.0.0.0") -> set[tuple[str, str, str, str]]:
        return lsas_of_weft(self.call(lambda: self.core.database(IPv4Address(area), self._loop.time())))

    def externals(self) -> set[tuple[str, str, str, str]]:
        return lsas_of_weft(self.call(lambda: self.core.database(None, self._loop.time())))

    def sessions(self) -> list[str]:
        return self.call(lambda: list(self.bfd.sessions().values()) if self.bfd else [])

    def routes(self) -> dict[str, tuple[int, list[str]]]:
        assert self._host is not None
        found = self.call(lambda: self._host.routers["router"].router.routes if self._host else [])
        return {str(r.prefix): (r.metric, sorted(str(hop.via) for hop in r.next_hops)) for r in found}

    def repair(self) -> None:
        self.call(lambda: self._host and self._host.repair())

    def stop(self, farewell: bool = True) -> None:
        if self._host is None:
            return
        host, self._host = self._host, None
        self.call(lambda: host.close(farewell=farewell))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def kill(self) -> None:
        """Without a word; its kernel routes stay."""
        self.stop(farewell=False)
