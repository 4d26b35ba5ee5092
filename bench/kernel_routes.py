"""10,000 routes into the kernel of one namespace, and onto another neighbour, beside `ip -batch`.

Weft's routes refer to next-hop objects: when all of them move, one object changes. Next to it stands what iproute2
needs with plain routes, each replaced, and the bare kernel time of `ip -batch` includes the start of one process.
"""

import asyncio
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface

from bench.measure import Row
from weft.network.dataplane.linux import DataLink, End, Hop, LinuxDataplane, Namespace, NetworkState, NodeRoute

RUNS = 5
ROUTES = 10_000
_NETWORKS = [IPv4Network((int(IPv4Address("20.0.0.0")) + 256 * n, 24)) for n in range(ROUTES)]


def _state(hop: Hop | None, backup: Hop | None = None, *, but_one: bool = False) -> NetworkState:
    """r with two neighbours a and b, and all routes by one of them, with the other as the backup or none."""
    spare = (backup,) if backup else ()
    routes = tuple(NodeRoute(each, (hop,), backup=spare) for each in _NETWORKS[but_one:]) if hop else ()
    links = tuple(
        DataLink(
            f"r-{name}",
            (
                End("r", f"to_{name}", (ip_interface(f"10.{n}.0.1/24"),)),
                End(name, "to_r", (ip_interface(f"10.{n}.0.2/24"),)),
            ),
        )
        for n, name in ((1, "a"), (2, "b"))
    )
    return NetworkState((Namespace("r", True, routes=routes), Namespace("a"), Namespace("b")), links)


A, B = Hop("to_a", ip_address("10.1.0.2")), Hop("to_b", ip_address("10.2.0.2"))


async def _ours(plane: LinuxDataplane) -> dict[str, float]:
    figures = {}

    async def timed(what: str, state: NetworkState) -> None:
        began = time.perf_counter()
        report = await plane.apply(state)
        figures[what] = (time.perf_counter() - began) * 1000
        if report.errors:
            raise RuntimeError(str(report.errors))

    await plane.apply(_state(None))
    await timed("install", _state(A))
    await timed("nothing", _state(A))
    await timed("one", _state(A, but_one=True))
    await plane.apply(_state(A))
    await timed("move", _state(B))
    await timed("remove", _state(None))
    await plane.apply(_state(A, B))
    with plane.reroute("r") as reroute:
        began = time.perf_counter()
        reroute.fail("to_a")
        figures["fail"] = (time.perf_counter() - began) * 1000
    return figures


def _batch(namespace: str, verb: str, hop: str = "") -> float:
    lines = "\n".join(f"route {verb} {each}{hop}" for each in _NETWORKS)
    began = time.perf_counter()
    subprocess.run(("ip", "-n", namespace, "-batch", "-"), input=lines, text=True, check=True)
    return (time.perf_counter() - began) * 1000


def run() -> Iterator[Row]:
    plane = LinuxDataplane(f"wb{os.getpid()}")
    mine: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []

    async def measure() -> None:
        try:
            for _ in range(RUNS):
                mine.append(await _ours(plane))
                await plane.apply(_state(None))
                name = plane.path("r").name
                theirs.append(
                    {
                        "install": await asyncio.to_thread(_batch, name, "add", " via 10.1.0.2"),
                        "move": await asyncio.to_thread(_batch, name, "replace", " via 10.2.0.2"),
                        "remove": await asyncio.to_thread(_batch, name, "del"),
                    }
                )
        finally:
            await plane.remove()
            plane.close()

    asyncio.run(measure())
    median = {what: statistics.median(each[what] for each in mine) for what in mine[0]}
    peer = {what: statistics.median(each[what] for each in theirs) for what in theirs[0]}
    count = f"{ROUTES:,} routes"
    yield Row(f"{count}: installed", "ms", median["install"], "ip -batch", peer["install"])
    yield Row(f"{count}: all to another neighbour", "ms", median["move"], "ip -batch", peer["move"],
              "one object, against one request a route")  # fmt: skip
    yield Row(f"{count}: removed", "ms", median["remove"], "ip -batch", peer["remove"])
    yield Row(f"{count}: looked at again, nothing changed", "ms", median["nothing"])
    yield Row(f"{count}: one of them goes", "ms", median["one"])
    yield Row(f"{count}: a neighbour falls silent, all on their backup", "ms", median["fail"])
