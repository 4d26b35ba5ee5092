"""Labs in virtual time: what a schedule does to them, and that all ways to find routes find the same."""

import dataclasses
from ipaddress import IPv4Network
from typing import Any

import networkx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft.core.errors import WeftError
from weft.network.dataplane.simulation import SimulatedLab, SimulatedNetwork, every_link
from weft.network.dataplane.simulation.agenda import Agenda
from weft.network.topology.model import ScheduledEvent, Topology
from weft.network.topology.reader import read_topology

OSPF = {"protocol": "ospf", "ospf": {"helloInterval": 1, "deadInterval": 4}}
RIP = {"protocol": "rip", "rip": {"updateInterval": 3, "timeoutInterval": 18, "garbageInterval": 12}}
SPF = {"protocol": "spf"}


def lab(routing: dict[str, Any], edges: str, *, hosts: str = "", costs: dict[str, int] | None = None) -> Topology:
    """`a-b b-c`: routers are what is not in `hosts`."""
    pairs = [edge.split("-") for edge in edges.split()]
    names = sorted({name for pair in pairs for name in pair})
    links = [{"endpoints": pair, "cost": (costs or {}).get("-".join(pair), 1)} for pair in pairs]
    spec = {
        "routing": routing,
        "routers": [{"name": name} for name in names if name not in hosts.split()],
        "hosts": [{"name": name} for name in hosts.split()],
        "links": links,
    }
    return read_topology({"apiVersion": "net.weft.dev/v1", "kind": "Topology", "metadata": {"name": "x"}, "spec": spec})


def event(at: float, action: Any, *links: str, **more: Any) -> ScheduledEvent:
    return ScheduledEvent(at, action, links, **more)


def metrics(network: SimulatedNetwork) -> dict[tuple[str, str], int]:
    """The metric from each router to each loopback of another, of the routes that it forwards by."""
    found = {}
    for name, node in network.nodes.items():
        for other, address in network.addresses.loopbacks.items():
            best = node.router.rib.best(IPv4Network(address)) if node.alive else None
            if best is not None and other != name:
                found[name, other] = best.metric
    return found


def reference(network: SimulatedNetwork, *, hops: bool) -> dict[tuple[str, str], int]:
    graph = networkx.Graph()
    graph.add_nodes_from(name for name, node in network.nodes.items() if node.alive)
    for wire in network.wires.wires.values():
        ends = (wire.link.a.node, wire.link.b.node)
        if wire.up and wire.loss < 1 and all(network.nodes[end].alive for end in ends):
            graph.add_edge(*ends, weight=1 if hops else wire.link.cost)
    lengths = networkx.all_pairs_dijkstra_path_length(graph)
    own = 1 if hops else 0  # RIP begins to count at the network itself
    return {(a, b): cost + own for a, row in lengths for b, cost in row.items() if a != b}


def test_a_cut_link_is_led_around_and_the_outage_is_measured() -> None:
    run = SimulatedLab(lab(OSPF, "a-b b-c c-d d-a"), schedule=[event(0, "cut", "a-b"), event(10, "restore", "a-b")])
    result = run.run()
    assert result.start is not None
    assert result.start < 3
    cut, restored = result.effects
    assert cut.interrupted >= 2
    assert 0.04 < cut.longest_outage < 0.2  # SPF waits 50 ms
    assert cut.cut_off == 0
    assert restored.interrupted == 0
    assert (result.delivered, result.possible, result.failing) == (12, 12, ())
    assert cut.packets["ospf"] > 0


def test_a_link_that_fails_without_a_word_is_found_by_hellos_and_by_bfd_much_sooner() -> None:
    outages = {}
    for name, bfd in (("hellos", None), ("bfd", {"interval": "50ms", "multiplier": 3})):
        routing = {**OSPF, **({"bfd": bfd} if bfd else {})}
        run = SimulatedLab(lab(routing, "a-b b-c c-d d-a"), schedule=[event(0, "loss", "a-b", share=1.0)])
        outages[name] = run.run().effects[0].longest_outage
    assert 3 < outages["hellos"] < 4.3
    assert 0.1 < outages["bfd"] < 0.3


def test_who_is_cut_off_is_not_counted_as_interrupted_and_comes_back() -> None:
    schedule = [event(0, "partition", groups=(("a", "b"), ("c", "d"))), event(20, "heal")]
    first, second = SimulatedLab(lab(OSPF, "a-b b-c c-d"), schedule=schedule).run().effects
    assert (first.interrupted, first.cut_off) == (0, 8)
    assert second.interrupted == 8
    assert second.lasting == 0
    assert second.longest_outage < 3


def test_a_dead_router_is_avoided_and_used_again_when_it_has_started_anew() -> None:
    schedule = [event(0, "kill", nodes=("b",)), event(30, "start", nodes=("b",))]
    killed, started = SimulatedLab(lab(OSPF, "a-b b-c a-d d-e e-c"), schedule=schedule).run().effects
    assert killed.cut_off == 8  # from and to b
    assert killed.interrupted == 2  # a to c and back
    assert killed.lasting == 0
    assert 3 < killed.longest_outage < 5  # the dead interval
    assert started.lasting == 0


