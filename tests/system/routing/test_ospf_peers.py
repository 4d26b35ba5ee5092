"""OSPF with FRR and BIRD: rings, broadcast networks, areas, authentication, faults, captures."""

import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest
from routing_lab import FAST, Lab, WeftRouter, config, lsas_of_bird, lsas_of_frr, until

from weft.network.routing.authentication import Authentication
from weft.network.routing.ospf import AreaConfig, AreaRange, OspfInterfaceConfig
from weft.network.routing.ospf.lsa import MAX_SEQUENCE, RouterBody, make_lsa
from weft.network.routing.ospf.packet import LinkStateUpdate, Packet, encode
from weft.network.routing.peers import Frr
from weft.network.routing.protocol import PacketReceived, Redistribute
from weft.network.routing.rib.routes import Route


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
    finally:
        made.close()


def is_full(router: WeftRouter, *ids: str) -> bool:
    found = router.neighbors()
    return set(found) >= set(ids) and all(found[each][0] == "Full" for each in ids)


def reaches(lab: Lab, node: str, address: str) -> bool:
    return ", 0% packet loss" in lab.inside(node, f"ping -n -c 1 -W 1 {address}", check=False)


def test_a_ring_of_weft_frr_and_bird_has_one_database_and_equal_routes(lab: Lab) -> None:
    """w1 - f2 - b3 - w4 - w1"""
    for number, name in enumerate(("w1", "f2", "b3", "w4"), 1):
        lab.node(name, number)
    for subnet, (a, b) in enumerate((("w1", "f2"), ("f2", "b3"), ("b3", "w4"), ("w4", "w1")), 1):
        lab.link(a, b, subnet)
    frr = lab.frr("f2", config(2, "w1", "b3"))
    bird = lab.bird("b3", config(3, "f2", "w4"))
    with lab.capture("w1", "f2") as packets:
        first = lab.weft("w1", config(1, "f2", "w4"))
        fourth = lab.weft("w4", config(4, "b3", "w1"))
        until(lambda: is_full(first, "1.1.1.2", "1.1.1.4") and is_full(fourth, "1.1.1.3", "1.1.1.1"), "all adjacent")
        until(
            lambda: len(first.lsas()) == 4 and first.lsas() == fourth.lsas() == lsas_of_frr(frr) == lsas_of_bird(bird),
            "the same LSAs, by sequence number and checksum, on all four",
        )
        until(lambda: reaches(lab, "w1", "1.1.1.3") and reaches(lab, "f2", "1.1.1.4"), "packets pass")
    until(lambda: first.routes()["1.1.1.3/32"] == (20, ["10.0.1.2", "10.0.4.1"]), "both ways round")
    assert "proto ospf" in lab.inside("w1", "ip route show 1.1.1.2/32")
    assert "10.0.1.1, via w1" in frr.ask("show ip route 1.1.1.1/32")
    decoded = subprocess.run(
        ["tshark", "-r", str(packets), "-V", "-Y", "ospf"], capture_output=True, text=True, check=True
    ).stdout
    assert all(
        kind in decoded for kind in ("Hello Packet", "DB Description", "LS Request", "LS Update", "LS Acknowledge")
    )
    assert "Malformed" not in decoded
    assert "incorrect" not in decoded.lower()
    frr.kill()
    until(lambda: "1.1.1.2" not in first.neighbors(), "the killed router is missed", 8)
    until(lambda: first.routes()["1.1.1.3/32"] == (20, ["10.0.4.1"]), "the ring is used the other way")
    fourth.stop()
    until(lambda: "1.1.1.3/32" not in first.routes(), "who takes leave is out of the way", 10)


@pytest.mark.parametrize(("ours", "theirs", "role"), [(10, 1, "Backup"), (0, 1, "DR"), (1, 10, "DR")])
def test_both_roles_on_a_broadcast_network(lab: Lab, ours: int, theirs: int, role: str) -> None:
    """A LAN of two of ours, FRR and BIRD; `role` is that of FRR or BIRD in our eyes."""
    for number, name in enumerate(("w1", "f2", "b3", "w4"), 1):
        lab.node(name, number)
    lab.lan("lan", 1, "w1", "f2", "b3", "w4")
    peers = {"priority": theirs}
    routers = [
        lab.weft(f"w{number}", config(number, "lan", kind="broadcast", more={"priority": ours})) for number in (1, 4)
    ]
    frr = lab.frr("f2", config(2, "lan", kind="broadcast", more=peers))
    bird = lab.bird("b3", config(3, "lan", kind="broadcast", more=peers))
    first = routers[0]

    def settled() -> bool:
        held = first.lsas()
        return len(held) == 5 and held == routers[1].lsas() == lsas_of_frr(frr) == lsas_of_bird(bird)

    until(settled, "four router-LSAs and a network-LSA, the same on all")
    designated = [each for each in first.lsas() if each[0].startswith("10.0.1.")]
    assert len(designated) == 1
    if ours > theirs:
        assert designated[0][1] in ("1.1.1.1", "1.1.1.4")
    if ours == 0:
        assert designated[0][1] in ("1.1.1.2", "1.1.1.3")
        assert role in {each[1] for each in first.neighbors().values()}
    until(lambda: all(reaches(lab, "w1", f"1.1.1.{n}") for n in (2, 3, 4)), "packets pass")
    assert {prefix: hops for prefix, (_, hops) in first.routes().items()} == {
        f"1.1.1.{n}/32": [f"10.0.1.{n}"] for n in (2, 3, 4)
    }


