"""Whole networks of OSPF cores under a virtual clock: adjacencies, databases, areas, ageing, faults."""

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ospf_net import Net

from weft.network.routing.authentication import Authentication
from weft.network.routing.ospf import AreaConfig, Ospf, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.ospf.election import Candidate, elect
from weft.network.routing.ospf.lsa import MAX_SEQUENCE, RouterBody, make_lsa
from weft.network.routing.ospf.packet import LinkStateUpdate, Packet, encode
from weft.network.routing.protocol import NeighborLost, PacketReceived, Redistribute, Shutdown
from weft.network.routing.rib.routes import Route

FAST = {"hello_interval": 1, "dead_interval": 4, "retransmit_interval": 1}


def interface(name: str, **more: object) -> OspfInterfaceConfig:
    return OspfInterfaceConfig(name, **{**FAST, **more})


def config(number: int, *interfaces: OspfInterfaceConfig, **more: object) -> OspfConfig:
    loopback = OspfInterfaceConfig(
        "lo", network_type="loopback", area=interfaces[0].area if interfaces else IPv4Address(0)
    )
    return OspfConfig(IPv4Address(0x01010100 + number), (*interfaces, loopback), **more)


def plug_loopback(net: Net, name: str, number: int) -> None:
    net.plug(f"lo-{name}", name, "lo", f"1.1.1.{number}/32")


def line(*costs: int, **more: object) -> Net:
    """Routers 1, 2, ... in a row, joined by point-to-point links."""
    net = Net()
    last = len(costs) + 1
    for number in range(1, last + 1):
        names = [("left", costs[number - 2])] if number > 1 else []
        names += [("right", costs[number - 1])] if number < last else []
        circuits = [interface(name, network_type="point-to-point", cost=cost, **more) for name, cost in names]
        net.add(f"r{number}", config(number, *circuits))
        plug_loopback(net, f"r{number}", number)
    for number in range(1, last):
        net.plug(f"w{number}", f"r{number}", "right", f"10.0.{number}.0/31")
        net.plug(f"w{number}", f"r{number + 1}", "left", f"10.0.{number}.1/31")
    return net


def lan(*priorities: int, **more: object) -> Net:
    """Routers on one broadcast network."""
    net = Net()
    for number, priority in enumerate(priorities, 1):
        net.add(f"r{number}", config(number, interface("e", priority=priority, **more)))
        plug_loopback(net, f"r{number}", number)
        net.plug("lan", f"r{number}", "e", f"10.0.0.{number}/24")
    return net


def roles(core: Ospf) -> dict[str, str]:
    return {str(each.router_id): each.role for each in core.neighbors()}


def test_a_line_comes_to_equal_databases_and_shortest_paths_within_two_seconds() -> None:
    net = line(10, 5, 7)
    net.run(2)
    assert net.full()
    first, *others = net.databases()
    assert len(first) == 4
    assert all(each == first for each in others)
    route = net.routes["r1"][IPv4Network("1.1.1.4/32")]
    assert (route.metric, [str(hop.via) for hop in route.next_hops]) == (22, ["10.0.1.1"])
    assert IPv4Network("10.0.1.0/31") not in net.routes["r1"], "a network of its own is no route of OSPF"


def test_a_broadcast_network_elects_and_only_designated_routers_are_adjacent_to_all() -> None:
    net = lan(1, 1, 1, 1)
    net.run(12)
    assert roles(net.cores["r1"]) == {"1.1.1.2": "DROther", "1.1.1.3": "Backup", "1.1.1.4": "DR"}
    states = {str(each.router_id): each.state for each in net.cores["r1"].neighbors()}
    assert states == {"1.1.1.2": "2-Way", "1.1.1.3": "Full", "1.1.1.4": "Full"}
    first, *others = net.databases()
    assert [key[:3] for key in first if key[0] == 2] == [(2, 0x0A000004, 0x01010104)]
    assert all(each == first for each in others)
    assert net.hops("r1", "1.1.1.2/32") == ["e 10.0.0.2"]


