"""The Linux data plane in the real kernel: makes, changes, repairs and removes what a NetworkState says."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from podnet import shell

from weft.core.errors import ConflictError, NotFoundError, WeftError
from weft.network.dataplane.linux import DataLink, End, Hop, LinuxDataplane, Namespace, NetworkState, NodeRoute
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink


@pytest.fixture
def prefix() -> str:
    return "wt" + secrets.token_hex(3)


@pytest.fixture
async def plane(prefix: str) -> AsyncIterator[LinuxDataplane]:
    made = LinuxDataplane(prefix)
    yield made
    await made.remove()
    made.close()
    assert not list(netns.SHOWN.glob(f"{prefix}-*"))


def two_routers(*, up: bool = True, rate: int = 0) -> NetworkState:
    """r1 and r2, two links between them, and a route to the other's loopback over both."""

    def router(name: str, own: str, other: str, ends: tuple[str, str]) -> Namespace:
        hops = tuple(Hop(f"l{n}", ip_address(end)) for n, end in enumerate(ends, 1))
        return Namespace(name, True, (ip_interface(f"{own}/32"),), (NodeRoute(ip_network(f"{other}/32"), hops),))

    def link(number: int) -> DataLink:
        first = End("r1", f"l{number}", (ip_interface(f"10.{number}.0.1/30"),))
        second = End("r2", f"l{number}", (ip_interface(f"10.{number}.0.2/30"), ip_interface(f"fd00:{number}::2/64")))
        return DataLink(f"l{number}", (first, second), rate=rate if number == 1 else 0, up=up or number == 2)

    return NetworkState(
        (
            router("r1", "10.255.0.1", "10.255.0.2", ("10.1.0.2", "10.2.0.2")),
            router("r2", "10.255.0.2", "10.255.0.1", ("10.1.0.1", "10.2.0.1")),
        ),
        (link(1), link(2)),
    )


async def in_node(plane: LinuxDataplane, node: str, *argv: str, check: bool = True) -> str:
    return await shell("ip", "netns", "exec", plane.path(node).name, *argv, check=check)


async def reaches(plane: LinuxDataplane) -> bool:
    ping = ("ping", "-c1", "-W2", "-q", "-I", "10.255.0.1", "10.255.0.2")
    return " 0% packet loss" in await in_node(plane, "r1", *ping, check=False)


async def test_it_forwards_and_a_second_time_changes_nothing(plane: LinuxDataplane) -> None:
    report = await plane.apply(two_routers())
    assert report.errors == {}
    assert await reaches(plane)
    assert (await in_node(plane, "r1", "ip", "route", "show", "10.255.0.2")).count("nexthop") == 2
    assert (await plane.apply(two_routers())).changes == 0


async def test_a_link_down_leaves_the_other_way(plane: LinuxDataplane) -> None:
    await plane.apply(two_routers())
    await plane.apply(two_routers(up=False))
    route = await in_node(plane, "r1", "ip", "route", "show", "10.255.0.2")
    assert "via 10.2.0.2 dev l2" in route
    assert await reaches(plane)
    await plane.apply(two_routers())
    assert (await in_node(plane, "r1", "ip", "route", "show", "10.255.0.2")).count("nexthop") == 2


async def test_another_process_goes_on_and_repairs(plane: LinuxDataplane, prefix: str) -> None:
    await plane.apply(two_routers())
    await in_node(plane, "r1", "ip", "route", "del", "10.255.0.2")
    await in_node(plane, "r2", "ip", "link", "del", "l2")
    await in_node(plane, "r2", "ip", "address", "add", "10.66.0.1/24", "dev", "l1")
    await in_node(plane, "r1", "ip", "route", "add", "10.67.0.0/16", "via", "10.1.0.2", "proto", "static")
    second = LinuxDataplane(prefix)
    report = await second.apply(two_routers())
    second.close()
    assert report.errors == {}
    assert report.changes > 0
    assert await reaches(plane)
    assert "10.66.0.1" not in await in_node(plane, "r2", "ip", "address")
    assert "10.67.0.0" in await in_node(plane, "r1", "ip", "route")  # not ours to remove
    assert (await plane.apply(two_routers())).changes == 0


async def test_a_rate_is_kept_by_the_kernel_or_told(plane: LinuxDataplane, prefix: str) -> None:
    report = await plane.apply(two_routers(rate=50_000_000))
    if report.unlimited:
        assert report.unlimited == ("l1",)
        return
    assert "rate 50Mbit" in await in_node(plane, "r1", "tc", "qdisc", "show", "dev", "l1")
    assert (await plane.apply(two_routers(rate=50_000_000))).changes == 0
    await plane.apply(two_routers(rate=20_000_000_000))
    assert "rate 20Gbit" in await in_node(plane, "r2", "tc", "qdisc", "show", "dev", "l1")
    second = LinuxDataplane(prefix)
    await second.apply(two_routers())
    second.close()
    assert "tbf" not in await in_node(plane, "r1", "tc", "qdisc", "show", "dev", "l1")


