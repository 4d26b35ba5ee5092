"""OSPF on a thousand simulated routers, from nothing to equal routes everywhere: how fast, and in how much memory.

The routers stand in a torus (each with four neighbours), with hello intervals of 10 s; `BENCH_ROUTERS` is their number.
Events are packets that arrive, timers and calls. There is no peer that runs OSPF's own code for so many routers in one
process.
"""

import dataclasses
import os
import time

from bench.measure import Row
from weft.network.dataplane.simulation import SimulatedNetwork
from weft.network.topology.generators import torus
from weft.network.topology.model import Topology
from weft.network.topology.settings import RoutingSettings

ROUTERS = int(os.environ.get("BENCH_ROUTERS", "1000"))
_MOST_SECONDS = 120


def topology(count: int) -> Topology:
    rows = next(each for each in range(int(count**0.5), 0, -1) if count % each == 0)
    made = torus(rows, count // rows)
    settings = RoutingSettings(protocol="ospf")
    routers = tuple(dataclasses.replace(router, settings=settings) for router in made.routers)
    return dataclasses.replace(made, routing=settings, routers=routers)


def _resident() -> float:
    """Of this process, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def run() -> list[Row]:
    lab = topology(ROUTERS)
    before, began = _resident(), time.perf_counter()
    network = SimulatedNetwork(lab)
    while network.agenda.now - network.last_change < 11:  # a hello interval, and some more
        if network.agenda.now > _MOST_SECONDS:
            raise RuntimeError(f"not converged after {_MOST_SECONDS} s")
        network.run(network.agenda.now + 1)
    took = time.perf_counter() - began
    wanted = set(network.addresses.loopbacks.values())
    for node in network.nodes.values():
        missing = wanted - node.owned - {route.prefix.network_address for route in node.router.routes}
        if missing:
            raise RuntimeError(f"{node.name} lacks routes to {len(missing)} routers")
    note = f"{ROUTERS} routers, {len(lab.links)} links, {network.agenda.done} events"
    return [
        Row("virtual time to convergence", "s", network.last_change, note=note),
        Row("real time to convergence", "s", took, note=note),
        Row("events a second", "1/s", network.agenda.done / took, note=note),
        Row("memory a router", "MiB", (_resident() - before) / ROUTERS, note=note),
    ]
