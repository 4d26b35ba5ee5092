"""What the lab agent wants of the kernel and says of it, as pure functions."""

import copy
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from weft.network.controller import decide
from weft.network.dataplane.linux import DataLink, End, Hop, Namespace, NetworkState, NodeRoute, Report
from weft.network.topology.reader import read_topology
from weft.node.lab import Lab, desired_state, statuses

OBJECT: dict[str, Any] = {
    "metadata": {"name": "lab"},
    "spec": {
        "routers": [{"name": "r1"}],
        "switches": [{"name": "s1"}],
        "hosts": [{"name": "h1"}],
        "links": [
            {"endpoints": ["r1", "s1"], "capacity": "10Mbit", "delay": "5ms"},
            {"endpoints": ["h1", "s1"]},
        ],
    },
}


@pytest.fixture
def lab() -> Lab:
    found = Lab()
    for part in decide(read_topology(OBJECT), {}):
        obj = {"kind": part.kind, "metadata": {"name": part.name}, "spec": copy.deepcopy(part.spec)}
        if part.kind == "Link":
            found.links.append(obj)
        elif part.kind == "RouteTable":
            found.tables.append(obj)
        else:
            found.nodes[part.spec["node"]] = obj
    return found


def said(lab: Lab, report: Report) -> dict[str, dict[str, Any]]:
    told = statuses(lab, desired_state(lab), report, dict.fromkeys(lab.nodes, "ns"), {})
    return {f"{obj['kind']} {obj['metadata']['name']}": status for obj, status in told}


def test_the_wish_is_whole(lab: Lab) -> None:
    default = NodeRoute(ip_network("0.0.0.0/0"), (Hop("h1-s1", ip_address("10.1.0.1")),), 1)
    assert desired_state(lab) == NetworkState(
        (
            Namespace("h1", routes=(default,)),
            Namespace("r1", forward=True, loopback=(ip_interface("10.255.0.1/32"),)),
            Namespace("s1", bridge=True),
        ),
        (
            DataLink("h1-s1", (End("h1", "h1-s1", (ip_interface("10.1.0.2/24"),)), End("s1", "h1-s1"))),
            DataLink(
                "r1-s1", (End("r1", "r1-s1", (ip_interface("10.1.0.1/24"),)), End("s1", "r1-s1")), rate=10_000_000
            ),
        ),
    )


def test_a_link_waits_for_both_of_its_nodes(lab: Lab) -> None:
    del lab.nodes["s1"]
    assert desired_state(lab).links == ()


def test_all_is_well(lab: Lab) -> None:
    told = said(lab, Report())
    assert told["Router r1.lab"] == {"phase": "Ready", "netns": "ns", "message": ""}
    assert told["Link h1-s1.lab"] == {"state": "up", "message": ""}
    assert told["RouteTable h1.lab"] == {"installed": True, "routes": 1, "protected": 0, "message": ""}


def test_what_is_not_enforced_is_told(lab: Lab) -> None:
    assert said(lab, Report())["Link r1-s1.lab"]["message"] == "not enforced: delay"
    assert said(lab, Report(unlimited=("r1-s1",)))["Link r1-s1.lab"]["message"] == "not enforced: capacity, delay"


def test_errors_are_told_where_they_are(lab: Lab) -> None:
    told = said(lab, Report({"h1": "no namespace", "r1-s1": "no link"}))
    assert told["Host h1.lab"] == {"phase": "Failed", "netns": "ns", "message": "no namespace"}
    assert told["Link r1-s1.lab"] == {"state": "down", "message": "no link"}
    assert told["RouteTable h1.lab"]["message"] == "no namespace"
    assert told["Router r1.lab"]["phase"] == "Ready"


def test_routes_over_a_cut_link_are_not_installed(lab: Lab) -> None:
    lab.links[1]["spec"]["state"] = "down"
    told = said(lab, Report())
    assert told["Link h1-s1.lab"]["state"] == "down"
    assert told["RouteTable h1.lab"] == {
        "installed": False,
        "routes": 1,
        "protected": 0,
        "message": "interface h1-s1 is not up",
    }
    assert not [link for link in desired_state(lab).links if link.name == "h1-s1" and link.up]