def test_the_backup_takes_over_and_a_newcomer_of_higher_priority_does_not() -> None:
    net = lan(1, 1, 1)
    net.run(12)
    assert roles(net.cores["r1"]) == {"1.1.1.2": "Backup", "1.1.1.3": "DR"}
    net.add("r9", config(9, interface("e", priority=200)))
    plug_loopback(net, "r9", 9)
    net.plug("lan", "r9", "e", "10.0.0.9/24")
    net.run(10)
    assert roles(net.cores["r1"])["1.1.1.9"] == "DROther"
    net.kill("r3")
    net.run(10)
    assert roles(net.cores["r1"]) == {"1.1.1.2": "DR", "1.1.1.9": "Backup"}
    assert net.hops("r1", "1.1.1.9/32") == ["e 10.0.0.9"]
    assert net.hops("r1", "1.1.1.3/32") == []


def test_priority_0_is_never_elected() -> None:
    net = lan(0, 0, 1)
    net.run(12)
    assert roles(net.cores["r1"]) == {"1.1.1.2": "DROther", "1.1.1.3": "DR"}
    assert net.hops("r1", "1.1.1.2/32") == ["e 10.0.0.2"]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_an_election_has_one_outcome_for_all_who_see_the_same(raw) -> None:
    """As all routers compute it for themselves from the same declarations, all must agree, after at most two rounds."""
    candidates = [
        Candidate(number, number, priority, number if dr else 0, number if bdr and not dr else 0)
        for number, (priority, dr, bdr) in enumerate(raw, 1)
    ]
    for _ in range(3):
        results = []
        for me in candidates:
            results.append(elect(me, [each for each in candidates if each is not me]))
        candidates = [
            replace(each, designated=dr, backup=bdr) for each, (dr, bdr) in zip(candidates, results, strict=True)
        ]
    assert len(set(results)) == 1
    dr, bdr = results[0]
    eligible = {each.address for each in candidates if each.priority}
    assert (dr in eligible) == bool(eligible)
    assert (bdr in eligible) == (len(eligible) > 1)
    assert dr != bdr or not dr


def test_a_cut_link_is_routed_around_and_comes_back() -> None:
    net = Net()
    for number, names in enumerate([("a", "b"), ("a", "c"), ("b", "c")], 1):
        net.add(f"r{number}", config(number, *(interface(name, network_type="point-to-point") for name in names)))
        plug_loopback(net, f"r{number}", number)
    for wire, ends, subnet in (("a", (1, 2), 1), ("b", (1, 3), 2), ("c", (2, 3), 3)):
        for host, end in enumerate(ends):
            net.plug(wire, f"r{end}", wire, f"10.0.{subnet}.{host}/31")
    net.run(3)
    assert net.hops("r1", "1.1.1.2/32") == ["a 10.0.1.1"]
    net.run(10)
    net.set_wire("a", up=False)
    net.run(0.2)
    assert net.hops("r1", "1.1.1.2/32") == ["b 10.0.2.1"]
    net.set_wire("a", up=True)
    net.run(3)
    assert net.hops("r1", "1.1.1.2/32") == ["a 10.0.1.1"]


def test_silent_loss_is_seen_by_the_dead_interval_and_sooner_with_help() -> None:
    net = line(10, 10)
    net.run(10)
    net.wires["w1"].drop = lambda data: True
    net.run(3)
    assert net.hops("r1", "1.1.1.3/32")
    net.run(2)
    assert not net.hops("r1", "1.1.1.3/32")
    net.wires["w1"].drop = lambda data: False
    net.run(7)
    assert net.hops("r1", "1.1.1.3/32")
    net.run(6)
    net.wires["w1"].drop = lambda data: True
    net.post("r1", NeighborLost("right", IPv4Address("10.0.1.1")))
    net.run(0.2)
    assert not net.hops("r1", "1.1.1.3/32")


def test_fast_hellos_find_a_dead_neighbor_in_a_second() -> None:
    net = line(10, hello_interval=0.2, dead_interval=1)
    net.run(5)
    net.kill("r2")
    net.run(1.2)
    assert not net.cores["r1"].neighbors()


def test_equal_costs_give_several_next_hops() -> None:
    net = Net()
    for number in (1, 2):
        net.add(f"r{number}", config(number, *(interface(n, network_type="point-to-point") for n in ("a", "b"))))
        plug_loopback(net, f"r{number}", number)
        for subnet, name in enumerate(("a", "b")):
            net.plug(name, f"r{number}", name, f"10.0.{subnet}.{number - 1}/31")
    net.run(3)
    assert net.hops("r1", "1.1.1.2/32") == ["a 10.0.0.1", "b 10.0.1.1"]


# Areas


