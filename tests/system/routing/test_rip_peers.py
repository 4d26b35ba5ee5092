"""RIP with FRR and BIRD: a ring of all three, authentication, a router killed, poisoned reverse on the wire."""

import subprocess
from collections.abc import Iterator

import pytest
from routing_lab import Lab, until

from weft.network.routing.authentication import Authentication
from weft.network.routing.rip import RipConfig, RipInterfaceConfig


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
    finally:
        made.close()


def config(*names: str, authentication: Authentication | None = None) -> RipConfig:
    keyed = {"authentication": authentication} if authentication is not None else {}
    interfaces = (*(RipInterfaceConfig(name, **keyed) for name in names), RipInterfaceConfig("lo", passive=True))
    return RipConfig(interfaces, 5, 15, 10, (0.5, 1.0))


def test_a_ring_of_weft_frr_and_bird_has_equal_metrics_and_goes_round_a_killed_router(lab: Lab) -> None:
    """w1 - f2 - b3 - w4 - w1"""
    names = ("w1", "f2", "b3", "w4")
    for number, name in enumerate(names, 1):
        lab.node(name, number)
    for subnet, (a, b) in enumerate((("w1", "f2"), ("f2", "b3"), ("b3", "w4"), ("w4", "w1")), 1):
        lab.link(a, b, subnet)
    frr = lab.rip_peer("frr", "f2", 2, config("w1", "b3"))
    lab.rip_peer("bird", "b3", 3, config("f2", "w4"))
    with lab.capture("w1", "f2", "udp port 520") as packets:
        first = lab.weft_rip("w1", config("f2", "w4"))
        fourth = lab.weft_rip("w4", config("b3", "w1"))
        until(lambda: first.routes().get("1.1.1.2/32") == (2, ["10.0.1.2"]), "FRR's loopback")
        until(lambda: first.routes().get("1.1.1.4/32") == (2, ["10.0.4.1"]), "our own neighbour's")
        until(lambda: first.routes().get("1.1.1.3/32") == (3, ["10.0.1.2", "10.0.4.1"]), "BIRD's, both ways round")
        until(lambda: "10.0.1.1, via w1" in frr.ask("show ip route 1.1.1.1/32"), "FRR has ours")
        until(lambda: fourth.routes().get("1.1.1.2/32", (0, []))[0] == 3, "and the fourth the second's")
        until(lambda: ", 0% packet" in lab.inside("w1", "ping -n -c1 -W1 1.1.1.3", check=False), "packets pass")
    until(lambda: {each.address for each in frr.look().neighbors} == {"10.0.1.1", "10.0.2.2"}, "FRR tells of both")
    assert "proto rip" in lab.inside("w1", "ip route show 1.1.1.2/32")
    decoded = subprocess.run(["tshark", "-r", str(packets), "-V"], capture_output=True, text=True, check=True).stdout
    assert "Routing Information Protocol" in decoded
    assert "Malformed" not in decoded
    assert "IP Address: 1.1.1.2, Metric: 16" in decoded, "poisoned reverse"
    frr.kill()
    until(lambda: first.routes().get("1.1.1.3/32") == (3, ["10.0.4.1"]), "the dead router has timed out", 30)
    assert "1.1.1.2/32" not in first.routes()


@pytest.mark.parametrize(
    ("make", "algorithm"), [("frr", "simple"), ("frr", "md5"), ("bird", "md5"), ("bird", "hmac-sha-256")]
)
def test_authentication_right_and_wrong(lab: Lab, make: str, algorithm: str) -> None:
    lab.node("w1", 1)
    lab.node("p2", 2)
    lab.link("w1", "p2", 1)
    right, wrong = (Authentication(algorithm, key) for key in (b"right-1", b"wrong-1"))  # type: ignore[arg-type]
    first = lab.weft_rip("w1", config("p2", authentication=right))
    bad = lab.rip_peer(make, "p2", 2, config("w1", authentication=wrong))
    until(lambda: any("authentication failed" in text for text in first.notices), "the wrong key is told of")
    assert not first.routes()
    bad.kill()
    good = lab.rip_peer(make, "p2", 2, config("w1", authentication=right))
    until(lambda: "1.1.1.2/32" in first.routes(), "the right key is taken")
    shown = "show ip route 1.1.1.1/32" if make == "frr" else "show route 1.1.1.1/32"
    until(lambda: "10.0.1.1" in good.ask(shown), "and ours by the peer")
