"""10,000 flows into a private Open vSwitch, one by one with a barrier and in one bundle, beside ovs-ofctl."""

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row
from weft.network.dataplane.openflow import Bridge, OpenVSwitch
from weft.network.southbound.openflow import OpenFlowServer, Switch, match
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.actions import ApplyActions, Output

FLOWS, RUNS = 10_000, 3
_ADDRESSES = [f"10.{n >> 8 & 255}.{n & 255}.1" for n in range(FLOWS)]


class _Handler:
    def __init__(self) -> None:
        self.switch: asyncio.Future[Switch] = asyncio.get_running_loop().create_future()

    def connected(self, switch: Switch) -> None:
        if not self.switch.done():
            self.switch.set_result(switch)

    def received(self, switch: Switch, message: m.Message) -> None: ...

    def disconnected(self, switch: Switch, cause: str) -> None: ...


def _mods() -> list[m.FlowMod | m.GroupMod]:
    """Made anew in each run, as encoding is part of the figure."""
    out = (ApplyActions((Output(1),)),)
    return [m.FlowMod(match(eth_type=0x0800, ipv4_dst=each), out, priority=9) for each in _ADDRESSES]


async def _measure(directory: Path) -> dict[str, float]:
    handler = _Handler()
    server = OpenFlowServer(handler)
    ovs = OpenVSwitch(directory)
    times: dict[str, list[float]] = {}
    file = directory / "flows"
    file.write_text("".join(f"priority=9,ip,nw_dst={each},actions=output:1\n" for each in _ADDRESSES))
    await server.listen(("127.0.0.1", 0))
    await ovs.start()
    try:
        await ovs.apply([Bridge("wbof", 1, {}, f"tcp:127.0.0.1:{server.port}")])
        switch = await asyncio.wait_for(handler.switch, 20)

        async def ours(*, bundle: bool) -> None:
            done = await (switch.bundle(_mods()) if bundle else switch.batch(_mods()))
            if done.failures:
                raise RuntimeError(str(done.failures[0]))

        async def theirs(*options: str) -> None:
            command = ("ovs-ofctl", "-O", "OpenFlow14", *options, "add-flows", ovs.management("wbof"), str(file))
            await asyncio.to_thread(subprocess.run, command, check=True)

        await ovs.vsctl(["set", "bridge", "wbof", "protocols=OpenFlow13,OpenFlow14"])
        handler.switch = asyncio.get_running_loop().create_future()
        await asyncio.sleep(2)  # the bridge calls again after its protocols changed
        switch = next(iter(server.channels), switch)
        for _ in range(RUNS):
            for name, work in (
                ("bundle", lambda: ours(bundle=True)),
                ("one", lambda: ours(bundle=False)),
                ("bundle of ovs-ofctl", lambda: theirs("--bundle")),
                ("one of ovs-ofctl", theirs),
            ):
                await switch.batch([m.FlowMod(match(), command=m.FlowCommand.DELETE, table=m.ALL_TABLES)])
                began = time.perf_counter()
                await work()
                times.setdefault(name, []).append(FLOWS / (time.perf_counter() - began))
        flows = await switch.read(m.FlowStatsRequest(), m.FlowStats)
        if len(flows) != FLOWS:
            raise RuntimeError(f"{len(flows)} flows instead of {FLOWS}")
    finally:
        await server.close()
        await ovs.stop()
    return {name: statistics.median(each) for name, each in times.items()}


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="wbof", dir="/tmp") as directory:
        rates = asyncio.run(_measure(Path(directory)))
    yield Row("flow-mods into OVS, one bundle", "1/s", rates["bundle"], "ovs-ofctl --bundle",
              rates["bundle of ovs-ofctl"], "the peer is C, and its process starts within the time")  # fmt: skip
    yield Row("flow-mods into OVS, one by one and a barrier", "1/s", rates["one"], "ovs-ofctl",
              rates["one of ovs-ofctl"])  # fmt: skip