def areas(kind: str = "normal") -> Net:
    """r1 -area 1- r2 -backbone- r3 -area 2- r4; area 2 of the given kind; r1 and r4 announce external routes."""
    net = Net()
    one, two = IPv4Address("0.0.0.1"), IPv4Address("0.0.0.2")
    spec = {
        1: [("right", one)],
        2: [("left", one), ("right", IPv4Address(0))],
        3: [("left", IPv4Address(0)), ("right", two)],
        4: [("left", two)],
    }
    for number, circuits in spec.items():
        made = [interface(name, network_type="point-to-point", area=area) for name, area in circuits]
        net.add(f"r{number}", config(number, *made, areas=(AreaConfig(two, kind, 7),)))
        plug_loopback(net, f"r{number}", number)
    for number in (1, 2, 3):
        net.plug(f"w{number}", f"r{number}", "right", f"10.0.{number}.0/31")
        net.plug(f"w{number}", f"r{number + 1}", "left", f"10.0.{number}.1/31")
    external = Route(IPv4Network("192.0.2.0/24"), (), "static", 1)
    net.post("r1", Redistribute((external,)))
    net.run(20)
    return net


def test_areas_know_of_one_another_by_summaries_and_of_the_world_by_external_lsas() -> None:
    net = areas()
    route = net.routes["r4"][IPv4Network("1.1.1.1/32")]
    assert route.metric == 30
    assert net.hops("r4", "192.0.2.0/24") == ["left 10.0.3.0"]
    assert net.routes["r4"][IPv4Network("192.0.2.0/24")].metric == 20, "type 2: the external metric alone"
    assert net.databases("0.0.0.2", ["r3"]) == net.databases("0.0.0.2", ["r4"])
    assert net.databases("0.0.0.0", ["r2"]) == net.databases("0.0.0.0", ["r3"])
    assert len({str(each) for each in net.databases(None)}) == 1
    kinds = {key[0] for key in net.databases("0.0.0.2", ["r4"])[0]}
    assert kinds == {1, 3, 4}


def test_a_stub_area_has_a_default_in_place_of_external_routes() -> None:
    net = areas("stub")
    assert net.hops("r4", "192.0.2.0/24") == []
    assert net.hops("r4", "0.0.0.0/0") == ["left 10.0.3.0"]
    assert net.routes["r4"][IPv4Network("0.0.0.0/0")].metric == 17
    assert net.hops("r4", "1.1.1.1/32") == ["left 10.0.3.0"]
    assert net.databases(None, ["r4"]) == [[]]


def test_a_totally_stub_area_has_only_the_default() -> None:
    net = areas("totally-stub")
    assert sorted(map(str, net.routes["r4"])) == ["0.0.0.0/0", "1.1.1.3/32"] or net.hops("r4", "1.1.1.1/32") == []
    assert net.hops("r4", "1.1.1.1/32") == []
    assert net.hops("r4", "0.0.0.0/0") == ["left 10.0.3.0"]


def test_who_disagrees_about_a_stub_area_is_no_neighbor() -> None:
    net = line(10)
    net.cores.clear()
    stub = AreaConfig(IPv4Address(1), "stub")
    for number, name, kinds in ((1, "right", (stub,)), (2, "left", ())):
        circuit = interface(name, network_type="point-to-point", area=IPv4Address(1))
        net.add(f"r{number}", config(number, circuit, areas=kinds))
    net.run(5)
    assert not net.cores["r1"].neighbors()
    assert any("stub area" in notice.text for _, notice in net.notices)


def test_an_external_route_goes_when_it_is_withdrawn() -> None:
    net = areas()
    net.post("r1", Redistribute((), (IPv4Network("192.0.2.0/24"),)))
    net.run(5)
    assert net.hops("r4", "192.0.2.0/24") == []
    assert net.databases(None) == [[]] * 4, "flushed everywhere"


def test_networks_of_one_address_get_link_state_ids_of_their_own() -> None:
    net = line(10)
    prefixes = [IPv4Network(text) for text in ("10.9.0.0/16", "10.9.0.0/24", "10.9.0.0/32")]
    net.post("r1", Redistribute(tuple(Route(prefix, (), "static", 1) for prefix in prefixes)))
    net.run(10)
    assert all(net.hops("r2", str(prefix)) for prefix in prefixes)
    net.post("r1", Redistribute((), (prefixes[2],)))
    net.run(10)
    assert [bool(net.hops("r2", str(prefix))) for prefix in prefixes] == [True, True, False]


# Ageing, sequence numbers, shutdown


