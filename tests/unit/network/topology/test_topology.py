"""Reading labs: what is accepted, and for each mistake its path and its words."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.topology.addresses import allocate
from weft.network.topology.names import interface_name, namespace_prefix
from weft.network.topology.reader import read_topology, validate_topology
from weft.network.topology.resources import PARTS, crds
from weft.network.topology.units import format_rate, parse_delay, parse_loss, parse_rate
from weft.network.topology.writer import write_topology

EXAMPLES = sorted((Path(__file__).parents[4] / "examples/labs").glob("*.yaml"))
BASE: dict[str, Any] = {
    "metadata": {"name": "lab"},
    "spec": {
        "routers": [{"name": "r1"}, {"name": "r2"}],
        "switches": [{"name": "s1"}, {"name": "s2"}],
        "hosts": [{"name": "h1"}, {"name": "h2"}],
        "links": [
            {"endpoints": ["r1", "r2"], "capacity": "100Mbit", "cost": 5},
            {"endpoints": ["h1", "r1"]},
            {"endpoints": ["h2", "s1"]},
            {"endpoints": ["s1", "r2"]},
        ],
    },
}


def lab(**links: Any) -> dict[str, Any]:
    """BASE with one more link."""
    obj = copy.deepcopy(BASE)
    obj["spec"]["links"].append(links)
    return obj


def changed(path: str, value: Any) -> dict[str, Any]:
    """BASE with the value at a path such as `spec.routers.0.name` replaced."""
    obj = copy.deepcopy(BASE)
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    at: Any = obj
    for step in steps:
        at = at[step]
    if last == len(at) if isinstance(at, list) else False:
        at.append(value)
    else:
        at[last] = value
    return obj


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_examples_are_right(file: Path) -> None:
    assert validate_topology(yaml.safe_load(file.read_text())) == []


def test_the_base_is_right_and_read_as_it_stands() -> None:
    topology = read_topology(BASE)
    assert [link.name for link in topology.links] == ["r1-r2", "h1-r1", "h2-s1", "s1-r2"]
    assert (topology.links[0].capacity, topology.links[0].cost) == (100_000_000, 5)


L = "spec.links[4]"
MISTAKES = [
    (lab(endpoints=["r1", "r9"]), f'{L}.endpoints[1]: Invalid value: "r9": no such router, switch or host'),
    (lab(endpoints=[{"node": "r9"}, "r1"]), f'{L}.endpoints[0].node: Invalid value: "r9": no such router'),
    (lab(endpoints=["r1", "r1"]), f'{L}.endpoints: Invalid value: "r1": a link must join two different nodes'),
    (lab(endpoints=["r1"]), f"{L}.endpoints: Invalid value: 1: must be exactly two nodes"),
    (lab(), f"{L}.endpoints: Required value: the two nodes"),
    (lab(endpoints=["r1", 7]), f"{L}.endpoints[1]: Invalid value: 7: must be a string"),
    (lab(endpoints=["r1", {"node": "r2", "port": 1}]), f'{L}.endpoints[1]: Invalid value: "port": unknown field'),
    (lab(endpoints=["r1", "r2"]), f'{L}.name: Duplicate value: "r1-r2"'),
    (lab(endpoints=["r2", "r1"], name="r1-r2"), f'{L}.name: Duplicate value: "r1-r2"'),
    (lab(endpoints=["r2", "r1"], name="A_b"), f'{L}.name: Invalid value: "A_b": must be lower case'),
    (lab(endpoints=["r2", "r1"], name="x" * 64), "must be no more than 63 characters"),
    (lab(endpoints=["r2", "r1"], capacity="fast"), f'{L}.capacity: Invalid value: "fast": must be a rate'),
    (lab(endpoints=["r2", "r1"], capacity="0Mbit"), f'{L}.capacity: Invalid value: "0Mbit": must be a rate'),
    (lab(endpoints=["r2", "r1"], capacity=100), f"{L}.capacity: Invalid value: 100: must be a string"),
    (lab(endpoints=["r2", "r1"], cost=0), f"{L}.cost: Invalid value: 0: must be between 1 and 65535"),
    (lab(endpoints=["r2", "r1"], cost=-3), f"{L}.cost: Invalid value: -3: must be between 1 and 65535"),
    (lab(endpoints=["r2", "r1"], cost=True), f"{L}.cost: Invalid value: True: must be an integer"),
    (lab(endpoints=["r2", "r1"], delay="soon"), f'{L}.delay: Invalid value: "soon": must be a time'),
    (lab(endpoints=["r2", "r1"], loss="200%"), f'{L}.loss: Invalid value: "200%": must be a share'),
    (lab(endpoints=["r2", "r1"], state="cut"), f'{L}.state: Unsupported value: "cut": supported values: "up", "down"'),
    (lab(endpoints=["s1", "s2"]) | {}, None),
    (
        {**BASE, "spec": {**BASE["spec"], "links": [{"endpoints": ["s1", "s2"]}, {"endpoints": ["s2", "s1"]}]}},
        'spec.links[1].endpoints: Invalid value: "s2-s1": this link closes a ring of switches',
    ),
    (lab(endpoints=[{"node": "s1", "address": "10.0.0.1/24"}, "r1"]), "s1 is a switch and has no address"),
    (lab(endpoints=[{"node": "r2", "address": "10.0.0.1"}, "r1"], name="x"), "endpoints[0].address: Invalid value"),
    (lab(endpoints=[{"node": "r2", "address": "10.0.0.0/24"}, "r1"], name="x"), "is the network or broadcast address"),
    (
        lab(endpoints=[{"node": "r2", "address": "9.0.0.1/24"}, {"node": "r1", "address": "9.0.1.2/24"}], name="x"),
        f'{L}.endpoints[1].address: Invalid value: "9.0.1.2/24": the other end is in 9.0.0.0/24',
    ),
    (
        lab(endpoints=[{"node": "r2", "address": "9.0.0.1/24"}, {"node": "r1", "address": "9.0.0.1/24"}], name="x"),
        f'{L}.endpoints[1].address: Invalid value: "9.0.0.1": another end has this address',
    ),
    (changed("spec.routers.1.name", "r1"), 'spec.routers[1].name: Duplicate value: "r1"'),
    (changed("spec.hosts.0.name", "r1"), 'spec.hosts[0].name: Duplicate value: "r1"'),
    (changed("spec.hosts.0", "h1"), "spec.hosts[0]: Invalid value: 'h1': must be an object"),
    (changed("spec.hosts.0", {}), "spec.hosts[0].name: Required value"),
    (changed("spec.hosts", {}), "spec.hosts: Invalid value: {}: must be a list"),
    (
        changed("spec.routers.0.loopback", "fe80::1"),
        'spec.routers[0].loopback: Invalid value: "fe80::1": must be an IPv4',
    ),
    (changed("spec.routers.0.routing", "bgp"), 'spec.routers[0].routing: Unsupported value: "bgp"'),
    (changed("metadata.name", "My.Lab"), 'metadata.name: Invalid value: "My.Lab"'),
    (changed("metadata.name", None), "metadata.name: Required value"),
    (changed("spec", {}), "spec.routers: Required value: a lab needs at least one"),
    (changed("spec", None), "spec.routers: Required value"),
    (changed("spec", []), "spec: Invalid value: []: must be an object"),
]


@pytest.mark.parametrize(("obj", "message"), MISTAKES)
def test_a_mistake_is_named_by_its_path(obj: dict[str, Any], message: str | None) -> None:
    errors = validate_topology(obj)
    if message is None:
        assert errors == []
        return
    assert errors
    assert message in str(errors[0])
    with pytest.raises(InvalidError) as raised:
        read_topology(obj)
    assert str(raised.value) == str(errors[0])


def test_loopbacks_may_not_meet() -> None:
    obj = copy.deepcopy(BASE)
    for router in obj["spec"]["routers"]:
        router["loopback"] = "192.0.2.1"
    assert "spec.routers[1].loopback" in str(validate_topology(obj)[0])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["name", "routers", "hosts", "links", "endpoints", "node", "address", "cost", "spec"]), x
)))  # fmt: skip
def test_no_json_breaks_the_reader(spec: Any) -> None:
    validate_topology({"metadata": {"name": "x"}, "spec": spec})
    validate_topology({"metadata": spec, "spec": {"routers": spec, "links": spec}})


@given(st.integers(0, 12), st.integers(0, 12), st.data())
def test_addresses_are_unique_and_each_segment_has_one_subnet(routers: int, hosts: int, data: st.DataObject) -> None:
    names = [f"r{i}" for i in range(routers)] + [f"h{i}" for i in range(hosts)]
    if len(names) < 2:
        return
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=20))
    links = [{"name": f"l{i}", "endpoints": [a, b]} for i, (a, b) in enumerate(pairs) if a != b]
    if links and data.draw(st.booleans()):
        # In the way of what would be chosen.
        links[0]["endpoints"][0] = {"node": links[0]["endpoints"][0], "address": "10.1.0.1/24"}
    spec = {
        "routers": [{"name": n} for n in names if n[0] == "r"],
        "hosts": [{"name": n} for n in names if n[0] == "h"],
        "links": links,
    }
    topology = read_topology({"metadata": {"name": "x"}, "spec": spec})
    found = allocate(topology)
    everything = [address.ip for address in found.interfaces.values()] + list(found.loopbacks.values())
    assert len(set(everything)) == len(everything)
    subnets = [{found.interfaces[link.name, end.node].network for end in (link.a, link.b)} for link in topology.links]
    assert all(len(each) == 1 for each in subnets)
    assert len(set().union(*subnets)) == len(links)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100Mbit", 10**8), ("2.5Gbit", 25 * 10**8), ("64kbit", 64000), ("9000bit", 9000), ("1TBIT", 10**12)],
)
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(format_rate(rate)) == rate


def test_times_and_shares() -> None:
    assert [parse_delay(text) for text in ("5ms", "250us", "1.5s", "0ms")] == [5000, 250, 1_500_000, 0]
    assert [parse_loss(text) for text in ("0%", "0.5%", "100%")] == [0, 0.005, 1]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_interfaces_have_names_that_the_kernel_takes(link: str) -> None:
    name = interface_name(link)
    assert len(name) <= 15
    assert name not in ("lo", "all", "default", ".", "..")


def test_long_names_with_one_beginning_stay_apart() -> None:
    assert interface_name("seattle-sunnyvale-1") != interface_name("seattle-sunnyvale-2")
    assert interface_name("r1-r2") == "r1-r2"


def test_the_namespaces_of_two_labs_never_share_a_beginning() -> None:
    labs = [("default", "a"), ("default", "a-b"), ("default", "a-b-c"), ("a", "b"), ("a-b", "c"), ("b", "a-b")]
    prefixes = [f"{namespace_prefix('weft', *lab)}-" for lab in labs]
    assert prefixes[0] == "weft-a-"
    for one in prefixes:
        assert [other for other in prefixes if other.startswith(one)] == [one]


def test_a_definition_is_shipped_for_each_kind() -> None:
    kinds = {crd["spec"]["names"]["kind"]: crd["spec"]["names"]["plural"] for crd in crds()}
    assert kinds == {
        "Topology": "topologies",
        "RoutingPolicy": "routingpolicies",
        "BGPPeer": "bgppeers",
        "BGPAdvertisement": "bgpadvertisements",
        **{kind: gvr.resource for kind, gvr in PARTS.items()},
    }
    for crd in crds():
        assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.net.weft.dev"


RING = [("s1", "s2"), ("s2", "s3"), ("s3", "s1")]


def switched(dataplanes: dict[str, Any], default: str = "linux") -> dict[str, Any]:
    switches = [{"name": name} | ({"dataplane": its} if its else {}) for name, its in dataplanes.items()]
    links = [{"endpoints": list(each)} for each in RING]
    spec = {"switching": {"dataplane": default}, "switches": switches, "links": links}
    return {"metadata": {"name": "lab"}, "spec": spec}


def test_only_openflow_switches_may_form_rings() -> None:
    everywhere = switched(dict.fromkeys(("s1", "s2", "s3")), "openflow")
    assert {switch.dataplane for switch in read_topology(everywhere).switches} == {"openflow"}
    assert write_topology(read_topology(everywhere))["spec"]["switches"][0] == {"name": "s1", "dataplane": "openflow"}
    assert read_topology(write_topology(read_topology(everywhere))) == read_topology(everywhere)
    mixed = switched({"s1": "openflow", "s2": None, "s3": "openflow"})
    assert [error.message for error in validate_topology(mixed)] == [
        'Invalid value: "s2-s3": this link closes a ring of switches'
    ]
    wrong = switched({"s1": "ovs", "s2": "openflow", "s3": "openflow"}, "tofu")
    assert [error.field for error in validate_topology(wrong)] == [
        "spec.switching.dataplane",
        "spec.switches[0].dataplane",
    ]
