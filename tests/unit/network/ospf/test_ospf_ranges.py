"""Area address ranges: many networks told as one, or not at all, and packets for what is not there discarded."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ospf_net import Net

from weft.core.errors import UnsupportedError
from weft.network.routing.daemon.plan import plan
from weft.network.routing.ospf import AreaConfig, AreaRange, OspfConfig, OspfInterfaceConfig
from weft.network.routing.ospf.ranges import condense, discarded
from weft.network.routing.ospf.routes import INTER, INTRA, Path
from weft.network.routing.ospf.spf import NO_HOPS
from weft.network.routing.peers import bird, frr

ONE, BACKBONE = IPv4Address("0.0.0.1"), IPv4Address(0)


def circuit(name: str, area: IPv4Address, **more: Any) -> OspfInterfaceConfig:
    return OspfInterfaceConfig(
        name, area, "point-to-point", hello_interval=1, dead_interval=4, retransmit_interval=1, **more
    )


def ranged(*ranges: AreaRange) -> Net:
    """r1 -area 1- r2 -backbone- r3; r1 has networks 10.1.1.0/24 (cost 5) and 10.1.2.0/24 (cost 70), r2 the ranges."""
    net = Net()
    lans = [circuit("lan1", ONE, passive=True, cost=5), circuit("lan2", ONE, passive=True, cost=70)]
    spec = {1: [circuit("right", ONE), *lans], 2: [circuit("left", ONE), circuit("right", BACKBONE)],
            3: [circuit("left", BACKBONE)]}  # fmt: skip
    for number, circuits in spec.items():
        router_id = IPv4Address(f"1.1.1.{number}")
        net.add(f"r{number}", OspfConfig(router_id, tuple(circuits), (AreaConfig(ONE, ranges=ranges),)))
    for number in (1, 2):
        net.plug(f"w{number}", f"r{number}", "right", f"10.0.{number}.0/31")
        net.plug(f"w{number}", f"r{number + 1}", "left", f"10.0.{number}.1/31")
    net.plug("lan1", "r1", "lan1", "10.1.1.1/24")
    net.plug("lan2", "r1", "lan2", "10.1.2.1/24")
    net.run(20)
    return net


def known(net: Net, router: str) -> dict[str, int]:
    return {str(prefix): route.metric for prefix, route in net.routes[router].items()}


def test_a_range_stands_for_its_networks_while_there_is_one() -> None:
    net = ranged(AreaRange(IPv4Network("10.1.0.0/16")))
    assert known(net, "r3") == {"10.0.1.0/31": 20, "10.1.0.0/16": 90}, "the cost of the farthest, and the way to r2"
    discard = net.routes["r2"][IPv4Network("10.1.0.0/16")]
    assert discard.next_hops == ()
    assert "10.1.1.0/24" in known(net, "r2"), "the border router itself knows more"
    assert "10.1.0.0/16" not in known(net, "r1")
    net.set_wire("lan2", up=False)
    net.run(5)
    assert known(net, "r3")["10.1.0.0/16"] == 25
    net.set_wire("lan1", up=False)
    net.run(5)
    assert known(net, "r3") == {"10.0.1.0/31": 20}
    assert IPv4Network("10.1.0.0/16") not in net.routes["r2"]
    net.set_wire("lan1", up=True)
    net.run(5)
    assert known(net, "r3")["10.1.0.0/16"] == 25


def test_a_range_may_be_hidden_or_have_a_cost_and_the_longest_counts() -> None:
    hidden = AreaRange(IPv4Network("10.1.2.0/23"), advertise=False)
    net = ranged(AreaRange(IPv4Network("10.1.0.0/16"), cost=3), hidden)
    assert known(net, "r3") == {"10.0.1.0/31": 20, "10.1.0.0/16": 13}
    net.set_wire("lan1", up=False)
    net.run(5)
    assert known(net, "r3") == {"10.0.1.0/31": 20}, "what is hidden does not make another range active"


def test_a_range_that_is_a_network_itself_is_no_hole() -> None:
    net = ranged(AreaRange(IPv4Network("10.1.1.0/24")))
    assert net.hops("r2", "10.1.1.0/24") == ["left 10.0.1.0"]
    net.set_wire("lan1", up=False)
    net.run(5)
    assert IPv4Network("10.1.1.0/24") not in net.routes["r2"]


prefixes = st.builds(
    lambda value, length: IPv4Network((value << 16, length), strict=False),
    st.integers(0x0A00, 0x0A07),
    st.integers(13, 24),
)
paths = st.builds(lambda kind, cost, area: Path(kind, cost, NO_HOPS, area), st.sampled_from([INTRA, INTER]),
                  st.integers(1, 50), st.sampled_from([0, 1]))  # fmt: skip


@given(st.dictionaries(prefixes, paths, max_size=6), st.sets(prefixes, max_size=3), st.booleans())
def test_what_is_told_covers_just_what_is_there(
    networks: dict[IPv4Network, Path], ranges: set[IPv4Network], advertise: bool
) -> None:
    table = {(int(each.network_address), int(each.netmask)): path for each, path in networks.items()}
    areas = [AreaConfig(ONE, ranges=tuple(AreaRange(each, advertise) for each in ranges))]
    told = condense(table, areas)
    inside = {
        each: [outer for outer in ranges if each.subnet_of(outer)]
        for each, path in networks.items()
        if path.kind == INTRA and path.area == 1
    }
    covered = {each for each, outer in inside.items() if outer}
    longest = {max(outer, key=lambda each: each.prefixlen) for outer in inside.values() if outer}
    expected = {each for each in networks if each not in covered} | (longest if advertise else set())
    assert {IPv4Network((address, bin(mask).count("1"))) for address, mask in told} == expected
    assert discarded(table, areas) == longest - set(networks)


def test_the_lab_file_frr_and_bird_have_ranges_too() -> None:
    ranges = [{"prefix": "10.1.0.0/16", "cost": 3}, {"prefix": "10.2.0.0/16", "advertise": False}]
    spec = {"node": "r", "loopback": "1.1.1.1/32", "routing": "ospf", "ospf": {"areas": {"1": {"ranges": ranges}}}}
    made = plan(spec, []).ospf
    assert made is not None
    expected = (AreaRange(IPv4Network("10.1.0.0/16"), True, 3), AreaRange(IPv4Network("10.2.0.0/16"), False))
    assert made.area(ONE).ranges == expected
    lines = frr.configuration("r", made)["ospfd"].splitlines()
    assert " area 0.0.0.1 range 10.1.0.0/16 cost 3" in lines
    assert " area 0.0.0.1 range 10.2.0.0/16 not-advertise" in lines
    within = OspfConfig(IPv4Address(1), (circuit("e", ONE),), (AreaConfig(ONE, ranges=expected[1:]),))
    assert "networks { 10.2.0.0/16 hidden; };" in bird.configuration(IPv4Address(1), within)
    priced = OspfConfig(IPv4Address(1), (circuit("e", ONE),), (AreaConfig(ONE, ranges=expected),))
    with pytest.raises(UnsupportedError, match="cost of ranges"):
        bird.configuration(IPv4Address(1), priced)