def test_the_lsas_of_a_dead_router_age_out_everywhere_and_others_are_refreshed() -> None:
    net = line(10, 10)
    net.run(10)
    net.kill("r3")
    net.run(1000)
    assert any(key[2] == 0x01010103 for key in net.databases()[0]), "still there, and of no use"
    assert not net.hops("r1", "1.1.1.3/32")
    net.run(3000)
    first, second = net.databases()
    assert first == second
    assert {key[2] for key in first} == {0x01010101, 0x01010102}
    ages = [header.age for header in net.cores["r1"].database(IPv4Address(0), net.now)]
    assert max(ages) <= 1810


def test_a_sequence_number_wraps_by_way_of_a_flush() -> None:
    net = line(10)
    net.run(10)
    near_end = make_lsa(2, 1, 0x01010101, 0x01010101, MAX_SEQUENCE - 1, RouterBody(0, ()))
    update = encode(Packet(0x01010102, 0, LinkStateUpdate(((1, near_end),))), Authentication())
    net.give("r1", PacketReceived("right", IPv4Address("10.0.1.1"), IPv4Address("224.0.0.5"), update))
    net.run(5)
    sequences = [key[3] for key in net.databases()[1] if key[2] == 0x01010101]
    assert sequences == [MAX_SEQUENCE], "said anew, one past what came back"
    net.set_wire("lo-r1", up=False)
    net.run(15)
    first, second = net.databases()
    assert first == second
    assert [key[3] for key in first if key[2] == 0x01010101] == [-0x7FFFFFFF]
    assert not net.hops("r2", "1.1.1.1/32")
    net.set_wire("lo-r1", up=True)
    net.run(15)
    assert net.hops("r2", "1.1.1.1/32")


def test_a_router_that_comes_back_soon_overrides_what_is_left_of_it() -> None:
    net = line(10, 10)
    net.run(20)
    net.kill("r1")
    net.run(1)
    net.add("r1", config(1, interface("right", network_type="point-to-point", cost=10)))
    net.plug("w1", "r1", "right", "10.0.1.0/31")
    net.wires["w1"].ports.pop(0)
    net.run(30)
    assert net.full()
    assert len({str(each) for each in net.databases()}) == 1
    assert net.hops("r3", "10.0.1.0/31")
    assert not net.hops("r3", "1.1.1.1/32"), "it has no loopback any more"


def test_shutdown_tells_the_neighbors_at_once() -> None:
    net = line(10, 10)
    net.run(20)
    net.give("r3", Shutdown())
    assert not net.routes["r3"]
    net.run(0.5)
    assert not net.hops("r1", "1.1.1.3/32")
    assert all(key[2] != 0x01010103 for key in net.databases(of=["r1"])[0])


# Refusals


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ({"hello_interval": 2}, {}, "HelloInterval is"),
        ({"dead_interval": 8}, {}, "RouterDeadInterval is"),
        ({"area": IPv4Address(9)}, {}, "its area is"),
        ({"authentication": Authentication("md5", b"a")}, {}, "authentication type"),
        ({"authentication": Authentication("md5", b"a")}, {"authentication": Authentication("md5", b"b")}, "digest"),
        (
            {"authentication": Authentication("simple", b"a")},
            {"authentication": Authentication("simple", b"b")},
            "wrong password",
        ),
        (
            {"authentication": Authentication("hmac-sha-256", b"a", 1)},
            {"authentication": Authentication("hmac-sha-256", b"a", 2)},
            "key ID",
        ),
    ],
)
def test_who_is_not_configured_alike_is_no_neighbor(ours, theirs, text) -> None:
    net = Net()
    net.add("r1", config(1, interface("e", network_type="point-to-point", **ours)))
    net.add("r2", config(2, interface("e", network_type="point-to-point", **theirs)))
    net.plug("w", "r1", "e", "10.0.0.0/31")
    net.plug("w", "r2", "e", "10.0.0.1/31")
    net.run(10)
    assert not any(core.neighbors() for core in net.cores.values())
    assert any(text in notice.text for _, notice in net.notices)


@pytest.mark.parametrize("algorithm", ["simple", "md5", "hmac-sha-1", "hmac-sha-256", "hmac-sha-512"])
def test_the_same_key_on_both_sides_is_an_adjacency(algorithm) -> None:
    net = line(10, authentication=Authentication(algorithm, b"secret"))
    net.run(5)
    assert net.hops("r1", "1.1.1.2/32")


