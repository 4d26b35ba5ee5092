"""Whole networks of RIP cores under a virtual clock."""

from ipaddress import IPv4Address, IPv4Network

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rip_net import Net

from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication
from weft.network.routing.protocol import NeighborChanged, NeighborLost, PacketReceived, Redistribute, Send, Shutdown
from weft.network.routing.rib.routes import Route
from weft.network.routing.rip import RipConfig, RipInterfaceConfig
from weft.network.routing.rip.packet import REQUEST, RESPONSE, WHOLE_TABLE, Entry, Message, decode, encode

NONE = Authentication()


def config(*names: str, suppression=(0.1, 0.5), **more) -> RipConfig:
    interfaces = tuple(RipInterfaceConfig(name, **more) for name in names)
    return RipConfig(interfaces, 3.0, 18.0, 12.0, suppression)


def graph(edges: list[tuple[int, int]], seed: int = 1, **more) -> Net:
    """Routers joined by /31 links `l0`, `l1`, ...; each has a LAN 10.1.<router>.0/24."""
    net = Net(seed)
    for router in sorted({node for edge in edges for node in edge}):
        names = [f"l{index}" for index, edge in enumerate(edges) if router in edge]
        net.add(f"r{router}", config("lan", *names, **more))
        net.plug(f"lan{router}", f"r{router}", "lan", f"10.1.{router}.1/24")
    for index, (a, b) in enumerate(edges):
        net.plug(f"l{index}", f"r{a}", f"l{index}", f"10.2.{index}.0/31")
        net.plug(f"l{index}", f"r{b}", f"l{index}", f"10.2.{index}.1/31")
    return net


def lan(router: int) -> str:
    return f"10.1.{router}.0/24"


def test_a_line_learns_all_networks_within_a_second_of_start() -> None:
    net = graph([(0, 1), (1, 2), (2, 3)])
    net.run(2)
    assert net.metric("r0", lan(3)) == 4
    route = net.routes["r0"][IPv4Network(lan(3))]
    assert [(hop.interface, str(hop.via)) for hop in route.next_hops] == [("l0", "10.2.0.1")]


def test_a_cut_link_poisons_at_once_and_the_other_way_is_found() -> None:
    net = graph([(0, 1), (1, 2), (2, 3), (3, 0)])
    net.run(10)
    assert net.metric("r0", lan(1)) == 2
    net.set_wire("l0", up=False)
    net.run(4)
    assert net.metric("r0", lan(1)) == 4
    net.set_wire("l0", up=True)
    net.run(4)
    assert net.metric("r0", lan(1)) == 2


def test_equal_ways_are_used_together_and_one_may_go() -> None:
    net = graph([(0, 1), (1, 2), (2, 3), (3, 0)])
    net.run(10)
    assert len(net.routes["r0"][IPv4Network(lan(2))].next_hops) == 2
    net.set_wire("l0", up=False)
    net.run(4)
    assert len(net.routes["r0"][IPv4Network(lan(2))].next_hops) == 1
    assert net.metric("r0", lan(2)) == 3


def test_a_silent_neighbor_times_out_and_its_routes_are_forgotten_later() -> None:
    net = graph([(0, 1), (1, 2)])
    net.run(10)
    net.wires["l0"].loss = 1.0
    net.run(10)
    assert net.metric("r0", lan(2)) == 3
    net.run(12)
    assert net.metric("r0", lan(2)) is None
    assert net.cores["r0"].metric_of(IPv4Network(lan(2))) == 16
    net.wires["l0"].loss = 0.0
    net.run(5)
    assert net.metric("r0", lan(2)) == 3


def test_help_from_elsewhere_loses_a_neighbor_at_once() -> None:
    net = graph([(0, 1)])
    net.run(5)
    net.wires["l0"].loss = 1.0
    net.give("r0", NeighborLost("l0", IPv4Address("10.2.0.1")))
    assert net.metric("r0", lan(1)) is None


def counting(split_horizon: str, seed: int) -> int:
    """The highest metric that r0 or r1 ever had for a network of r2 that has gone; their wire is lossy."""
    net = Net(seed)
    for number, names in enumerate((("a",), ("a", "b"), ("b", "lan"))):
        net.add(f"r{number}", config(*names, split_horizon=split_horizon))
    net.plug("lan", "r2", "lan", "10.1.2.1/24")
    for wire, (one, other), subnet in (("a", ("r0", "r1"), 1), ("b", ("r1", "r2"), 2)):
        net.plug(wire, one, wire, f"10.2.{subnet}.0/31")
        net.plug(wire, other, wire, f"10.2.{subnet}.1/31")
    net.run(20)
    prefix = IPv4Network(lan(2))
    assert net.metric("r0", lan(2)) == 3
    net.metrics_seen.clear()
    net.wires["a"].loss = 0.5
    net.wires["b"].loss = 1.0
    net.run(300)
    assert net.metric("r0", lan(2)) is None
    return max([*net.metrics_seen.get(("r0", prefix), []), *net.metrics_seen.get(("r1", prefix), [])], default=0)


def test_counting_to_infinity_happens_without_split_horizon_and_not_with_it() -> None:
    assert max(counting("off", seed) for seed in range(6)) >= 10
    assert max(counting("simple", seed) for seed in range(6)) <= 3
    assert max(counting("poisoned-reverse", seed) for seed in range(6)) <= 3


def test_a_network_beyond_fifteen_hops_cannot_be_reached() -> None:
    net = graph([(n, n + 1) for n in range(16)])
    net.run(30)
    assert net.metric("r0", lan(14)) == 15
    assert net.metric("r0", lan(15)) is None


