"""BFD with FRR and BIRD: sessions come up, silent loss is seen at once, and taking leave is no failure."""

from collections.abc import Iterator

import pytest
from routing_lab import Lab, config, until

from weft.network.routing.bfd import BfdConfig
from weft.network.routing.peers.frr import BfdTimers
from weft.network.routing.protocol import Shutdown

SLOW_HELLOS = {"hello_interval": 5, "dead_interval": 20}


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("make", ["frr", "bird", "weft"])
def test_silent_loss_is_seen_long_before_the_dead_interval(lab: Lab, make: str) -> None:
    lab.node("w1", 1)
    lab.node("p2", 2)
    lab.link("w1", "p2", 1)
    first = lab.weft("w1", config(1, "p2", more=SLOW_HELLOS), BfdConfig(0.1, 0.1, 3))
    theirs = config(2, "w1", more=SLOW_HELLOS)
    if make == "weft":
        lab.weft("p2", theirs, BfdConfig(0.1, 0.1, 3))
    else:
        getattr(lab, make)("p2", theirs, BfdTimers(100, 3))
    until(lambda: first.sessions() == ["Up"], "the session comes up")
    until(lambda: "1.1.1.2/32" in first.routes(), "a route")
    hooks = ("input priority 0; iifname w1", "output priority 0; oifname w1")
    chains = " ".join(f"chain c{n} {{ type filter hook {hook} drop; }};" for n, hook in enumerate(hooks))
    table = f"table ip cut {{ {chains} }}"
    lab.inside("p2", f"nft '{table}'")
    until(lambda: "1.1.1.2/32" not in first.routes(), "the route is gone", 3)
    lab.inside("p2", "nft delete table ip cut")
    until(lambda: "1.1.1.2/32" in first.routes() and first.sessions() == ["Up"], "and comes back")


def test_a_neighbor_that_ends_its_session_is_not_lost(lab: Lab) -> None:
    """AdminDown (RFC 5882, 3.2). FRR 8 says a plain Down instead, which is a failure."""
    for number, name in enumerate(("w1", "w2"), 1):
        lab.node(name, number)
    lab.link("w1", "w2", 1)
    first = lab.weft("w1", config(1, "w2"), BfdConfig(0.1, 0.1, 3))
    second = lab.weft("w2", config(2, "w1"), BfdConfig(0.1, 0.1, 3))
    until(lambda: first.sessions() == ["Up"] and "1.1.1.2/32" in first.routes(), "the session comes up")
    second.give(Shutdown(), "bfd")
    until(lambda: first.sessions() == ["Down"], "the session is over")
    assert first.neighbors()["1.1.1.2"][0] == "Full"
    assert "1.1.1.2/32" in first.routes()
    assert not first.notices
