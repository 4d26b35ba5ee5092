"""Routing in lab files: what holds for all routers, what one says itself, and every mistake by its path."""

import copy
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.kinds import custom_types
from weft.api.validation import unknown_fields, validate
from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication
from weft.network.topology.model import BfdSettings, OspfSettings, Router, StaticRoute, Topology, routing_of
from weft.network.topology.reader import read_topology, validate_topology
from weft.network.topology.resources import API_VERSION, crds
from weft.network.topology.routing_reader import read_router
from weft.network.topology.writer import router_spec, write_topology

TYPES = {crd["spec"]["names"]["kind"]: custom_types(crd)[0] for crd in crds()}
FULL: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "Topology",
    "metadata": {"name": "lab"},
    "spec": {
        "routing": {
            "protocol": "ospf",
            "daemon": "frr",
            "ospf": {
                "helloInterval": 0.25,
                "areas": {"0.0.0.1": {"type": "stub", "defaultCost": 7}},
                "authentication": {"type": "hmac-sha-256", "keyID": 3, "key": "geheim"},
                "spfDelay": {"initial": 10, "hold": 50, "maximum": 2000},
            },
            "bfd": {"interval": "50ms"},
            "backups": "ti-lfa",
        },
        "routers": [
            {"name": "r1", "location": {"longitude": 13.4, "latitude": 52.5}},
            {
                "name": "r2",
                "daemon": "weft",
                "ospf": {"priority": 0, "redistribute": [{"source": "static", "metric": 5, "metricType": 1}]},
                "static": [
                    {"destination": "192.0.2.0/24", "blackhole": True},
                    {"destination": "198.51.100.0/24", "via": "10.0.0.1"},
                ],
                "bfd": {"enabled": False},
            },
            {
                "name": "r3",
                "routing": "rip",
                "daemon": "bird",
                "rip": {
                    "updateInterval": 1,
                    "timeoutInterval": 6,
                    "garbageInterval": 4,
                    "splitHorizon": "simple",
                    "authentication": {"type": "md5", "key": "k"},
                    "redistribute": [{"source": "ospf", "metric": 2, "policy": "only-lans"}],
                },
                "bfd": {"multiplier": 5},
            },
        ],
        "hosts": [{"name": "h1"}],
        "links": [
            {
                "endpoints": [{"node": "r1", "address": "10.0.0.1/30"}, {"node": "r2", "address": "10.0.0.2/30"}],
                "area": "0.0.0.1",
                "delay": "5ms",
                "jitter": "1ms",
                "mtu": 9000,
                "sharedRiskGroups": ["duct"],
                "bfd": {"enabled": False},
            },
            {"endpoints": ["r2", "r3"], "sharedRiskGroups": ["duct", "roof"], "bfd": {"interval": "20ms"}},
            {"endpoints": ["r3", "h1"]},
        ],
        "schedule": [
            {"at": "20s", "action": "restore", "links": ["r1-r2", "r2-r3"]},
            {"at": "10s", "action": "cut", "sharedRiskGroup": "duct"},
            {"at": "30s", "action": "flap", "link": "r1-r2", "period": "2s", "count": 5},
            {"at": "500ms", "action": "loss", "link": "r1-r2", "share": "12.5%"},
            {"at": "40s", "action": "reorder", "link": "r1-r2", "share": "1%"},
            {"at": "2m", "action": "partition", "groups": [["r1"], ["r2", "r3"]]},
            {"at": "3m", "action": "heal"},
            {"at": "1h", "action": "kill", "node": "r2"},
            {"at": "2h", "action": "start", "nodes": ["r2", "r3"]},
        ],
    },
}


def router(name: str, topology: Topology) -> Router:
    return topology.router_by_name[name]


def with_router(**fields: Any) -> dict[str, Any]:
    """FULL with fields put on r1."""
    obj = copy.deepcopy(FULL)
    obj["spec"]["routers"][0] |= fields
    return obj


def with_event(**fields: Any) -> dict[str, Any]:
    obj = copy.deepcopy(FULL)
    obj["spec"]["schedule"] = [{"at": "1s", **fields}]
    return obj


