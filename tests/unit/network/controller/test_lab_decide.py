"""What the controller decides: golden scenarios, and properties of routes on random labs.

A scenario is `NAME.yaml` beside this file or an example; `WEFT_REGENERATE=1` writes the expected outputs anew.
"""

import json
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.network.controller import compute_routes, decide
from weft.network.routing import RouteTable
from weft.network.topology.addresses import Addresses, allocate
from weft.network.topology.model import State, Topology
from weft.network.topology.reader import read_topology

HERE = Path(__file__).parent
LABS = Path(__file__).parents[4] / "examples/labs"
SCENARIOS: list[tuple[str, dict[str, State]]] = [
    ("ring", {}),
    ("ring", {"r1-r2": "down"}),
    ("ring", {"r1-r2": "down", "r3-r6": "down", "r5-r6": "down"}),
    ("switched", {}),
]


def load(name: str) -> Topology:
    return read_topology(yaml.safe_load((LABS / f"{name}.yaml").read_text()))


def as_text(topology: Topology, states: dict[str, State]) -> str:
    """One line an object, and one a route: easy to compare by eye."""
    lines = []
    for part in decide(topology, states):
        spec = dict(part.spec)
        routes: list[dict[str, Any]] = spec.pop("routes", [])
        lines.append(f"{part.kind} {part.name} {json.dumps(spec)}")
        for route in routes:
            hops = ", ".join(f"{hop['via']} {hop['interface']}" for hop in route["nextHops"])
            lines.append(f"  {route['destination']} via {hops} metric {route['metric']}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("name", "states"), SCENARIOS, ids=lambda value: "-".join(value) if value else "all-up")
def test_scenario(name: str, states: dict[str, State]) -> None:
    file = HERE / f"{'.'.join([name, *(f'without-{link}' for link in states)])}.expected"
    found = as_text(load(name), states)
    if os.environ.get("WEFT_REGENERATE"):
        file.write_text(found)
    assert found == file.read_text()


def test_a_link_that_failed_is_avoided_but_still_wished_for() -> None:
    parts = {(part.kind, part.name): part for part in decide(load("ring"), {}, frozenset({"r1-r2"}))}
    assert parts["Link", "r1-r2.ring"].spec["state"] == "up"
    routes = parts["RouteTable", "r1.ring"].spec["routes"]
    assert {hop["interface"] for route in routes for hop in route["nextHops"]} == {"r6-r1"}


def test_only_tables_that_the_link_matters_to_change() -> None:
    """h1's link is a leaf: the others lose or keep one destination, and no host changes its default."""
    before = {part.name: part for part in decide(load("ring"), {}) if part.kind == "RouteTable"}
    after = {part.name: part for part in decide(load("ring"), {"h1-r1": "down"}) if part.kind == "RouteTable"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"h1.ring", "r2.ring", "r3.ring", "r4.ring", "r5.ring", "r6.ring"}


@st.composite
def labs(draw: st.DrawFn) -> tuple[Topology, frozenset[str]]:
    routers = draw(st.integers(1, 7))
    hosts = draw(st.integers(1, 4))
    node = st.integers(0, routers - 1)
    opaque = draw(st.none() | node)
    links: list[dict[str, Any]] = [{"name": f"h{i}", "endpoints": [f"h{i}", f"r{draw(node)}"]} for i in range(hosts)]
    for index, (a, b, cost) in enumerate(draw(st.lists(st.tuples(node, node, st.integers(1, 3)), max_size=12))):
        if a != b:
            links.append({"name": f"l{index}", "endpoints": [f"r{a}", f"r{b}"], "cost": cost})
    # Some routers share a switch.
    on_switch = draw(st.sets(node, max_size=4))
    links += [{"name": f"s{i}", "endpoints": [f"r{i}", "sw"], "cost": draw(st.integers(1, 3))} for i in on_switch]
    spec = {
        "routers": [{"name": f"r{i}", "routing": "none" if i == opaque else "spf"} for i in range(routers)],
        "switches": [{"name": "sw"}],
        "hosts": [{"name": f"h{i}"} for i in range(hosts)],
        "links": links,
    }
    topology = read_topology({"metadata": {"name": "lab"}, "spec": spec})
    up = frozenset(link.name for link in topology.links if draw(st.integers(0, 4)))
    return topology, up


def reachable(topology: Topology, up: frozenset[str], source: str) -> set[str]:
    """Which nodes a packet can come to at all, by flooding through routers that route, and switches."""
    found, todo = {source}, [source]
    while todo:
        node = todo.pop()
        if node != source and node not in topology.transit_names and node not in topology.switch_names:
            continue
        if node == source and node in topology.router_names and node not in topology.transit_names:
            continue
        for link in topology.links:
            if link.name in up and node in (link.a.node, link.b.node):
                other = link.other(node).node
                if other not in found:
                    found.add(other)
                    todo.append(other)
    return found


def forward(
    topology: Topology, addresses: Addresses, up: frozenset[str], source: str, target: IPv4Address, pick: st.DataObject
) -> str | None:
    """Follows the tables from node to node, with any of the equal next hops; the node that has the address, or None."""
    routes = compute_routes(topology, addresses, up)
    owner = {address.ip: node for (_, node), address in addresses.interfaces.items()}
    owner |= {address: node for node, address in addresses.loopbacks.items()}
    node = source
    for _ in range(len(owner) + 2):
        if owner[target] == node:
            return node
        connected = [
            address.network
            for (link, at), address in addresses.interfaces.items()
            if at == node and link in up and target in address.network
        ]
        if connected:
            return owner[target]
        table: RouteTable[Any] = RouteTable()
        for route in routes[node]:
            table.add_route(route.destination, route.next_hops)
        hops = table.lookup(target)
        if not hops:
            return None
        hop = pick.draw(st.sampled_from(hops))
        assert hop.link in up
        node = owner[hop.via]
    raise AssertionError("packets go round")


@given(labs(), st.data())
@settings(max_examples=150, deadline=None)
def test_packets_come_to_each_router_that_can_be_reached(
    lab: tuple[Topology, frozenset[str]], data: st.DataObject
) -> None:
    topology, up = lab
    addresses = allocate(topology)
    source = data.draw(st.sampled_from([n for n in topology.node_names if n not in topology.switch_names]))
    target = data.draw(st.sampled_from(sorted(topology.router_names)))
    arrived = forward(topology, addresses, up, source, addresses.loopbacks[target], data)
    assert (arrived == target) == (target in reachable(topology, up, source))


@given(labs(), st.data())
@settings(max_examples=150, deadline=None)
def test_hosts_reach_one_another_over_what_is_up(lab: tuple[Topology, frozenset[str]], data: st.DataObject) -> None:
    topology, up = lab
    addresses = allocate(topology)
    a, b = (data.draw(st.sampled_from([host.name for host in topology.hosts])) for _ in range(2))
    target = addresses.of_node(topology, b)
    assert target is not None
    gateway = next(link.other(b).node for link in topology.links if b in (link.a.node, link.b.node))
    arrived = forward(topology, addresses, up, a, target, data)
    possible = a == b or (b in reachable(topology, up, a) and gateway in topology.transit_names)
    assert (arrived == b) == possible
