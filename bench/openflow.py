"""10,000 flows into a private Open vSwitch, one by one with a barrier and in one bundle, and packet-ins answered with a
new flow each, 32 at a time; beside ovs-ofctl, and os-ken where BENCH_OSKEN_PYTHON names a Python that has it.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row
from bench.openflow_setup import setups
from weft.network.dataplane.openflow import Bridge, OpenVSwitch
from weft.network.southbound.openflow import OpenFlowServer, Switch, match
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.actions import ApplyActions, Output

FLOWS, RUNS, SETUPS = 10_000, 3, 10_000
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


@contextlib.contextmanager
def _os_ken(python: str, flows: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """os-ken with our application, and the port that it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("openflow_osken.py")), str(port)],
        env=os.environ | {"BENCH_FLOWS": str(flows)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def _own_setups() -> float:
    command = [sys.executable, "-m", "bench.openflow_setup"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            return statistics.median(setups(port, SETUPS) for _ in range(RUNS))
        finally:
            process.kill()


async def _peers_flows(ovs: OpenVSwitch, python: str) -> float:
    """Flow-mods a second by os-ken, one by one and a barrier."""
    rates = []
    for run in range(RUNS):
        with _os_ken(python, FLOWS) as (port, process):
            await ovs.apply([Bridge(f"wbok{run}", 2 + run, {}, f"tcp:127.0.0.1:{port}")])
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            rates.append(FLOWS / float(line.split()[1]))
    return statistics.median(rates)


async def _measure(directory: Path, os_ken: str) -> dict[str, float]:
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
        if os_ken:
            times["os-ken"] = [await _peers_flows(ovs, os_ken)]
    finally:
        await server.close()
        await ovs.stop()
    return {name: statistics.median(each) for name, each in times.items()}


def run() -> Iterator[Row]:
    os_ken = os.environ.get("BENCH_OSKEN_PYTHON", "")
    with tempfile.TemporaryDirectory(prefix="wbof", dir="/tmp") as directory:
        rates = asyncio.run(_measure(Path(directory), os_ken))
    yield Row("flow-mods into OVS, one bundle", "1/s", rates["bundle"], "ovs-ofctl --bundle",
              rates["bundle of ovs-ofctl"], "the peer is C, and its process starts within the time")  # fmt: skip
    yield Row("flow-mods into OVS, one by one and a barrier", "1/s", rates["one"], "ovs-ofctl",
              rates["one of ovs-ofctl"])  # fmt: skip
    own = _own_setups()
    if not os_ken:
        yield Row("packet-ins answered with a flow and the packet", "1/s", own)
        return
    yield Row("flow-mods into OVS, one by one and a barrier", "1/s", rates["one"], "os-ken", rates["os-ken"])
    with _os_ken(os_ken, 0) as (port, _):
        theirs = statistics.median(setups(port, SETUPS) for _ in range(RUNS))
    yield Row("packet-ins answered with a flow and the packet", "1/s", own, "os-ken", theirs)