def test_a_router_has_the_settings_of_the_lab_with_its_own_over_them() -> None:
    topology = read_topology(FULL)
    r1, r2, r3 = (routing_of(router(name, topology)) for name in ("r1", "r2", "r3"))
    assert (r1.protocol, r1.daemon, r1.backups) == ("ospf", "frr", "none")
    assert (r1.ospf.hello_interval, r1.ospf.dead_interval) == (0.25, 1.0)
    assert r1.ospf.authentication == Authentication("hmac-sha-256", b"geheim", 3)
    assert (r1.ospf.spf_delay.initial, r1.ospf.spf_delay.hold, r1.ospf.spf_delay.maximum) == (0.01, 0.05, 2.0)
    assert (r2.daemon, r2.ospf.priority, r2.ospf.hello_interval) == ("weft", 0, 0.25)
    assert (r1.bfd, r2.bfd, r3.bfd) == (BfdSettings(0.05, 3), None, BfdSettings(0.05, 5))
    assert (r3.protocol, r3.daemon, r3.rip.split_horizon) == ("rip", "bird", "simple")
    assert router("r2", topology).static == (
        StaticRoute(IPv4Network("192.0.2.0/24")),
        StaticRoute(IPv4Network("198.51.100.0/24"), IPv4Address("10.0.0.1")),
    )
    assert topology.places == {"r1": (13.4, 52.5)}


def test_a_link_says_what_both_its_ends_have() -> None:
    topology = read_topology(FULL)
    first, second, _ = topology.links
    assert topology.area_of(first, "r1") == IPv4Address("0.0.0.1")
    assert topology.area_of(second, "r2") == IPv4Address(0)
    assert (topology.bfd_of(first, "r1"), topology.bfd_of(second, "r2")) == (None, BfdSettings(0.02, 3))
    assert (first.jitter, first.mtu, first.shared_risk_groups) == (1000, 9000, ("duct",))


def test_a_schedule_is_in_the_order_of_time_with_groups_resolved() -> None:
    events = read_topology(FULL).schedule
    assert [event.at for event in events] == [0.5, 10, 20, 30, 40, 120, 180, 3600, 7200]
    assert events[1].links == ("r1-r2", "r2-r3")
    assert (events[3].period, events[3].count) == (2, 5)
    assert events[0].share == 0.125
    assert events[5].groups == (("r1",), ("r2", "r3"))


def test_without_a_word_all_is_as_before() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"routers": [{"name": "r1"}]}}
    settings = routing_of(read_topology(obj).routers[0])
    assert (settings.protocol, settings.daemon, settings.bfd, settings.backups) == ("spf", "weft", None, "none")
    assert settings.ospf == OspfSettings()
    assert settings.ospf.dead_interval == 4 * settings.ospf.hello_interval


def test_the_schema_has_every_field() -> None:
    assert validate_topology(FULL) == []
    assert list(unknown_fields(FULL, TYPES["Topology"])) == []
    assert validate(FULL, TYPES["Topology"]) == []


def test_what_is_written_reads_the_same() -> None:
    topology = read_topology(FULL)
    written = write_topology(topology)
    assert read_topology(written) == topology
    assert list(unknown_fields(written, TYPES["Topology"])) == []


@pytest.mark.parametrize("name", ["r1", "r2", "r3"])
def test_a_router_object_says_all_of_a_router(name: str) -> None:
    wanted = router(name, read_topology(FULL))
    obj: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Router",
        "metadata": {"name": f"{name}.lab"},
        "spec": {"topology": "lab", "node": name, **router_spec(wanted)},
    }
    assert validate(obj, TYPES["Router"]) == []
    assert list(unknown_fields(obj, TYPES["Router"])) == []
    assert read_router(obj["spec"]) == wanted


def test_a_wrong_router_object_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"spec\.ospf\.priority"):
        read_router({"node": "r1", "ospf": {"priority": 300}})