def test_areas_externals_and_a_stub_area_with_peers(lab: Lab) -> None:
    """b1 -area 1- w2 -backbone- f3 -stub area 2- w4; b1 and f3 announce a static route each."""
    for number, name in enumerate(("b1", "w2", "f3", "w4"), 1):
        lab.node(name, number)
    for subnet, (a, b) in enumerate((("b1", "w2"), ("w2", "f3"), ("f3", "w4")), 1):
        lab.link(a, b, subnet)
    one, two = IPv4Address("0.0.0.1"), IPv4Address("0.0.0.2")
    stub = (AreaConfig(two, "stub", 5),)

    def circuit(name: str, area: IPv4Address) -> OspfInterfaceConfig:
        return OspfInterfaceConfig(
            name, area, "point-to-point", hello_interval=1, dead_interval=4, retransmit_interval=3
        )

    backbone = IPv4Address(0)
    bird = lab.bird("b1", config(1, circuit("w2", one)), static=("192.0.2.0/24 blackhole",))
    second = lab.weft("w2", config(2, circuit("f3", backbone), circuit("b1", one)))
    frr = lab.frr(
        "f3",
        config(3, circuit("w2", backbone), circuit("w4", two), areas=stub),
        static=("ip route 198.51.100.0/24 Null0",),
    )
    fourth = lab.weft("w4", config(4, circuit("f3", two), areas=stub))
    until(
        lambda: (
            second.lsas() == lsas_of_frr(frr) - {e for e in lsas_of_frr(frr) if e in second.externals()}
            and len(second.lsas()) > 3
        ),
        "one backbone",
    )
    until(lambda: len(second.externals()) == 2 and second.externals() <= lsas_of_frr(frr), "both external routes")
    until(lambda: second.externals() <= lsas_of_bird(bird), "also in area 1")
    until(lambda: "1.1.1.1/32" in fourth.routes() and "0.0.0.0/0" in fourth.routes(), "summaries and a default")
    assert fourth.routes()["0.0.0.0/0"] == (15, ["10.0.3.1"])
    assert not fourth.externals()
    assert second.routes()["192.0.2.0/24"] == (20, ["10.0.1.1"])
    assert second.routes()["198.51.100.0/24"] == (20, ["10.0.2.2"])
    until(lambda: second.lsas("0.0.0.1") <= lsas_of_bird(bird, "0.0.0.1"), "area 1 equal")
    assert lsas_of_frr(frr, "0.0.0.2") >= fourth.lsas("0.0.0.2")
    second.give(Redistribute((Route(IPv4Network("203.0.113.0/24"), (), "static", 1),)))
    until(lambda: "10.0.2.1, via w2" in frr.ask("show ip route 203.0.113.0/24"), "FRR takes our external route")
    until(lambda: "10.0.1.2" in bird.ask("show route 203.0.113.0/24"), "BIRD takes it too")
    second.give(Redistribute((), (IPv4Network("203.0.113.0/24"),)))
    # FRR 8 shows an LSA of MaxAge for a minute more; its route goes at once.
    until(lambda: "via w2" not in frr.ask("show ip route 203.0.113.0/24"), "FRR takes our MaxAge")
    until(lambda: "10.0.1.2" not in bird.ask("show route 203.0.113.0/24"), "and passes it on to BIRD")