def test_a_flap_is_cuts_and_restores() -> None:
    flap = ScheduledEvent(1.0, "flap", ("a-b",), period=2.0, count=2)
    result = SimulatedLab(lab(SPF, "a-b b-c c-a"), schedule=[flap]).run()
    assert [(each.at, each.event) for each in result.effects] == [
        (1, "cut a-b"), (2, "restore a-b"), (3, "cut a-b"), (4, "restore a-b"),
    ]  # fmt: skip
    assert result.delivered == 6


def test_reordered_and_lost_packets_do_not_keep_it_from_agreeing() -> None:
    everywhere = ("a-b", "b-c", "c-d", "d-a", "a-c")
    schedule = [
        event(0, "loss", *everywhere, share=0.2),
        event(0, "reorder", *everywhere, share=0.3),
        event(5, "cut", "a-c"),
        event(8, "restore", "a-c"),
        event(20, "loss", *everywhere, share=0.0),
        event(20, "reorder", *everywhere, share=0.0),
    ]
    run = SimulatedLab(lab(OSPF, " ".join(everywhere)), schedule=schedule, seconds=60)
    result = run.run()
    assert (result.delivered, result.possible) == (12, 12)
    assert metrics(run.network) == reference(run.network, hops=False)


def test_hosts_behind_switches() -> None:
    spec = {
        "switches": [{"name": "s"}],
        "routers": [{"name": "r"}],
        "hosts": [{"name": "h1"}, {"name": "h2"}, {"name": "h3"}],
        "links": [{"endpoints": pair} for pair in (["h1", "s"], ["h2", "s"], ["s", "r"], ["r", "h3"])],
    }
    topology = read_topology(
        {"apiVersion": "net.weft.dev/v1", "kind": "Topology", "metadata": {"name": "x"}, "spec": spec}
    )
    schedule = [event(1, "kill", nodes=("s",)), event(2, "start", nodes=("s",))]
    killed, started = SimulatedLab(topology, schedule=schedule).run().effects
    assert killed.cut_off == 6
    assert started.lasting == 0


@pytest.mark.parametrize("routing", [SPF, OSPF, RIP], ids=["spf", "ospf", "rip"])
def test_the_same_seed_gives_the_same_run(routing: dict[str, Any]) -> None:
    topology = lab(routing, "a-b b-c c-d d-a a-c")
    first, second = (SimulatedLab(topology, seed=7, schedule=every_link(topology)).run() for _ in range(2))
    assert dataclasses.asdict(first) == dataclasses.asdict(second)
    other = SimulatedLab(topology, seed=8, schedule=every_link(topology)).run()
    assert other.delivered == first.delivered == 12
    assert other.start != first.start


@st.composite
def failures(draw: st.DrawFn) -> tuple[list[str], dict[str, int], list[ScheduledEvent]]:
    """A connected graph with costs, and failures of which some last."""
    count = draw(st.integers(3, 7))
    names = "abcdefg"[:count]
    edges = {f"{names[draw(st.integers(0, n - 1))]}-{names[n]}" for n in range(1, count)}
    pairs = [f"{a}-{b}" for i, a in enumerate(names) for b in names[i + 1 :]]
    edges |= set(draw(st.lists(st.sampled_from(pairs), max_size=6)))
    links = sorted(edges)
    costs = {link: draw(st.integers(1, 20)) for link in links}
    schedule = []
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.floats(0, 20))
        action = draw(st.sampled_from(["cut", "restore", "loss", "kill", "start"]))
        if action in ("kill", "start"):
            schedule.append(ScheduledEvent(at, action, nodes=(draw(st.sampled_from(names)),)))
        else:
            schedule.append(event(at, action, draw(st.sampled_from(links)), share=1.0 if action == "loss" else 0.0))
    # The controller without BFD does not see that a link loses all: this ends before the schedule does.
    schedule.append(event(25, "loss", *links, share=0.0))
    return links, costs, schedule


@pytest.mark.parametrize("routing", [SPF, OSPF, RIP], ids=["spf", "ospf", "rip"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=failures())
def test_after_failures_all_agree_with_a_reference_and_no_loop_lasts(
    routing: dict[str, Any], drawn: tuple[list[str], dict[str, int], list[ScheduledEvent]]
) -> None:
    links, costs, schedule = drawn
    if routing is SPF:  # the controller hears of links, not of routers that die in silence
        schedule = [each for each in schedule if each.action not in ("kill", "start")]
    run = SimulatedLab(lab(routing, " ".join(links), costs=costs), schedule=schedule, seconds=150)
    result = run.run()
    assert result.failing == ()
    assert metrics(run.network) == reference(run.network, hops=routing is RIP)


def test_calls_of_one_instant_come_in_the_order_of_their_planning() -> None:
    agenda, seen = Agenda(), []
    agenda.at(2.0, seen.append, "c")
    agenda.at(1.0, seen.append, "a")
    agenda.at(1.0, lambda: agenda.at(0.5, seen.append, "b"))
    agenda.run(1.5)
    assert (seen, agenda.now, agenda.next()) == (["a", "b"], 1.5, 2.0)
    agenda.run(3.0)
    assert (seen, agenda.now, agenda.done) == (["a", "b", "c"], 3.0, 4)


def test_a_simulation_that_does_not_come_to_rest_ends_with_an_error() -> None:
    agenda = Agenda()

    def again() -> None:
        agenda.after(0.0, again)

    again()
    with pytest.raises(WeftError, match="no end"):
        agenda.run(1.0, most=1000)
