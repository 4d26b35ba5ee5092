"""Repairs by tunnel: IPv4 packets in IPv6 packets that visit segments (RFC 8986), all in the kernel."""

from dataclasses import replace
from ipaddress import IPv6Address, ip_address

import pytest
from diamond import H2, Diamond, hop, route, state, straight

from weft.network.dataplane.linux import Action, FastReroute, LocalSegment, NetworkState

END_R3, OUT_R4 = "fc00:3::1", "fc00:4::4"
UNPACK = {
    "by look-up": LocalSegment(IPv6Address(OUT_R4), Action.END_DX4),
    "to a neighbour": LocalSegment(IPv6Address(OUT_R4), Action.END_DX4, ip_address("10.6.0.2"), "to_h2"),
}
PASS_ON = {
    "END": LocalSegment(IPv6Address(END_R3), Action.END),
    "END.X": LocalSegment(IPv6Address(END_R3), Action.END_X, ip_address("fd00:5::2"), "to_r4"),
}


def tunnelled(pass_on: LocalSegment, unpack: LocalSegment) -> NetworkState:
    """r3 has no IPv4 route to h2: what comes to h2 by r3 came through the tunnel."""
    routes = straight()
    tunnel = hop("r1", "r3", segments=(END_R3, OUT_R4))
    routes["r1"] = (
        route(H2, hop("r1", "r2"), backup=(tunnel,)),
        route("fc00:3::/64", hop("r1", "r3", version=6)),
    )
    routes["r3"] = (routes["r3"][1], route("fc00:4::/64", hop("r3", "r4", version=6)))
    base = state(routes)
    local = {"r3": (pass_on,), "r4": (unpack,)}
    return replace(
        base, namespaces=tuple(replace(each, local_segments=local.get(each.name, ())) for each in base.namespaces)
    )


@pytest.mark.parametrize("unpack", UNPACK)
@pytest.mark.parametrize("pass_on", PASS_ON)
async def test_a_backup_through_a_tunnel(diamond: Diamond, pass_on: str, unpack: str) -> None:
    desired = tunnelled(PASS_ON[pass_on], UNPACK[unpack])
    await diamond.apply(desired)
    assert await diamond.apply(desired) == 0
    assert await diamond.lost() == 0
    with FastReroute(diamond.plane.path("r1")) as reroute:
        await diamond.silence("r2", "to_r1")
        assert await diamond.lost() == 20
        reroute.fail("to_r2")
        assert await diamond.lost() == 0
    await diamond.run("r3", "ip", "-6", "route", "flush", "fc00:3::1")  # the segment's own route
    assert await diamond.lost() == 20
    assert await diamond.apply(desired) > 0
    assert await diamond.lost() == 0


async def test_the_kernel_turns_to_the_tunnel_by_itself(diamond: Diamond) -> None:
    await diamond.apply(tunnelled(PASS_ON["END"], UNPACK["by look-up"]))
    await diamond.run("r2", "ip", "link", "set", "to_r1", "down")
    assert await diamond.lost(200) <= 20
    assert await diamond.lost() == 0
