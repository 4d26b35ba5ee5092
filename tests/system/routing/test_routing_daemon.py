"""The driver of routing protocols on real sockets: many interfaces, routes that somebody takes away, a successor."""

from collections.abc import Iterator

import pytest
from routing_lab import Lab, config, until


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
    finally:
        made.close()


def test_a_router_may_have_more_interfaces_than_the_kernel_lets_one_socket_join_groups(lab: Lab) -> None:
    lab.node("hub", 1)
    lab.node("rim", 2)
    names = [f"p{n}" for n in range(12)]
    for n, name in enumerate(names):
        peer = f"{lab.prefix}-rim"
        lab.inside("hub", f"ip link add {name} type veth peer name {name} netns {peer}")
        for node, host in (("hub", 0), ("rim", 1)):
            lab.inside(node, f"ip addr add 10.0.{n}.{host}/31 dev {name}")
            lab.inside(node, f"ip link set {name} up")
    hub = lab.weft("hub", config(1, *names))
    rim = lab.weft("rim", config(2, *names))

    def adjacent() -> int:
        return sum(each.state == "Full" for each in hub.call(hub.core.neighbors))

    until(lambda: adjacent() == 12, "adjacent on all twelve")
    until(lambda: len(hub.routes().get("1.1.1.2/32", (0, []))[1]) == 12, "twelve equal ways")
    until(lambda: lab.inside("hub", "ip route show 1.1.1.2/32").count("nexthop") == 12, "and the kernel has them")
    rim.stop()


def test_routes_that_somebody_takes_away_come_back_and_those_of_a_dead_process_are_taken_over(lab: Lab) -> None:
    lab.node("w1", 1)
    lab.node("w2", 2)
    lab.link("w1", "w2", 1)
    first = lab.weft("w1", config(1, "w2"))
    lab.weft("w2", config(2, "w1"))
    until(lambda: "proto ospf" in lab.inside("w1", "ip route show 1.1.1.2/32"), "a kernel route")
    lab.inside("w1", "ip route del 1.1.1.2/32")
    lab.inside("w1", "ip route add 192.0.2.9/32 via 10.0.1.2 proto static")
    first.repair()
    assert "proto ospf" in lab.inside("w1", "ip route show 1.1.1.2/32")
    first.kill()
    assert "proto ospf" in lab.inside("w1", "ip route show 1.1.1.2/32"), "packets flow meanwhile"
    second = lab.weft("w1", config(1, "w2"))
    until(lambda: "1.1.1.2/32" in second.routes(), "the next process has found the way")
    second.stop()
    assert not lab.inside("w1", "ip route show 1.1.1.2/32"), "with a farewell the routes go"
    assert lab.inside("w1", "ip route show 192.0.2.9/32"), "others' routes are not touched"
