"""Packets really take another way: by the kernel alone when a carrier is lost, by one batch when a neighbour falls
silent, and many routes at once."""

import asyncio
from ipaddress import IPv4Address

import pytest
from diamond import H2, H2_6, Diamond, hop, route, state, straight, with_routes

from weft.core.errors import UnsupportedError
from weft.network.dataplane.linux import FastReroute
from weft.network.southbound.netlink import Netlink

FEW = 20  # of 200 pings 5 ms apart: 100 ms, on a machine that others use too


@pytest.mark.parametrize("version", [4, 6])
async def test_the_kernel_switches_when_the_carrier_is_lost(diamond: Diamond, version: int) -> None:
    await diamond.apply(state(straight(version=version)))
    target = "10.6.0.2" if version == 4 else "fd00:6::2"
    assert await diamond.lost(to=target) == 0
    pings = diamond.pinging(to=target)
    await asyncio.sleep(0.3)
    await diamond.run("r2", "ip", "link", "set", "to_r1", "down")
    assert await pings <= FEW
    assert "to_r3" in await diamond.run("r1", "ip", "route", "get", target)
    # And back, without loss, when the data plane has looked at it again.
    pings = diamond.pinging(to=target)
    await asyncio.sleep(0.3)
    assert await diamond.apply(state(straight(version=version))) > 0
    assert await pings <= FEW
    assert "to_r2" in await diamond.run("r1", "ip", "route", "get", target)
    assert await diamond.apply(state(straight(version=version))) == 0


async def test_without_objects_it_switches_too(diamond: Diamond, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: Netlink) -> None:
        raise UnsupportedError("cannot set up next hops: Operation not supported")

    monkeypatch.setattr(Netlink, "objects", none)
    await diamond.apply(state(straight()))
    assert "nhid" not in await diamond.run("r1", "ip", "route")
    pings = diamond.pinging()
    await asyncio.sleep(0.3)
    await diamond.run("r2", "ip", "link", "set", "to_r1", "down")
    assert await pings <= FEW
    with FastReroute(diamond.plane.path("r1")) as reroute:
        assert reroute.fail("to_r2") == 0


async def test_a_silent_neighbour_is_left_and_taken_back(diamond: Diamond) -> None:
    desired = state(straight())
    await diamond.apply(desired)
    with diamond.plane.reroute("r1") as reroute:
        await diamond.silence("r2", "to_r1")
        assert await diamond.lost() == 20
        assert reroute.fail("to_r2", IPv4Address("10.2.0.2")) > 0
        assert await diamond.lost() == 0
        assert reroute.fail("to_r2") == 0  # it knows
        # The data plane sees the mark, and leaves the packets where they go.
        await diamond.apply(desired)
        assert await diamond.lost() == 0
        await diamond.speak("r2")
        assert reroute.recover("to_r2", IPv4Address("10.9.9.9")) == 0  # another neighbour
        assert reroute.recover("to_r2") > 0
    assert "to_r2" in await diamond.run("r1", "ip", "route", "get", "10.6.0.2")
    assert await diamond.lost() == 0
    assert await diamond.apply(desired) == 0


async def test_equal_paths_lose_the_silent_one(diamond: Diamond) -> None:
    equal = route(H2, hop("r1", "r2"), hop("r1", "r3"))
    desired = with_routes(state(straight()), "r1", equal)
    await diamond.apply(desired)
    assert (await diamond.run("r1", "ip", "route", "show", H2)).count("nexthop") == 2
    with diamond.plane.reroute("r1") as reroute:
        assert reroute.fail("to_r2") > 0
        assert "dev to_r3" in await diamond.run("r1", "ip", "route", "show", H2)
        assert "to_r2" not in await diamond.run("r1", "ip", "route", "show", H2)
        reroute.recover("to_r2")
    assert (await diamond.run("r1", "ip", "route", "show", H2)).count("nexthop") == 2
    # A carrier that is lost takes one of two paths, and the route stays.
    await diamond.run("r2", "ip", "link", "set", "to_r1", "down")
    assert await diamond.lost(200) <= FEW
    await diamond.apply(desired)
    assert (await diamond.run("r1", "ip", "route", "show", H2)).count("nexthop") == 2


async def test_many_routes_move_with_one_object(diamond: Diamond) -> None:
    one, other = hop("r1", "r2"), hop("r1", "r3")
    many = [f"10.{100 + n // 250}.{n % 250}.0/24" for n in range(1000)]
    base = state(straight())
    await diamond.apply(with_routes(base, "r1", *(route(each, one, backup=(other,)) for each in (H2, *many))))
    assert len((await diamond.run("r1", "ip", "nexthop")).splitlines()) == 5  # two hops; active, planned, backup
    with diamond.plane.reroute("r1") as reroute:
        assert reroute.fail("to_r2") == 2  # one group and one mark
        for each in ("10.100.0.1", "10.103.249.1"):
            assert "to_r3" in await diamond.run("r1", "ip", "route", "get", each)
        assert await diamond.lost() == 0
        assert reroute.recover("to_r2") == 2
    # A new table in which all of them go elsewhere is one group too.
    moved = with_routes(base, "r1", *(route(each, other, backup=(one,)) for each in (H2, *many)))
    pings = diamond.pinging()
    assert await diamond.apply(moved) <= 3
    assert await pings == 0
    assert "to_r3" in await diamond.run("r1", "ip", "route", "get", "10.103.249.1")
    some = [route(each, other, backup=(one,)) for each in many[:500]]
    assert await diamond.apply(with_routes(base, "r1", *some)) == 2 * 501  # each route and its backup
    assert await diamond.apply(with_routes(base, "r1")) > 0
    assert await diamond.run("r1", "ip", "nexthop") == ""


async def test_weights(diamond: Diamond) -> None:
    first, second = hop("r1", "r2", version=6), hop("r1", "r3", version=6)
    weighted = route(H2_6, type(first)(first.interface, first.via, 3), second)
    await diamond.apply(with_routes(state(straight(version=6)), "r1", weighted))
    shown = await diamond.run("r1", "ip", "-6", "route", "show", H2_6)
    assert "weight 3" in shown
    assert "weight 1" in shown
