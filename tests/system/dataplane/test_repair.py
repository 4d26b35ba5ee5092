"""What somebody else changes by hand is heard of, and put right again; what is not ours stays."""

import asyncio
import re
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from diamond import H2, Diamond, hop, route, state, straight, with_routes

from weft.network.dataplane.linux import DataLink, End, LinuxDataplane, Namespace, NetworkState

DAMAGE = {
    "route": ("r1", "ip route del 10.6.0.0/24"),
    "route of others in its place": ("r1", "ip route replace blackhole 10.6.0.0/24 proto static"),
    "another next hop": ("r1", "ip nexthop replace id LEAF via 10.3.0.2 dev to_r3 proto 206"),
    "no next hop": ("r1", "ip nexthop del id LEAF"),
    "no group": ("r1", "ip nexthop del id GROUP"),
    "link down": ("r1", "ip link set to_r2 down"),
    "other end down": ("r2", "ip link set to_r1 down"),
    "no link": ("r2", "ip link del to_r1"),
    "no address": ("r1", "ip address flush dev to_r2"),
    "other MTU": ("r1", "ip link set to_r2 mtu 1400"),
    "loopback down": ("r1", "ip link set lo down"),
    "address too many": ("r1", "ip address add 10.77.0.1/24 dev to_r2"),
}


@pytest.mark.parametrize("version", [4, 6])
async def test_damage_is_heard_and_repaired(diamond: Diamond, version: int) -> None:
    desired = state(straight(version=version))
    target = "10.6.0.2" if version == 4 else "fd00:6::2"
    await diamond.apply(desired)
    for what, (node, command) in DAMAGE.items():
        await diamond.apply(desired)
        heard = asyncio.create_task(diamond.plane.changed())
        if version == 6:
            command = command.replace("10.6.0.0/24", "fd00:6::/64").replace("via 10.3.0.2", "via fd00:3::2")
            command = command.replace("ip route", "ip -6 route")
        (leaf,) = re.findall(r"id (\d+) via", await diamond.run("r1", "ip", "nexthop", "show", "dev", "to_r2"))
        (group,) = re.findall(r"nhid (\d+)", await diamond.run("r1", "ip", "route", "get", "fibmatch", target))
        command = command.replace("LEAF", leaf).replace("GROUP", group)
        await diamond.run(node, *command.split())
        async with asyncio.timeout(3):
            await heard
        assert await diamond.apply(desired) > 0, what
        assert await diamond.lost(5, to=target) == 0, what
        assert "to_r2" in await diamond.run("r1", "ip", "route", "get", target), what
        assert await diamond.apply(desired) == 0, what


async def test_a_change_of_one_table_touches_one_namespace(diamond: Diamond) -> None:
    desired = state(straight())
    await diamond.apply(desired)
    assert await diamond.apply(desired) == 0
    moved = with_routes(desired, "r1", route(H2, hop("r1", "r3"), backup=(hop("r1", "r2"),)))
    assert await diamond.apply(moved) == 3  # its three groups
    assert await diamond.lost() == 0


async def test_what_is_not_ours_stays(diamond: Diamond) -> None:
    desired = state(straight())
    await diamond.apply(desired)
    await diamond.run("r1", "ip", "nexthop", "add", "id", "7", "via", "10.3.0.2", "dev", "to_r3")
    await diamond.run("r1", "ip", "route", "add", "10.88.0.0/16", "nhid", "7")
    await diamond.apply(with_routes(desired, "r1"))
    assert "10.88.0.0/16 nhid 7" in await diamond.run("r1", "ip", "route")
    assert await diamond.apply(desired) > 0


async def test_another_process_finds_the_objects(diamond: Diamond) -> None:
    desired = state(straight())
    await diamond.apply(desired)
    prefix = diamond.plane.path("").name.removesuffix("-")
    second = LinuxDataplane(prefix)
    report = await second.apply(desired)
    second.close()
    assert report.errors == {}
    assert report.changes == 0


async def test_blackholes_of_both_families(diamond: Diamond) -> None:
    desired = with_routes(state(straight()), "r1", route("10.99.0.0/16"), route("fd99::/32"))
    await diamond.apply(desired)
    assert await diamond.apply(desired) == 0
    assert "blackhole 10.99.0.0/16" in await diamond.run("r1", "ip", "route")
    assert "blackhole fd99::/32" in await diamond.run("r1", "ip", "-6", "route")
    await diamond.apply(with_routes(desired, "r1"))
    assert "blackhole" not in await diamond.run("r1", "ip", "route")
    assert "blackhole" not in await diamond.run("r1", "ip", "-6", "route")


async def test_a_switch_is_a_bridge(diamond: Diamond) -> None:
    hosts = tuple(Namespace(f"h{n}") for n in (1, 2, 3))
    links = tuple(
        DataLink(f"l{n}", (End(f"h{n}", "e0", (ip_interface(f"10.0.0.{n}/24"),)), End("s", f"p{n}"))) for n in (1, 2, 3)
    )
    desired = NetworkState((*hosts, Namespace("s", bridge=True)), links)
    await diamond.apply(desired)
    assert await diamond.apply(desired) == 0
    assert await diamond.lost(5, to="10.0.0.3") == 0
    await diamond.run("s", "ip", "link", "set", "p3", "nomaster")
    assert await diamond.lost(2, to="10.0.0.3") == 2
    assert await diamond.apply(desired) > 0
    assert await diamond.lost(5, to="10.0.0.3") == 0
    await diamond.run("s", "ip", "link", "del", "br_0")
    assert await diamond.apply(desired) > 0
    assert await diamond.lost(5, to="10.0.0.2") == 0
    down = replace(desired, links=(links[0], links[1], replace(links[2], up=False)))
    await diamond.apply(down)
    assert await diamond.lost(2, to="10.0.0.3") == 2
    assert await diamond.lost(5, to="10.0.0.2") == 0


async def test_what_cannot_be_done_is_no_news(diamond: Diamond) -> None:
    desired = with_routes(state(straight()), "r1", route(H2, replace(hop("r1", "r2"), via=ip_address("192.0.2.1"))))
    for _ in range(10):  # the kernel tells of new links up to a second later
        report = await diamond.plane.apply(desired)
        assert set(report.errors) == {"r1"}
        heard = asyncio.create_task(diamond.plane.changed())
        done, _ = await asyncio.wait({heard}, timeout=0.3)
        heard.cancel()
        if not done:
            return
    pytest.fail("there was always news")
