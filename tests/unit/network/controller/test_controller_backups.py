"""Backups in the controller's routes: packets are walked through the tables as kernels would, with one link failed."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any

import networkx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft.network.controller.backups import LocalSid, protect
from weft.network.controller.decide import decide
from weft.network.controller.routes import Route, compute_routes
from weft.network.topology.addresses import allocate
from weft.network.topology.model import Topology
from weft.network.topology.reader import read_topology


def lab(backups: str, links: dict[str, int]) -> Topology:
    names = sorted({name for link in links for name in link.split("-")})
    spec: dict[str, Any] = {
        "routing": {"protocol": "spf", "backups": backups},
        "routers": [{"name": name} for name in names],
        "links": [{"endpoints": link.split("-"), "cost": cost} for link, cost in links.items()],
    }
    return read_topology({"apiVersion": "net.weft.dev/v1", "kind": "Topology", "metadata": {"name": "x"}, "spec": spec})


class Walk:
    """All routers have the tables from before the failure; only those at the link's ends know that it failed."""

    def __init__(self, topology: Topology, failed: str) -> None:
        self.addresses = allocate(topology)
        up = frozenset(link.name for link in topology.links)
        made = protect(topology, self.addresses, up, compute_routes(topology, self.addresses, up))
        self.routes: dict[str, dict[Any, Route]] = {
            name: {route.destination: route for route in routes} for name, routes in made.routes.items()
        }
        self.sids = {sid.sid: (name, sid) for name, sids in made.sids.items() for sid in sids}
        self.failed = failed
        self.links = {link.name: link for link in topology.links}

    def cross(self, node: str, link: str) -> str:
        assert link != self.failed, "over the failed link"
        return self.links[link].other(node).node

    def to_sid(self, node: str, sid: IPv6Address) -> tuple[str, LocalSid]:
        """By the routes to locators."""
        for _ in range(30):
            owner, local = self.sids[sid]
            if owner == node:
                return node, local
            route = next(
                route for net, route in self.routes[node].items() if isinstance(net, IPv6Network) and sid in net
            )
            links = [hop.link for hop in route.next_hops if hop.link != self.failed]
            if not links:
                assert route.backup, f"{node} has no backup to {route.destination}"
                assert not route.backup[0].segments
                links = [route.backup[0].link]
            node = self.cross(node, links[0])
        raise AssertionError("a tunnel that goes in circles")

    def deliver(self, node: str, target: str) -> str:
        """Where a packet for a router's loopback arrives, that begins at an end of the failed link."""
        destination = IPv4Network(self.addresses.loopbacks[target])
        source = node
        for step in range(40):
            if node == target:
                return node
            route = self.routes[node][destination]
            if links := [hop.link for hop in sorted(route.next_hops) if hop.link != self.failed]:
                node = self.cross(node, links[0])
                continue
            assert step == 0, f"came back to the failed link at {node}"
            assert node == source
            if not route.backup:
                return ""
            backup = route.backup[0]
            if not backup.segments:
                node = self.cross(node, backup.link)
                continue
            for sid in backup.segments:
                node, local = self.to_sid(node, sid)
                if local.via is not None:
                    node = self.cross(node, local.link)
        raise AssertionError("a packet that goes in circles")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, int]:
    names = "abcdefgh"[: draw(st.integers(3, 8))]
    links = {f"{names[draw(st.integers(0, n - 1))]}-{names[n]}": 1 for n in range(1, len(names))}
    more = [f"{a}-{b}" for i, a in enumerate(names) for b in names[i + 1 :]]
    links |= dict.fromkeys(draw(st.lists(st.sampled_from(more), max_size=8)), 1)
    return {link: draw(st.integers(1, 12)) for link in sorted(links)}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.data())
def test_ti_lfa_delivers_all_that_can_be_whatever_link_fails(links: dict[str, int], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(sorted(links)))
    walk = Walk(lab("ti-lfa", links), failed)
    graph = networkx.Graph(link.split("-") for link in links)
    graph.remove_edge(*failed.split("-"))
    for source in failed.split("-"):
        for target in graph:
            if (
                source != target
                and len(walk.routes[source][IPv4Network(walk.addresses.loopbacks[target])].next_hops) == 1
            ):
                arrives = walk.deliver(source, target)
                assert arrives == (target if networkx.has_path(graph, source, target) else "")


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_a_loop_free_alternate_never_comes_back(links: dict[str, int], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(sorted(links)))
    walk = Walk(lab("lfa", links), failed)
    assert not walk.sids
    for source in failed.split("-"):
        for target in walk.routes:
            if target != source:
                assert walk.deliver(source, target) in (target, "")


def test_a_ring_of_six_needs_tunnels_and_a_triangle_does_not() -> None:
    ring = decide(lab("ti-lfa", {"a-b": 1, "b-c": 1, "c-d": 1, "d-e": 1, "e-f": 1, "f-a": 1}), {})
    table = next(part.spec for part in ring if part.kind == "RouteTable" and part.name == "a.x")
    assert any("segments" in each for route in table["routes"] for each in route.get("backup", ()))
    assert {each["action"] for each in table["segments"]} == {"End", "End.DX4", "End.X"}
    assert all("tunnelAddress" in end for part in ring if part.kind == "Link" for end in part.spec["endpoints"])
    triangle = decide(lab("lfa", {"a-b": 1, "b-c": 1, "a-c": 1}), {})
    table = next(part.spec for part in triangle if part.kind == "RouteTable" and part.name == "a.x")
    assert "segments" not in table
    backup = {route["destination"]: route.get("backup") for route in table["routes"]}
    assert backup["10.255.0.2/32"] == [{"interface": "a-c", "via": backup["10.255.0.2/32"][0]["via"]}]


@pytest.mark.parametrize("backups", ["none", "lfa", "ti-lfa"])
def test_routes_themselves_are_the_same_with_and_without(backups: str) -> None:
    links = {"a-b": 3, "b-c": 1, "c-d": 2, "d-a": 1, "a-c": 5}

    def plain(topology: Topology) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for part in decide(topology, {}):
            if part.kind == "RouteTable":
                routes = [route for route in part.spec["routes"] if ":" not in route["destination"]]
                found[part.name] = [{key: route[key] for key in route if key != "backup"} for route in routes]
        return found

    assert plain(lab(backups, links)) == plain(lab("none", links))
