"""Labs in the kernel, up and down: 64 hosts and 9 switches beside Mininet, and 500 namespaces on a bridge beside ip.

Weft's switches are bridges in namespaces of their own; Mininet's (LinuxBridge) share the root namespace, and its hosts
each have a shell. Peers are given the same addresses and no more.
"""

import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_interface

from bench.measure import Row
from weft.network.dataplane.linux import DataLink, End, LinuxDataplane, Namespace, NetworkState

RUNS = 3
FANOUT = 8
MANY = 500

_MININET = """
import json, sys, time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topolib import TreeTopo
began = time.perf_counter()
net = Mininet(TreeTopo(depth=2, fanout=FANOUT), switch=LinuxBridge, controller=None)
net.start()
up = time.perf_counter() - began
hosts = net.hosts
answer = hosts[0].cmd("ping -c1 -W2 " + hosts[-1].IP())
began = time.perf_counter()
net.stop()
print(json.dumps([up, time.perf_counter() - began, "1 received" in answer]))
"""


def tree() -> NetworkState:
    """As Mininet's TreeTopo: one switch above, a switch below for each of its ports, and hosts below these."""
    nodes, links = [Namespace("s", bridge=True)], []
    for n in range(FANOUT):
        nodes.append(Namespace(f"s{n}", bridge=True))
        links.append(DataLink(f"s-s{n}", (End("s", f"p{n}"), End(f"s{n}", "up"))))
        for m in range(FANOUT):
            host = n * FANOUT + m
            nodes.append(Namespace(f"h{host}"))
            address = ip_interface(f"{IPv4Address('10.0.0.1') + host}/8")
            links.append(DataLink(f"s{n}-h{host}", (End(f"s{n}", f"p{m}"), End(f"h{host}", "eth0", (address,)))))
    return NetworkState(tuple(nodes), tuple(links))


def star(count: int) -> NetworkState:
    nodes, links = [Namespace("s", bridge=True)], []
    for n in range(count):
        nodes.append(Namespace(f"h{n}"))
        address = ip_interface(f"{IPv4Address('10.0.0.1') + n}/8")
        links.append(DataLink(f"l{n}", (End("s", f"p{n}"), End(f"h{n}", "eth0", (address,)))))
    return NetworkState(tuple(nodes), tuple(links))


def ours(state: NetworkState) -> tuple[float, float, float]:
    """Seconds up, for a change of one link, and down."""

    async def lab() -> tuple[float, float, float]:
        plane = LinuxDataplane(f"wb{os.getpid()}")
        try:
            began = time.perf_counter()
            report = await plane.apply(state)
            up = time.perf_counter() - began
            if report.errors:
                raise RuntimeError(f"the lab has errors: {report.errors}")
            _ping(plane.path("h0").name, state)
            await plane.apply(state)
            links = list(state.links)
            links[-1] = DataLink(links[-1].name, links[-1].ends, up=False)
            began = time.perf_counter()
            await plane.apply(NetworkState(state.namespaces, tuple(links)))
            change = time.perf_counter() - began
        finally:
            began = time.perf_counter()
            await plane.remove()
            down = time.perf_counter() - began
            plane.close()
        return up, change, down

    figures = asyncio.run(lab())
    _settle()
    return figures


def _ping(namespace: str, state: NetworkState) -> None:
    address = str(state.links[-1].ends[1].addresses[0].ip)
    subprocess.run(
        ("ip", "netns", "exec", namespace, "ping", "-c1", "-W2", address), check=True, stdout=subprocess.DEVNULL
    )


def _settle() -> None:
    """The kernel takes namespaces down in the background: the next run shall not pay for that."""
    while len(os.listdir("/sys/class/net")) > 100:
        time.sleep(0.1)
    time.sleep(1)


def mininet() -> tuple[float, float] | None:
    """None where Mininet does not run here."""
    script = _MININET.replace("FANOUT", str(FANOUT))
    try:
        done = subprocess.run(
            ("/usr/bin/python3", "-c", script), capture_output=True, text=True, check=True, timeout=120
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    up, down, reached = json.loads(done.stdout.splitlines()[-1])
    if not reached:
        return None
    _settle()
    return up, down


def ip_batch(count: int) -> tuple[float, float]:
    """The same star by as few processes as iproute2 can do it with: one for all namespaces, then one in each."""
    name = f"wp{os.getpid()}"
    first = [f"netns add {name}-{n}" for n in ("s", *range(count))]
    inside = ["link add br_0 type bridge", "link set br_0 up"]
    for n in range(count):
        inside += [f"link add p{n} master br_0 type veth peer name eth0 netns {name}-{n}", f"link set p{n} up"]
    each = [(f"{name}-{n}", f"{IPv4Address('10.0.0.1') + n}/8") for n in range(count)]
    began = time.perf_counter()
    _batch(first)
    _batch(inside, f"{name}-s")
    for namespace, address in each:
        _batch(["link set lo up", "link set eth0 up", f"address add {address} dev eth0"], namespace)
    up = time.perf_counter() - began
    began = time.perf_counter()
    _batch([f"netns del {name}-{n}" for n in ("s", *range(count))])
    down = time.perf_counter() - began
    _settle()
    return up, down


def _batch(lines: list[str], namespace: str = "") -> None:
    where = ("-n", namespace) if namespace else ()
    subprocess.run(("ip", *where, "-batch", "-"), input="\n".join(lines), text=True, check=True)


def run() -> Iterator[Row]:
    tree_runs, peer_runs = [], []
    for _ in range(RUNS):
        tree_runs.append(ours(tree()))
        peer_runs.append(mininet())
    small = [statistics.median(column) for column in zip(*tree_runs, strict=True)]
    peers = [figures for figures in peer_runs if figures is not None]
    theirs = [statistics.median(column) for column in zip(*peers, strict=True)] if peers else [None, None]
    hosts = FANOUT * FANOUT
    what = f"{hosts} hosts, {FANOUT + 1} switches"
    yield Row(f"{what}: up", "s", small[0], "Mininet 2.3", theirs[0])
    yield Row(f"{what}: down", "s", small[2], "Mininet 2.3", theirs[1])
    yield Row(f"{what}: one link changes", "s", small[1])
    star_runs, batch_runs = [], []
    for _ in range(RUNS):
        star_runs.append(ours(star(MANY)))
        batch_runs.append(ip_batch(MANY))
    large = [statistics.median(column) for column in zip(*star_runs, strict=True)]
    batch = [statistics.median(column) for column in zip(*batch_runs, strict=True)]
    yield Row(f"{MANY} namespaces on a bridge: up", "s", large[0], "ip -batch", batch[0])
    yield Row(f"{MANY} namespaces on a bridge: down", "s", large[2], "ip -batch", batch[1])
    yield Row(f"{MANY} namespaces on a bridge: one link changes", "s", large[1])