def test_area_ranges_of_ours_and_of_frr_and_bird(lab: Lab) -> None:
    """w1 -area 1- f2 -backbone- w3 -area 2- b4; the border routers f2 and w3 have a range each."""
    for number, name in enumerate(("w1", "f2", "w3", "b4"), 1):
        lab.node(name, number)
    for subnet, (a, b) in enumerate((("w1", "f2"), ("f2", "w3"), ("w3", "b4")), 1):
        lab.link(a, b, subnet)
    one, two = IPv4Address("0.0.0.1"), IPv4Address("0.0.0.2")

    def circuit(name: str, area: IPv4Address) -> OspfInterfaceConfig:
        return OspfInterfaceConfig(name, area, "point-to-point", **FAST)  # type: ignore[arg-type]

    backbone = IPv4Address(0)
    theirs = (AreaConfig(one, ranges=(AreaRange(IPv4Network("1.1.1.0/30")),)),)
    ours = (AreaConfig(two, ranges=(AreaRange(IPv4Network("10.0.0.0/16"), cost=7),)),)
    first = lab.weft("w1", config(1, circuit("f2", one)))
    frr = lab.frr("f2", config(2, circuit("w1", one), circuit("w3", backbone), areas=theirs))
    third = lab.weft("w3", config(3, circuit("b4", two), circuit("f2", backbone), areas=ours))
    bird = lab.bird("b4", config(4, circuit("w3", two)))
    until(lambda: "1.1.1.0/30" in third.routes(), "FRR's range")
    assert "1.1.1.1/32" not in third.routes()
    until(lambda: "10.0.2.2, via w3" in frr.ask("show ip route 10.0.0.0/16"), "FRR has our range")
    assert "10.0.3.0" not in frr.ask("show ip route ospf")
    until(lambda: first.routes().get("10.0.0.0/16", (0, []))[0] == 27, "and so has area 1, with the cost of the range")
    until(lambda: "1.1.1.0/30" in bird.ask("show route"), "and BIRD that of FRR")
    assert "blackhole 10.0.0.0/16 proto ospf" in lab.inside("w3", "ip route show type blackhole")


@pytest.mark.parametrize("algorithm", ["simple", "md5", "hmac-sha-1", "hmac-sha-256", "hmac-sha-512"])
def test_authentication_right_and_wrong(lab: Lab, algorithm: str) -> None:
    """HMAC-SHA with BIRD alone, as FRR 8 has none."""
    lab.node("w1", 1)
    lab.node("p2", 2)
    lab.link("w1", "p2", 1)
    right = Authentication(algorithm, b"right-1", 7)  # type: ignore[arg-type]
    wrong = Authentication(algorithm, b"wrong-1", 7)  # type: ignore[arg-type]
    first = lab.weft("w1", config(1, "p2", more={"authentication": right}))
    start = lab.frr if algorithm in ("simple", "md5") else lab.bird
    bad = start("p2", config(2, "w1", more={"authentication": wrong}))
    until(lambda: any("authentication failed" in text for text in first.notices), "the wrong key is told of")
    assert not first.neighbors()
    bad.kill()
    start("p2", config(2, "w1", more={"authentication": right}))
    until(lambda: is_full(first, "1.1.1.2"), "the right key is taken")


def test_an_mtu_mismatch_is_seen_by_us_and_by_frr(lab: Lab) -> None:
    lab.node("w1", 1)
    lab.node("f2", 2)
    lab.link("w1", "f2", 1)
    lab.inside("f2", "ip link set w1 mtu 1400")
    frr = lab.frr("f2", config(2, "w1"))
    first = lab.weft("w1", config(1, "f2"))
    until(lambda: first.neighbors().get("1.1.1.2", ("",))[0] in ("ExStart", "Exchange"), "stuck in ExStart")
    time.sleep(3)
    assert not is_full(first, "1.1.1.2")
    lab.inside("w1", "ip link set f2 mtu 1300")
    until(lambda: any("MTU mismatch: 10.0.1.2 has 1400" in text for text in first.notices), "we say so")
    lab.inside("w1", "ip link set f2 mtu 1400")
    until(lambda: is_full(first, "1.1.1.2"), "adjacent once the MTUs agree")
    assert "Full" in frr.ask("show ip ospf neighbor")


def test_a_sequence_number_wraps_through_frr(lab: Lab) -> None:
    lab.node("w1", 1)
    lab.node("f2", 2)
    lab.link("w1", "f2", 1)
    frr = lab.frr("f2", config(2, "w1", min_ls_arrival=0.0))
    first = lab.weft("w1", config(1, "f2"))
    until(lambda: is_full(first, "1.1.1.2") and len(first.lsas()) == 2, "adjacent")
    near_end = make_lsa(2, 1, 0x01010101, 0x01010101, MAX_SEQUENCE - 1, RouterBody(0, ()))
    update = encode(Packet(0x01010102, 0, LinkStateUpdate(((1, near_end),))), Authentication())
    first.give(PacketReceived("f2", IPv4Address("10.0.1.2"), IPv4Address("224.0.0.5"), update))
    until(lambda: any(each[2] == "0x7fffffff" for each in lsas_of_frr(frr)), "FRR has the last number")
    lab.inside("w1", "ip addr add 10.9.9.1/24 dev lo")  # nothing of OSPF
    lab.inside("w1", "ip link set f2 down")
    time.sleep(0.3)
    lab.inside("w1", "ip link set f2 up")

    def begun_anew() -> bool:
        held: Frr = frr
        return any(
            key[:2] == ("1.1.1.1", "1.1.1.1") and int(key[2], 16) in range(0x80000001, 0x80000010)
            for key in lsas_of_frr(held)
        )

    # FRR 8 keeps an LSA of MaxAge for a minute, and takes no other meanwhile (RFC 2328, 13, step 8).
    until(begun_anew, "the number begins anew, by way of MaxAge", 100)
    until(lambda: first.lsas() == lsas_of_frr(frr), "and the databases agree")