def test_a_larger_mtu_on_the_other_side_is_seen_and_keeps_the_exchange_from_going_on() -> None:
    net = Net()
    for number, mtu in ((1, 1500), (2, 9000)):
        net.add(f"r{number}", config(number, interface("e", network_type="point-to-point")))
        net.plug("w", f"r{number}", "e", f"10.0.0.{number - 1}/31", mtu)
    net.run(30)
    assert {each.state for each in net.cores["r1"].neighbors()} == {"ExStart"}
    assert any("MTU mismatch: 10.0.0.1 has 9000" in notice.text for name, notice in net.notices if name == "r1")


def test_a_malformed_or_foreign_packet_changes_nothing() -> None:
    net = line(10, 10)
    net.run(10)
    before = (net.databases(), net.cores["r1"].neighbors(), net.routes["r1"].copy())
    source, group = IPv4Address("10.0.1.1"), IPv4Address("224.0.0.5")
    rng = random.Random(5)
    good = encode(Packet(0x01010102, 0, LinkStateUpdate(())), Authentication())
    for length in range(0, 80, 3):
        net.give("r1", PacketReceived("right", source, group, rng.randbytes(length)))
        net.give("r1", PacketReceived("right", source, group, good[: length % len(good)]))
    net.give("r1", PacketReceived("nowhere", source, group, good))
    assert (net.databases(), net.cores["r1"].neighbors(), net.routes["r1"]) == before
    assert sum(notice.interface == "right" for _, notice in net.notices) > 20


# Properties


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], list[tuple[float, int, bool]]]:
    """A connected graph with costs, and ups and downs of its links."""
    size = draw(st.integers(2, 6))
    edges = [(draw(st.integers(0, node - 1)), node) for node in range(1, size)]
    edges += draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=5))
    links = [(a, b, draw(st.integers(1, 20))) for a, b in edges if a != b]
    steps = draw(st.lists(st.tuples(st.floats(0, 8), st.integers(0, len(links) - 1), st.booleans()), max_size=8))
    return links, steps


@settings(max_examples=25, deadline=None)
@given(schedule=schedules(), loss=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 99))
def test_after_any_schedule_of_failures_databases_are_equal_and_paths_the_shortest(schedule, loss, seed) -> None:
    links, steps = schedule
    rng = random.Random(seed)
    net = Net()
    size = max(max(a, b) for a, b, _ in links) + 1
    for node in range(size):
        circuits = [
            interface(f"l{index}", network_type="point-to-point", cost=cost)
            for index, (a, b, cost) in enumerate(links)
            if node in (a, b)
        ]
        net.add(f"r{node}", config(node + 1, *circuits, lsa_throttle=Throttle(0, 0.1, 1), min_ls_arrival=0.05))
        plug_loopback(net, f"r{node}", node + 1)
    for index, (a, b, _) in enumerate(links):
        net.plug(f"l{index}", f"r{a}", f"l{index}", f"10.0.{index}.0/31")
        net.plug(f"l{index}", f"r{b}", f"l{index}", f"10.0.{index}.1/31")
    for wire in net.wires.values():
        wire.drop = lambda data: rng.random() < loss
    state = dict.fromkeys(range(len(links)), True)
    for wait, index, up in steps:
        net.run(wait)
        net.set_wire(f"l{index}", up=up)
        state[index] = up
    for wire in net.wires.values():
        wire.drop = lambda data: False
    net.run(40)
    graph = networkx.Graph()
    graph.add_nodes_from(range(size))
    for index, (a, b, cost) in enumerate(links):
        if state[index]:
            known = graph.get_edge_data(a, b)
            graph.add_edge(a, b, weight=min(cost, known["weight"]) if known else cost)
    for part in networkx.connected_components(graph):
        names = [f"r{node}" for node in part]
        views = []
        for name in names:  # LSAs of routers that are cut off may linger
            [view] = net.databases(of=[name])
            views.append([key for key in view if key[2] - 0x01010101 in part])
        assert all(view == views[0] for view in views)
    distances = dict(networkx.all_pairs_dijkstra_path_length(graph))
    for a in range(size):
        for b in range(size):
            route = net.routes[f"r{a}"].get(IPv4Network(f"1.1.1.{b + 1}/32"))
            if a == b or b not in distances[a]:
                assert route is None
            else:
                assert route is not None
                assert route.metric == distances[a][b]