async def test_what_is_no_longer_named_goes_and_the_rest_stays(plane: LinuxDataplane) -> None:
    state = two_routers()
    await plane.apply(state)
    inode = plane.path("r1").stat().st_ino
    report = await plane.apply(replace(state, namespaces=(replace(state.namespaces[0], routes=()),), links=()))
    assert report.errors == {}
    assert not plane.path("r2").exists()
    assert plane.path("r1").stat().st_ino == inode
    assert "10.255.0.2" not in await in_node(plane, "r1", "ip", "route")
    assert "l1" not in await in_node(plane, "r1", "ip", "-o", "link")


async def test_one_bad_node_does_not_keep_the_others(plane: LinuxDataplane) -> None:
    state = two_routers()
    bad = DataLink("bad", (End("r1", "bad"), End("nowhere", "bad")))
    far = NodeRoute(ip_network("10.99.0.0/16"), (Hop("l1", ip_address("192.0.2.1")),))
    broken = replace(state.namespaces[1], routes=(*state.namespaces[1].routes, far))
    report = await plane.apply(NetworkState((state.namespaces[0], broken), (*state.links, bad)))
    assert set(report.errors) == {"bad", "r2"}
    assert "10.99.0.0/16" in report.errors["r2"]
    assert "nowhere" in report.errors["bad"]
    assert await reaches(plane)


async def test_only_routers_forward(plane: LinuxDataplane) -> None:
    for kinds in ((True, False), (False, True)):
        await plane.apply(NetworkState(tuple(Namespace(f"n{i}", forward) for i, forward in enumerate(kinds))))
        for i, forward in enumerate(kinds):
            for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                assert (await in_node(plane, f"n{i}", "sysctl", "-n", name)).strip() == str(int(forward))


async def test_a_blackhole(plane: LinuxDataplane) -> None:
    state = two_routers()
    first = replace(state.namespaces[0], routes=(NodeRoute(ip_network("10.99.0.0/16"), ()),))
    desired = replace(state, namespaces=(first, state.namespaces[1]))
    await plane.apply(desired)
    assert "blackhole 10.99.0.0/16" in await in_node(plane, "r1", "ip", "route")
    assert (await plane.apply(desired)).changes == 0
    await plane.apply(state)
    assert "blackhole" not in await in_node(plane, "r1", "ip", "route")


async def test_a_large_ring_is_quick(plane: LinuxDataplane) -> None:
    """100 routers: an `ip` process for each step would take half a minute."""
    count = 100
    links = tuple(
        DataLink(
            f"l{n}",
            (
                End(f"r{n}", f"l{n}", (ip_interface(f"10.{n}.0.1/30"),)),
                End(f"r{(n + 1) % count}", f"l{n}", (ip_interface(f"10.{n}.0.2/30"),)),
            ),
        )
        for n in range(count)
    )
    ring = NetworkState(tuple(Namespace(f"r{n}", True) for n in range(count)), links)
    async with asyncio.timeout(20):
        assert (await plane.apply(ring)).errors == {}
        assert (await plane.apply(ring)).changes == 0


def test_errors_name_the_object_and_the_kernels_reason(tmp_path: Path) -> None:
    pin = tmp_path / "ns"
    netns.create(pin)
    try:
        with Netlink(pin) as netlink:
            with pytest.raises(NotFoundError, match="cannot set up link nothere: No such device"):
                netlink.request(rt.delete_link("nothere"))
            netlink.request(rt.add_bridge("b"))
            with pytest.raises(ConflictError, match="bridge b: File exists"):
                netlink.request(rt.add_bridge("b"))
            netlink.request(rt.add_bridge("b"), rt.add_bridge("c"), ignore=(ConflictError,))
            assert {"b", "c"} <= netlink.links().keys()
            route = rt.Route(ip_network("10.0.0.0/8"), (rt.NextHop(netlink.link("lo").index, ip_address("10.9.9.9")),))
            with pytest.raises(WeftError, match=r"route 10\.0\.0\.0/8: .+ \(.+\)"):
                netlink.request(rt.set_link(netlink.link("lo").index, "lo", up=True), rt.replace_route(route))
        with pytest.raises(NotFoundError):
            Netlink(tmp_path / "none")
    finally:
        netns.delete(pin)