def test_redistributed_routes_are_announced_and_withdrawn_with_their_tag() -> None:
    net = graph([(0, 1), (1, 2)])
    prefix = IPv4Network("192.0.2.0/24")
    net.post("r0", Redistribute((Route(prefix, (), "static", 1, 5, 77),)))
    net.run(5)
    assert net.metric("r2", "192.0.2.0/24") == 7
    assert net.routes["r2"][prefix].tag == 77
    net.post("r0", Redistribute((), (prefix,)))
    net.run(2)
    assert net.metric("r2", "192.0.2.0/24") is None


def test_shutdown_tells_the_neighbors_at_once() -> None:
    net = graph([(0, 1), (1, 2)])
    net.run(5)
    net.give("r1", Shutdown())
    net.run(0.1)
    assert net.metric("r0", lan(2)) is None
    assert not net.routes["r1"]


def test_split_horizon_poisons_what_came_by_the_interface() -> None:
    net = graph([(0, 1)])
    net.run(5)
    request = PacketReceived("l0", IPv4Address("10.2.0.1"), IPv4Address("224.0.0.9"), encode(WHOLE_TABLE, NONE))
    [answer] = [a for a in net.cores["r0"].handle(request, net.now) if isinstance(a, Send)]
    assert answer.destination == IPv4Address("10.2.0.1")
    told = {str(entry.prefix): entry.metric for entry in decode(answer.data, NONE).entries}
    assert told == {lan(0): 1, "10.2.0.0/31": 1, lan(1): 16}
    question = Message(REQUEST, (Entry(IPv4Network(lan(1)), 1), Entry(IPv4Network("9.0.0.0/8"), 1)))
    event = PacketReceived("l0", IPv4Address("10.2.0.1"), IPv4Address("10.2.0.0"), encode(question, NONE))
    [answer] = [a for a in net.cores["r0"].handle(event, net.now) if isinstance(a, Send)]
    assert [entry.metric for entry in decode(answer.data, NONE).entries] == [2, 16], "no split horizon in an answer"


@pytest.mark.parametrize("algorithm", ["simple", "md5", "hmac-sha-256"])
def test_keys_must_agree(algorithm) -> None:
    for key, reached in ((b"one", 2), (b"two", None)):
        net = Net()
        for router, mine in (("r0", b"one"), ("r1", key)):
            net.add(router, config("l", "lan", authentication=Authentication(algorithm, mine)))
            net.plug("w", router, "l", f"10.2.0.{router[1]}/31")
            net.plug(f"lan{router}", router, "lan", f"10.1.{router[1]}.1/24")
        net.run(5)
        assert net.metric("r0", lan(1)) == reached
        assert bool(net.notices) == (reached is None)


def test_malformed_and_foreign_messages_change_nothing() -> None:
    net = graph([(0, 1)])
    net.run(5)
    before = dict(net.routes["r0"])
    entries = (Entry(IPv4Network("224.1.0.0/16"), 1), Entry(IPv4Network("127.0.0.0/8"), 1))
    source, group = IPv4Address("10.2.0.1"), IPv4Address("224.0.0.9")
    net.give("r0", PacketReceived("l0", source, group, encode(Message(RESPONSE, entries), NONE)))
    good = encode(Message(RESPONSE, (Entry(IPv4Network("9.0.0.0/8"), 1),)), NONE)
    net.give("r0", PacketReceived("l0", IPv4Address("10.9.9.9"), group, good))
    net.give("r0", PacketReceived("l0", IPv4Address("10.2.0.0"), group, good))
    for length in range(len(good)):
        net.give("r0", PacketReceived("l0", source, group, good[:length]))
    assert net.routes["r0"] == before
    assert len(net.notices) > 3


def test_neighbors_are_told_of() -> None:
    net = graph([(0, 1)])
    net.run(5)
    gone = net.cores["r0"].handle(NeighborLost("l0", IPv4Address("10.2.0.1")), net.now)
    assert NeighborChanged("rip", "l0", IPv4Address("10.2.0.1"), "Down", gone=True) in gone


def test_a_wrong_configuration_cannot_be_built() -> None:
    with pytest.raises(InvalidError, match="cost 16"):
        RipInterfaceConfig("e", cost=16)
    with pytest.raises(InvalidError, match="timeout"):
        RipConfig(update_interval=30, timeout_interval=20)


@st.composite
def schedules(draw: st.DrawFn):
    size = draw(st.integers(2, 6))
    edges = [(draw(st.integers(0, node - 1)), node) for node in range(1, size)]
    edges += [e for e in draw(st.lists(st.tuples(*[st.integers(0, size - 1)] * 2), max_size=4)) if e[0] != e[1]]
    steps = st.tuples(st.floats(0, 8), st.integers(0, len(edges) - 1), st.booleans())
    return edges, draw(st.lists(steps, max_size=8))


@settings(max_examples=25, deadline=None)
@given(schedule=schedules(), loss=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 99))
def test_after_any_schedule_of_failures_metrics_are_the_shortest_and_no_loop_is_left(schedule, loss, seed) -> None:
    edges, steps = schedule
    net = graph(edges, seed)
    for wire in net.wires.values():
        wire.loss = loss
    state = dict.fromkeys(range(len(edges)), True)
    for wait, index, up in steps:
        net.run(wait)
        net.set_wire(f"l{index}", up=up)
        state[index] = up
    for wire in net.wires.values():
        wire.loss = 0.0
    net.run(120)
    reference = networkx.Graph([edge for index, edge in enumerate(edges) if state[index]])
    reference.add_nodes_from(node for edge in edges for node in edge)
    distances = dict(networkx.all_pairs_shortest_path_length(reference))
    for a in reference:
        for b in reference:
            expected = distances[a][b] + 1 if a != b and b in distances[a] else None
            assert net.metric(f"r{a}", lan(b)) == expected