R, E = "spec.routers[0]", "spec.schedule[0]"
MISTAKES = [
    (with_router(daemon="quagga"), f'{R}.daemon: Unsupported value: "quagga": supported values: "weft", "frr", "bird"'),
    (with_router(routing="spf", daemon="bird"), f'{R}.daemon: Invalid value: "bird": runs ospf and rip'),
    (with_router(backups="lfa"), f'{R}.backups: Invalid value: "lfa": is for spf'),
    (with_router(ospf={"area": "first"}), f'{R}.ospf.area: Invalid value: "first": must be an OSPF area'),
    (with_router(ospf={"area": -1}), f"{R}.ospf.area: Invalid value: -1"),
    (with_router(ospf={"area": True}), f"{R}.ospf.area: Invalid value: True"),
    (with_router(ospf={"helloInterval": 0}), f"{R}.ospf.helloInterval: Invalid value: 0: must be between 0.05"),
    (with_router(ospf={"helloInterval": 2.5}), f"{R}.ospf.helloInterval: Invalid value: 2.5: must be a whole number"),
    (with_router(ospf={"helloInterval": "10s"}), f"{R}.ospf.helloInterval: Invalid value: '10s': must be a number"),
    (with_router(ospf={"helloInterval": float("nan")}), f"{R}.ospf.helloInterval: Invalid value: nan"),
    (with_router(ospf={"helloInterval": 5, "deadInterval": 5}), f"{R}.ospf.deadInterval: Invalid value: 5.0"),
    (with_router(ospf={"networkType": "nbma"}), f'{R}.ospf.networkType: Unsupported value: "nbma"'),
    (
        with_router(ospf={"areas": {"0.0.0.1": {"type": "nssa"}}}),
        f'{R}.ospf.areas[0.0.0.1].type: Unsupported value: "n',
    ),
    (with_router(ospf={"areas": {"0": {"type": "stub"}}}), f'{R}.ospf.areas[0].type: Invalid value: "stub": the back'),
    (with_router(ospf={"areas": {"1": {}, "0.0.0.1": {}}}), f'{R}.ospf.areas[0.0.0.1]: Duplicate value: "0.0.0.1"'),
    (with_router(ospf={"authentication": {"type": "md5"}}), f"{R}.ospf.authentication.key: Required value"),
    (
        with_router(ospf={"authentication": {"type": "simple", "key": "ninebytes"}}),
        f"{R}.ospf.authentication.key: Invalid value: 9: OSPF takes",
    ),
    (
        with_router(rip={"authentication": {"type": "md5", "key": "x" * 17}}),
        f"{R}.rip.authentication.key: Invalid value: 17: md5 takes at most 16 bytes",
    ),
    (with_router(ospf={"spfDelay": {"hold": 9000}}), f"{R}.ospf.spfDelay.maximum: Invalid value: 2000.0"),
    (
        with_router(ospf={"redistribute": [{"source": "ospf"}]}),
        f'{R}.ospf.redistribute[0].source: Invalid value: "ospf',
    ),
    (with_router(ospf={"redistribute": [{}]}), f"{R}.ospf.redistribute[0].source: Required value"),
    (
        with_router(ospf={"redistribute": [{"source": "rip"}, {"source": "rip"}]}),
        f'{R}.ospf.redistribute[1].source: Duplicate value: "rip"',
    ),
    (with_router(rip={"redistribute": [{"source": "static", "metric": 16}]}), "metric: Invalid value: 16"),
    (with_router(rip={"timeoutInterval": 30}), f"{R}.rip.timeoutInterval: Invalid value: 30.0"),
    (with_router(rip={"splitHorizon": False}), f"{R}.rip.splitHorizon: Invalid value: False: must be a string"),
    (with_router(bfd={"interval": "1us"}), f'{R}.bfd.interval: Invalid value: "1us": must be a time between 10ms'),
    (with_router(bfd={"multiplier": 0}), f"{R}.bfd.multiplier: Invalid value: 0"),
    (with_router(bfd=True), f"{R}.bfd: Invalid value: True: must be an object"),
    (with_router(static=[{"via": "10.0.0.2"}]), f"{R}.static[0].destination: Required value"),
    (with_router(static=[{"destination": "192.0.2.1/24", "blackhole": True}]), "must be an IPv4 prefix"),
    (with_router(static=[{"destination": "192.0.2.0/24"}]), f"{R}.static[0]: Invalid value"),
    (
        with_router(static=[{"destination": "192.0.2.0/24", "via": "10.9.9.9"}]),
        f'{R}.static[0].via: Invalid value: "10.9.9.9": is on no link of r1',
    ),
    (with_router(static=[{"destination": "192.0.2.0/24", "via": "10.0.0.1"}]), "is an address of r1 itself"),
    (with_router(location={"longitude": 190, "latitude": 1}), f"{R}.location.longitude: Invalid value: 190"),
    (with_router(location={"longitude": 19}), f"{R}.location.latitude: Required value"),
    (with_event(action="explode", link="r1-r2"), f'{E}.action: Unsupported value: "explode"'),
    (with_event(action="cut"), f"{E}.link: Required value"),
    (with_event(action="cut", link="r1-r9"), f'{E}.link: Invalid value: "r1-r9": no such link'),
    (with_event(action="cut", links=["r1-r2", 4]), f"{E}.links[1]: Invalid value: 4: no such link"),
    (with_event(action="cut", sharedRiskGroup="sea"), f'{E}.sharedRiskGroup: Invalid value: "sea": no link is in this'),
    (with_event(action="cut", node="r1"), f'{E}.node: Invalid value: "node": cut does not have this field'),
    (with_event(action="flap", link="r1-r2"), f"{E}.period: Required value"),
    (with_event(action="loss", link="r1-r2"), f"{E}.share: Required value"),
    (with_event(action="kill", node="r7"), f'{E}.node: Invalid value: "r7": no such router'),
    (with_event(action="partition", groups=[["r1"]]), f"{E}.groups: Required value: at least two groups"),
    (with_event(action="partition", groups=[["r1"], ["r1"]]), f'{E}.groups[1][0]: Duplicate value: "r1"'),
    (with_event(action="heal", at="soon"), f'{E}.at: Invalid value: "soon": must be a time'),
]


