"""Four switches in a square, 1 - 2 - 3 - 4 - 1, with a host at each, on a private Open vSwitch in user space."""

import asyncio
import os
import re
import shutil
import tempfile
from pathlib import Path

from weft.network.dataplane.openflow import Bridge, FabricController, OpenFlowDataplane, OpenVSwitch

PAIRS = ((1, 2), (2, 3), (3, 4), (4, 1))


async def run(*command: str, check: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if check and process.returncode:
        raise RuntimeError(f"{command}: {out.decode()}")
    return out.decode()


async def until(condition: object, seconds: float = 15.0) -> None:
    """Waits for what `condition()` says, and fails if it never does."""
    assert callable(condition)
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not come to be in time"
        await asyncio.sleep(0.05)


class Controller:
    def __init__(self, name: str) -> None:
        self.plane = OpenFlowDataplane(name)
        self.brain = FabricController(self.plane, settle=0.5, probe_every=0.5, spread_udp=True)

    async def start(self, port: int = 0) -> int:
        await self.plane.start(("127.0.0.1", port))
        await self.brain.start()
        return self.plane.server.port

    async def stop(self) -> None:
        await self.brain.close()
        await self.plane.close()

    async def settled(self, hosts: int = 0) -> None:
        """All links, that many hosts, and a round of decisions on that."""
        await until(lambda: len(self.brain.fabric.links) == 8 and len(self.brain.fabric.hosts) >= hosts)
        rounds = self.brain.applied
        self.brain.recheck()
        await until(lambda: self.brain.applied > rounds)


class Square:
    def __init__(self) -> None:
        self.tag = f"wo{os.getpid() % 100000}"
        self.directory = Path(tempfile.mkdtemp(prefix="wo", dir="/tmp"))
        self.ovs = OpenVSwitch(self.directory)
        self.port = 0
        self.controller = Controller(self.tag)

    def bridge(self, number: int) -> str:
        return f"{self.tag}s{number}"

    def host(self, number: int) -> str:
        return f"{self.tag}h{number}"

    def end(self, at: int, to: int) -> str:
        return f"{self.tag}{at}{to}"

    async def start(self) -> None:
        self.port = await self.controller.start()
        await self.ovs.start()
        bridges = []
        for at, to in PAIRS:
            await run("ip", "link", "add", self.end(at, to), "up", "type", "veth", "peer", self.end(to, at))
            await run("ip", "link", "set", self.end(to, at), "up")
            for end in (self.end(at, to), self.end(to, at)):
                await run("sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1")
        for number in range(1, 5):
            name = self.host(number)
            await run("ip", "netns", "add", name)
            await run("ip", "link", "add", f"{self.tag}p{number}", "up", "type", "veth", "peer", "eth0", "netns", name)
            await run("sysctl", "-qw", f"net.ipv6.conf.{self.tag}p{number}.disable_ipv6=1")
            await run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            await run("ip", "-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
            await run("ip", "-n", name, "link", "set", "eth0", "address", f"02:00:00:00:00:0{number}", "up")
            await run("ip", "netns", "exec", name, "ethtool", "-K", "eth0", "tx", "off")
            ports = [f"{self.tag}p{number}", *[self.end(a, b) for p in PAIRS for a, b in (p, p[::-1]) if a == number]]
            numbers = {port: at for at, port in enumerate(ports, 1)}
            bridges.append(Bridge(self.bridge(number), number, numbers, f"tcp:127.0.0.1:{self.port}"))
        await self.ovs.apply(bridges)

    async def restart_controller(self) -> None:
        await self.controller.stop()
        self.controller = Controller(self.tag)
        await self.controller.start(self.port)

    async def stop(self) -> None:
        await self.controller.stop()
        await self.ovs.stop()
        for number in range(1, 5):
            await run("ip", "netns", "del", self.host(number), check=False)
            await run("ip", "link", "del", f"{self.tag}p{number}", check=False)
        for at, to in PAIRS:
            await run("ip", "link", "del", self.end(at, to), check=False)
        shutil.rmtree(self.directory)

    async def lost(self, source: int, target: int, count: int = 5, interval: float = 0.05) -> int:
        """Of `count` pings."""
        command = ("ping", "-n", "-q", "-W", "1", "-c", str(count), "-i", str(interval), f"10.9.0.{target}")
        out = await run("ip", "netns", "exec", self.host(source), *command, check=False)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
        assert found, out
        return int(found[1]) - int(found[2])

    async def flows(self, number: int) -> str:
        return await run(
            "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", self.ovs.management(self.bridge(number)), "--no-stats"
        )

    async def meet(self) -> None:
        """All hosts have spoken, and know one another's addresses."""
        await self.controller.settled()
        for a in range(1, 5):
            for b in range(1, 5):
                if a != b:
                    await self.lost(a, b, 2)
        await self.controller.settled(hosts=4)
        for number in range(1, 5):  # so that no ARP disturbs a test without a controller
            for other in range(1, 5):
                if number != other:
                    words = (f"10.9.0.{other}", "lladdr", f"02:00:00:00:00:0{other}", "nud", "permanent")
                    await run("ip", "-n", self.host(number), "neigh", "replace", *words, "dev", "eth0")
