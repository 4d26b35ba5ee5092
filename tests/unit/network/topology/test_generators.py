"""Generated labs: as many nodes and links as the papers say, connected, accepted by the reader, the same for a seed."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.topology import generators
from weft.network.topology.building import Options
from weft.network.topology.geography import distance, fibre_delay
from weft.network.topology.model import RoutingSettings, Topology
from weft.network.topology.reader import read_topology
from weft.network.topology.writer import topology_yaml, write_topology


def graph(topology: Topology) -> "nx.Graph[str]":
    found: nx.Graph[str] = nx.Graph()
    found.add_nodes_from(topology.node_names)
    found.add_edges_from((link.a.node, link.b.node) for link in topology.links)
    return found


def degrees(topology: Topology) -> Counter[int]:
    return Counter(degree for _, degree in graph(topology).degree())


def test_the_simple_ones() -> None:
    assert nx.is_isomorphic(graph(generators.line(5)), nx.path_graph(5))
    assert nx.is_isomorphic(graph(generators.ring(5)), nx.cycle_graph(5))
    assert nx.is_isomorphic(graph(generators.star(5)), nx.star_graph(5))
    assert nx.is_isomorphic(graph(generators.tree(3, 2)), nx.balanced_tree(2, 3))
    assert nx.is_isomorphic(graph(generators.grid(3, 4)), nx.grid_2d_graph(3, 4))
    assert nx.is_isomorphic(graph(generators.torus(3, 4)), nx.grid_2d_graph(3, 4, periodic=True))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (2, 2), (2, 3), (3, 3)])
def test_a_torus_has_no_link_twice(rows: int, columns: int) -> None:
    topology = generators.torus(rows, columns)
    pairs = {frozenset((link.a.node, link.b.node)) for link in topology.links}
    assert len(pairs) == len(topology.links)
    assert nx.is_connected(graph(topology))


@pytest.mark.parametrize("k", [2, 4, 6])
def test_a_fat_tree_has_the_sizes_of_the_paper(k: int) -> None:
    topology = generators.fat_tree(k)
    half = k // 2
    assert (len(topology.routers), len(topology.hosts)) == (5 * k * k // 4, k**3 // 4)
    # Each router has all of its k ports in use, each host one.
    assert degrees(topology) == {k: 5 * k * k // 4, 1: k**3 // 4}
    found = graph(topology)
    # As many paths between pods as there are cores; within a pod, as there are aggregation routers.
    assert len(list(nx.all_shortest_paths(found, "edge1-1", "edge2-1"))) == half * half
    if half > 1:
        assert len(list(nx.all_shortest_paths(found, "edge1-1", "edge1-2"))) == half
    assert nx.diameter(found) == 6


def test_hosts_are_where_they_are_asked_for() -> None:
    tree = generators.tree(2, 3, Options(hosts=2))
    assert len(tree.hosts) == 18
    assert {link.b.node for link in tree.links if link.a.node.startswith("h")} == {f"r{n}" for n in range(5, 14)}
    assert len(generators.ring(4, Options(hosts=3)).hosts) == 12
    assert len(generators.fat_tree(4, hosts=1).hosts) == 8


def test_options_reach_routers_and_links() -> None:
    routing = RoutingSettings(protocol="ospf", daemon="frr")
    topology = generators.ring(3, Options(name="My Ring", capacity=10**9, delay=500, cost=7, routing=routing, hosts=1))
    assert topology.name == "my-ring"
    assert {router.settings for router in topology.routers} == {routing}
    between = [link for link in topology.links if link.a.node.startswith("r")]
    assert {(link.capacity, link.delay, link.cost) for link in between} == {(10**9, 500, 7)}
    assert write_topology(topology)["spec"]["routing"] == {"protocol": "ospf", "daemon": "frr"}


SEEDED: list[Callable[[int], Topology]] = [
    lambda seed: generators.random(20, 0.3, seed=seed),
    lambda seed: generators.waxman(20, seed=seed),
    lambda seed: generators.scale_free(20, 2, seed=seed),
]


@pytest.mark.parametrize("make", SEEDED)
def test_a_seed_gives_one_graph_and_another_seed_another(make: Callable[[int], Topology]) -> None:
    assert make(3) == make(3)
    assert make(3) != make(4)


@given(st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=30)
def test_random_graphs_are_connected_and_right(count: int, seed: int) -> None:
    made = [generators.waxman(count, seed=seed), generators.waxman(count, seed=seed, alpha=0.01, beta=0.01)]
    if count > 4:
        made.append(generators.random(count, 0.6, seed=seed))
        made.append(generators.scale_free(count, 2, seed=seed))
        assert len(made[-1].links) == 2 + 2 * (count - 3)
    for topology in made:
        assert nx.is_connected(graph(topology))
        assert len({frozenset((link.a.node, link.b.node)) for link in topology.links}) == len(topology.links)
        assert read_topology(write_topology(topology)) == topology


def test_random_graphs_have_about_as_many_links_as_they_should() -> None:
    links = sum(len(generators.random(40, 0.25, seed=seed).links) for seed in range(30)) / 30
    assert 0.9 < links / (0.25 * 40 * 39 / 2) < 1.1


def test_scale_free_graphs_have_hubs_and_random_ones_have_none() -> None:
    scale_free = max(degrees(generators.scale_free(300, 2, seed=1)))
    even = max(degrees(generators.random(300, 4 / 300 + 0.012, seed=1)))
    assert scale_free > 2 * even


def test_waxman_prefers_near_routers_and_delays_follow_places() -> None:
    topology = generators.waxman(60, seed=2, size=2000)
    places = topology.places
    linked = [distance(places[link.a.node], places[link.b.node]) for link in topology.links]
    pairs = [distance(a, b) for index, a in enumerate(places.values()) for b in list(places.values())[:index]]
    assert sum(linked) / len(linked) < 0.7 * sum(pairs) / len(pairs)
    assert max(pairs) < 2000 * 2**0.5 * 1.01
    for link in topology.links:
        assert link.delay == fibre_delay(places[link.a.node], places[link.b.node])
    assert all(link.delay == 0 for link in generators.waxman(9, Options(geographic=False)).links)


def test_distances_are_those_of_the_earth() -> None:
    berlin, new_york = (13.405, 52.52), (-74.006, 40.7128)
    assert abs(distance(berlin, new_york) - 6385) < 5
    assert abs(fibre_delay(berlin, new_york) - 31_950) < 50
    assert distance((180, 0), (-180, 0)) < 1e-6
    assert abs(distance((0, 90), (77, -90)) - 20015) < 1


MISTAKES: list[Callable[[], Topology]] = [
    lambda: generators.ring(2),
    lambda: generators.line(0),
    lambda: generators.star(0),
    lambda: generators.star(10**9),
    lambda: generators.tree(10**9, 1),
    lambda: generators.tree(9, 10**9),
    lambda: generators.fat_tree(3),
    lambda: generators.fat_tree(10**6),
    lambda: generators.fat_tree(16),
    lambda: generators.grid(10**6, 10**6),
    lambda: generators.random(50, 0.001),
    lambda: generators.random(50, 2),
    lambda: generators.scale_free(3, 3),
    lambda: generators.waxman(0),
    lambda: generators.waxman(5, alpha=0),
    lambda: generators.ring(3, Options(hosts=10**9)),
]


@pytest.mark.parametrize("make", MISTAKES)
def test_numbers_that_make_no_lab_are_refused(make: Callable[[], Topology]) -> None:
    with pytest.raises(InvalidError, match="cannot make"):
        make()


@pytest.mark.parametrize("topology", [generators.fat_tree(4), generators.waxman(8), generators.torus(3, 3)])
def test_the_file_says_the_same_again(topology: Topology) -> None:
    import yaml

    text = topology_yaml(topology)
    assert read_topology(yaml.safe_load(text)) == topology
    assert len(text.splitlines()) < 10 + len(topology.node_names) + len(topology.links)


def test_names_are_in_the_order_of_the_line() -> None:
    names = [router.name for router in generators.line(4).routers]
    assert [(link.a.node, link.b.node) for link in generators.line(4).links] == list(pairwise(names))
