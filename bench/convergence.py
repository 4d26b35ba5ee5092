"""A ring of six routers: from a fault on a remote link to the first packet that passes again; Weft's OSPF beside FRR's
with the same timers (hello 1 s, dead 4 s; SPF throttle 0 50 5000 ms, no LSA throttle; with BFD 3 x 100 ms), and from
nothing to the first packet. Memory is that of the routing processes, a router."""

import asyncio
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from bench.measure import Row
from bench.peers import call
from weft.network.routing.bfd import Bfd, BfdConfig
from weft.network.routing.daemon import RouterHost
from weft.network.routing.ospf import Ospf, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.peers import Frr, frr
from weft.network.routing.peers.frr import BfdTimers
from weft.network.routing.protocol import ProtocolName, RoutingProtocol
from weft.network.routing.router import Router

ROUTERS = 6
RUNS = 5
_INTERVAL = 0.005


class Ring:
    """Namespaces r0 to r5 in a ring; packets flow from r0 to the loopback of r2, by r1."""

    def __init__(self) -> None:
        self.prefix = f"bc{os.getpid() % 100000}"
        for n in range(ROUTERS):
            call("ip", "netns", "add", self.name(n))
            self.ip(n, "link set lo up")
            self.ip(n, f"addr add 1.1.1.{n + 1}/32 dev lo")
            self.inside(n, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        for n in range(ROUTERS):
            other = (n + 1) % ROUTERS
            self.ip(n, f"link add right type veth peer name left netns {self.name(other)}")
            for node, link, host in ((n, "right", 0), (other, "left", 1)):
                self.ip(node, f"addr add 10.0.{n}.{host}/31 dev {link}")
                self.ip(node, f"link set {link} up")

    def name(self, n: int) -> str:
        return f"{self.prefix}-{n}"

    def path(self, n: int) -> Path:
        return Path("/run/netns") / self.name(n)

    def ip(self, n: int, command: str) -> None:
        call("ip", "-n", self.name(n), *command.split())

    def inside(self, n: int, *argv: str, check: bool = True) -> str:
        return call("nsenter", f"--net={self.path(n)}", *argv, check=check)

    def ping(self, count: int) -> list[float]:
        """The times of the answers to pings from r0 to r2's loopback, one every 5 ms, in seconds since the first."""
        argv = ["ping", "-n", "-D", "-i", str(_INTERVAL), "-W", "1", "-c", str(count), "1.1.1.3"]
        lines = self.inside(0, *argv, check=False).splitlines()
        return [float(line[1 : line.index("]")]) for line in lines if line.startswith("[") and "bytes from" in line]

    def outage(self, fault: Callable[[], None], seconds: float) -> float:
        """The longest gap between answers while a fault happens, in milliseconds, less the interval."""
        answers: list[float] = []
        thread = threading.Thread(target=lambda: answers.extend(self.ping(int(seconds / _INTERVAL))))
        thread.start()
        time.sleep(0.5)
        fault()
        thread.join()
        gaps = [b - a for a, b in itertools.pairwise(answers)]
        return (max(gaps, default=seconds) - _INTERVAL) * 1000

    def wait(self, seconds: float) -> float:
        """How long until the first packet passes."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            if ", 0% packet loss" in self.inside(0, "ping", "-n", "-c", "1", "-W", "0.05", "1.1.1.3", check=False):
                return time.perf_counter() - began
        raise SystemExit("bench: the ring does not converge")

    def cut(self) -> None:
        self.ip(1, "link set right down")

    def restore(self) -> None:
        self.ip(1, "link set right up")

    def silence(self) -> None:
        """Nothing passes between r1 and r2, and neither sees its link go down."""
        chains = "chain i { type filter hook input priority 0; iifname right drop; }; "
        chains += "chain o { type filter hook output priority 0; oifname right drop; }; "
        chains += "chain f { type filter hook forward priority 0; oifname right drop; iifname right drop; };"
        self.inside(1, "nft", f"table ip cut {{ {chains} }}")

    def speak(self) -> None:
        self.inside(1, "nft", "delete table ip cut")

    def close(self) -> None:
        for n in range(ROUTERS):
            call("ip", "netns", "del", self.name(n), check=False)


def config(n: int) -> OspfConfig:
    links = tuple(
        OspfInterfaceConfig(
            name, network_type="point-to-point", hello_interval=1, dead_interval=4, retransmit_interval=3
        )
        for name in ("left", "right")
    )
    return OspfConfig(
        IPv4Address(f"1.1.1.{n + 1}"), (*links, OspfInterfaceConfig("lo", network_type="loopback")),
        spf_throttle=Throttle(0.0, 0.05, 5.0), lsa_throttle=Throttle(0.0, 0.0, 5.0), min_ls_arrival=0.0,
    )  # fmt: skip


class WeftRouters:
    """All six in one process, on a thread of their own."""

    def __init__(self, ring: Ring, bfd: float | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(ring, bfd), self._loop).result(20)

    async def _start(self, ring: Ring, bfd: float | None) -> None:
        self._host = RouterHost()
        for n in range(ROUTERS):
            protocols: dict[ProtocolName, RoutingProtocol] = {"ospf": Ospf(config(n))}
            if bfd is not None:
                protocols["bfd"] = Bfd(BfdConfig(bfd, bfd, 3))
            self._host.add(f"r{n}", ring.path(n), Router(protocols))

    async def _stop(self) -> None:
        self._host.close()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class FrrRouters:
    def __init__(self, ring: Ring, bfd: float | None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="bc", dir="/tmp"))
        timers = BfdTimers(round(bfd * 1000)) if bfd is not None else None
        self._routers = [
            Frr(ring.path(n), self._directory / str(n), ring.name(n), frr.configuration(f"r{n}", config(n), timers))
            for n in range(ROUTERS)
        ]
        for router in self._routers:
            router.start()

    def memory(self) -> float:
        """MB a router: resident memory that is its own."""
        pids = [pid for router in self._routers for pid in router.pids]
        return sum(_private_mb(pid) for pid in pids) / ROUTERS

    def stop(self) -> None:
        for router in self._routers:
            router.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def _private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


Measured = dict[str, list[float]]


def _measure(
    make: Callable[[Ring, float | None], WeftRouters | FrrRouters], bfd: float | None, silent: bool
) -> Measured:
    """Figures of one make on a fresh ring: cold start in seconds, outages in milliseconds."""
    found: Measured = {"cold": [], "cut": [], "silent": [], "memory": []}
    ring = Ring()
    try:
        routers = make(ring, bfd)
        try:
            found["cold"].append(ring.wait(60))
            time.sleep(8)
            if isinstance(routers, FrrRouters):
                found["memory"].append(routers.memory())
            for _ in range(RUNS):
                found["cut"].append(ring.outage(ring.cut, 2))
                ring.restore()
                time.sleep(8)
            for _ in range(RUNS if silent else 0):
                found["silent"].append(ring.outage(ring.silence, 2.5))
                ring.speak()
                time.sleep(8)
        finally:
            routers.stop()
    finally:
        ring.close()
    return found


def _weft_memory() -> float:
    """MB a router of our process, by what 32 routers add to none; each in a namespace of its own."""
    code = (
        "import asyncio, json, sys\n"
        "from weft.network.routing.daemon.process import Routers\n"
        "from pathlib import Path\n"
        "def pss(): return sum(int(l.split()[1]) for l in open('/proc/self/smaps_rollup') if l.startswith('Pss:'))\n"
        "async def main():\n"
        "    routers = Routers()\n"
        "    before = pss()\n"
        "    routers.follow(json.loads(sys.argv[1]))\n"
        "    await asyncio.sleep(3)\n"
        "    print(before, pss(), file=sys.stderr)\n"
        "    routers.close(farewell=False)\n"
        "asyncio.run(main())\n"
    )
    import json
    import sys

    ring = Ring()
    try:
        circuits = [{"interface": name, "beside": "router"} for name in ("left", "right")]
        entries = [
            {
                "name": f"r{n}",
                "namespace": str(ring.path(n)),
                "spec": {"node": f"r{n}", "loopback": f"1.1.1.{n + 1}/32", "routing": "ospf"},
                "circuits": circuits,
            }
            for n in range(ROUTERS)
        ]
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(entries)], capture_output=True, text=True, check=True
        )
        before, after = map(int, done.stderr.split()[-2:])
        whole = after / 1024
        return whole / ROUTERS if before else whole
    finally:
        ring.close()


def run() -> Iterator[Row]:
    if not shutil.which("vtysh"):
        raise SystemExit("bench: FRR is not installed")
    ours, theirs = _measure(WeftRouters, None, False), _measure(FrrRouters, None, False)
    median = statistics.median
    yield Row("cold start of the ring to the first ping", "s", median(ours["cold"]), "FRR", median(theirs["cold"]))
    yield Row("outage, link down", "ms", median(ours["cut"]), "FRR", median(theirs["cut"]))
    yield Row("memory a router, one process for six", "MB", _weft_memory(), "FRR", median(theirs["memory"]))
    ours, theirs = _measure(WeftRouters, 0.1, True), _measure(FrrRouters, 0.1, True)
    yield Row("outage, link down, BFD 3 x 100 ms", "ms", median(ours["cut"]), "FRR", median(theirs["cut"]))
    yield Row("outage, silent loss, BFD 3 x 100 ms", "ms", median(ours["silent"]), "FRR", median(theirs["silent"]))
    ours = _measure(WeftRouters, 0.01, True)
    yield Row("outage, silent loss, BFD 3 x 10 ms", "ms", median(ours["silent"]))