@pytest.mark.parametrize(("obj", "message"), MISTAKES)
def test_a_mistake_is_named_by_its_path(obj: dict[str, Any], message: str) -> None:
    errors = validate_topology(obj)
    assert errors
    assert message in str(errors[0])


def test_keys_are_never_repeated_in_messages() -> None:
    obj = with_router(ospf={"authentication": {"type": "simple", "key": "ninebytes"}})
    assert all("ninebytes" not in str(error) for error in validate_topology(obj))


def test_ospf_routers_of_one_segment_must_be_in_one_area() -> None:
    obj = {
        "metadata": {"name": "x"},
        "spec": {
            "routing": {"protocol": "ospf"},
            "routers": [{"name": "r1"}, {"name": "r2", "ospf": {"area": 1}}],
            "switches": [{"name": "s"}],
            "links": [{"endpoints": ["r1", "s"]}, {"endpoints": ["s", "r2"]}],
        },
    }
    assert "spec.links[1].area" in str(validate_topology(obj)[0])
    assert "r1 is in area 0.0.0.0 here and r2 in area 0.0.0.1" in str(validate_topology(obj)[0])
    links: Any = obj["spec"]["links"]  # type: ignore[index]
    links[1]["area"] = "0.0.0.0"
    assert validate_topology(obj) == []


KEYS = sorted({
    key
    for entry in (FULL["spec"]["routing"], FULL["spec"]["routing"]["ospf"], *FULL["spec"]["routers"],
                  FULL["spec"]["routers"][2]["rip"], *FULL["spec"]["links"], *FULL["spec"]["schedule"])
    for key in entry
})  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["ospf", "0.0.0.1"]),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(KEYS), x, max_size=5),
    max_leaves=12,
)


@given(JSON, JSON, JSON, JSON)
def test_no_json_breaks_the_reader(routing: Any, own: Any, link: Any, event: Any) -> None:
    spec = {
        "routing": routing,
        "routers": [{**own, "name": "r1"} if isinstance(own, dict) else own, {"name": "r2"}],
        "links": [{**link, "endpoints": ["r1", "r2"]} if isinstance(link, dict) else link],
        "schedule": [{**event, "at": "1s"} if isinstance(event, dict) else event],
    }
    if not validate_topology({"metadata": {"name": "x"}, "spec": spec}):
        topology = read_topology({"metadata": {"name": "x"}, "spec": spec})
        assert read_topology(write_topology(topology)) == topology
