"""From Router and Link objects to what daemons run, and to the files of FRR and BIRD."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from weft.core.errors import InvalidError, NotFoundError, UnsupportedError
from weft.network.routing.authentication import Authentication
from weft.network.routing.bfd import Bfd
from weft.network.routing.daemon.assembly import assemble
from weft.network.routing.daemon.plan import Circuit, plan
from weft.network.routing.ospf import AreaConfig, OspfConfig, OspfInterfaceConfig
from weft.network.routing.peers import bird, bird_policy, frr, frr_policy
from weft.network.routing.peers.frr import BfdTimers
from weft.network.routing.policy import Match, Policy, PrefixList, PrefixRule, Statement, change_policy
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route, Source
from weft.network.topology.settings import BfdSettings
from weft.node.lab_routing import Learned, entries, status

SPEC: dict[str, Any] = {
    "topology": "t", "node": "r1", "loopback": "10.255.0.1/32", "routing": "ospf",
    "ospf": {
        "helloInterval": 0.25, "deadInterval": 1, "area": "0.0.0.3", "areas": {"0.0.0.3": {"type": "stub"}},
        "authentication": {"type": "md5", "keyID": 7, "key": "k"},
        "spfDelay": {"initial": 0, "hold": 20, "maximum": 1000},
    },
    "bfd": {"interval": "10ms", "multiplier": 4},
}  # fmt: skip


def test_a_plan_has_all_that_the_router_object_says() -> None:
    made = plan(SPEC, [Circuit("a", "router", 5), Circuit("b", "switch", area="0.0.0.0"), Circuit("c", "host")])
    assert made.ospf is not None
    assert made.ospf.router_id == IPv4Address("10.255.0.1")
    first, second, third, loopback = made.ospf.interfaces
    assert (first.network_type, first.cost, first.area, first.passive) == (
        "point-to-point", 5, IPv4Address("0.0.0.3"), False,
    )  # fmt: skip
    assert (second.network_type, second.area) == ("broadcast", IPv4Address(0))
    assert third.passive
    assert (loopback.name, loopback.network_type) == ("lo", "loopback")
    assert first.authentication == Authentication("md5", b"k", 7)
    assert (first.hello_interval, first.wire_hello, first.wire_dead) == (0.25, 0, 1)
    assert made.ospf.areas == (AreaConfig(IPv4Address("0.0.0.3"), "stub"),)
    assert (made.ospf.spf_throttle.initial, made.ospf.spf_throttle.hold, made.ospf.spf_throttle.maximum) == (0, 0.02, 1)
    assert made.bfd is not None
    assert (made.bfd.interval, made.bfd.multiplier) == (0.01, 4)


def test_what_cannot_be_run_is_refused() -> None:
    by_policy = {"redistribute": [{"source": "static", "policy": "p"}]}
    with pytest.raises(NotFoundError, match="RoutingPolicy p: there is none"):
        plan({**SPEC, "routing": "rip", "rip": by_policy}, [])
    with pytest.raises(InvalidError, match=r"RoutingPolicy p: spec\.default"):
        plan({**SPEC, "routing": "rip", "rip": by_policy}, [], {"p": {**POLICY, "spec": {"default": "perhaps"}}})
    with pytest.raises(InvalidError, match=r"spec\.ospf\.helloInterval"):
        plan({**SPEC, "ospf": {"helloInterval": -1}}, [])


POLICY: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {
        "prefixLists": [
            {"name": "lans", "rules": [
                {"prefix": "10.9.0.0/16", "ge": 24, "le": 28, "action": "deny"}, {"prefix": "10.0.0.0/8", "le": 32},
            ]},
        ],
        "statements": [
            {
                "action": "permit", "match": {"prefixList": "lans", "sources": ["static"]},
                "set": {"metric": 7, "tag": 9},
            },
            {"action": "deny", "match": {"sources": ["connected"]}},
        ],
        "default": "permit",
    },
}  # fmt: skip


def static(prefix: str, source: Source = "static", tag: int = 0) -> Route:
    return Route(IPv4Network(prefix), (NextHop("a"),), source, PREFERENCES[source], tag=tag)


def announced_by(redistribute: list[dict[str, Any]], policy: dict[str, Any] = POLICY) -> Policy:
    made = plan({**SPEC, "ospf": {"redistribute": redistribute}}, [], {"p": policy})
    assert made.announced is not None
    return made.announced


def outcome(policy: Policy, route: Route) -> tuple[int, int, int] | None:
    passed = policy.apply(route)
    return (passed.metric, passed.metric_type, passed.tag) if passed is not None else None


def test_a_policy_decides_for_the_source_that_names_it_with_the_redistributions_metric_where_it_sets_none() -> None:
    policy = announced_by([{"source": "static", "policy": "p", "metric": 50, "metricType": 1}, {"source": "rip"}])
    assert outcome(policy, static("10.1.0.0/16")) == (7, 1, 9)
    assert outcome(policy, static("10.9.1.0/24")) == (50, 1, 0), "by the default of the policy"
    assert outcome(policy, static("192.0.2.0/24", "rip")) == (20, 2, 0)
    assert outcome(policy, static("10.1.0.0/16", "connected")) is None, "nobody asked for those"


def test_without_a_source_a_policy_is_for_all_of_them() -> None:
    policy = announced_by([{"policy": "p"}])
    assert outcome(policy, static("10.1.0.0/16")) == (7, 2, 9)
    assert outcome(policy, static("10.1.0.0/16", "rip")) == (20, 2, 0)
    assert outcome(policy, static("10.1.0.0/16", "connected")) is None


def test_frr_has_a_route_map_for_each_source_of_a_policy() -> None:
    lines, redistributed = frr_policy.redistribution("ospf", announced_by([{"source": "static", "policy": "p"}]))
    assert redistributed == [" redistribute static route-map ospf-from-static"]
    assert lines == [
        "ip prefix-list ospf-from-static-1 seq 5 deny 10.9.0.0/16 ge 24 le 28",
        "ip prefix-list ospf-from-static-1 seq 10 permit 10.0.0.0/8 le 32",
        "route-map ospf-from-static permit 1",
        " match ip address prefix-list ospf-from-static-1",
        " set metric 7",
        " set metric-type type-2",
        " set tag 9",
        "exit",
        "route-map ospf-from-static permit 2",
        " set metric 20",
        " set metric-type type-2",
        "exit",
    ]


def test_bird_has_a_filter_for_a_policy() -> None:
    text = bird_policy.redistribution("ospf", announced_by([{"source": "static", "policy": "p"}]))
    assert text == (
        "if source = RTS_STATIC then { if (! (net ~ [ 10.9.0.0/16{24,28} ]) && (net ~ [ 10.0.0.0/8{8,32} ] || false)) "
        "then { ospf_metric2 = 7; ospf_tag = 9; accept; } ospf_metric2 = 20; accept; reject; }"
    )


@pytest.mark.parametrize(
    ("match", "frr_says", "bird_says"),
    [({"metric": {"min": 2, "max": 5}}, "metrics 2 to 5", "metrics 2 to 5"), ({"tags": [0]}, "without a tag", None)],
)
def test_what_frr_and_bird_cannot_say_is_refused(match: dict[str, Any], frr_says: str, bird_says: str | None) -> None:
    policy = {**POLICY, "spec": {"statements": [{"action": "permit", "match": match}]}}
    announced = announced_by([{"source": "static", "policy": "p"}], policy)
    with pytest.raises(UnsupportedError, match=frr_says):
        frr_policy.redistribution("ospf", announced)
    if bird_says is None:
        assert "if true then" in bird_policy.redistribution("ospf", announced), "static routes have no tag"
    else:
        with pytest.raises(UnsupportedError, match=bird_says):
            bird_policy.redistribution("ospf", announced)


def test_a_running_router_follows_another_policy() -> None:
    """The old one let 10.1.0.0/16 through, the new one 10.2.0.0/16; what both let through is not said again."""

    def only(*prefixes: str) -> Policy:
        rules = PrefixList(tuple(PrefixRule(IPv4Network(each)) for each in prefixes))
        return Policy("x", (Statement("permit", Match(("static",), rules)),))

    routes = [static("10.1.0.0/16"), static("10.2.0.0/16"), static("10.3.0.0/16")]
    event = change_policy(routes, "ospf", only("10.1.0.0/16", "10.3.0.0/16"), only("10.2.0.0/16", "10.3.0.0/16"))
    assert [str(route.prefix) for route in event.routes] == ["10.2.0.0/16"]
    assert [str(prefix) for prefix in event.withdrawn] == ["10.1.0.0/16"]
    assert len(change_policy(routes, "ospf", None, Policy("all", default="permit")).routes) == 3
    assert len(change_policy(routes, "ospf", Policy("all", default="permit"), None).withdrawn) == 3


def test_a_plan_for_rip() -> None:
    rip = {"updateInterval": 5, "timeoutInterval": 15, "garbageInterval": 10, "splitHorizon": "simple"}
    made = plan({**SPEC, "routing": "rip", "rip": rip}, [Circuit("a", "router"), Circuit("c", "host")])
    assert made.ospf is None
    assert made.rip is not None
    assert [(each.name, each.passive) for each in made.rip.interfaces] == [("a", False), ("c", True), ("lo", True)]
    assert (made.rip.update_interval, made.rip.timeout_interval) == (5, 15)
    frr_text = frr.configuration("r1", rip=made.rip)["ripd"].splitlines()
    assert " timers basic 5 15 10" in frr_text
    assert " passive-interface lo" in frr_text
    assert "poison reverse no" in bird.configuration(IPv4Address("1.1.1.1"), rip=made.rip)


def node(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "spec": {"node": name, **spec}}


def test_entries_name_each_routers_links_and_what_is_beside() -> None:
    nodes = {
        "r1": node("Router", "r1", routing="ospf"),
        "r2": node("Router", "r2", routing="ospf", daemon="frr"),
        "r3": node("Router", "r3", routing="spf"),
        "h": node("Host", "h"),
    }
    ends = [("r1", "r2"), ("h", "r1"), ("r2", "r3"), ("r1", "gone")]
    links = [
        {"spec": {"name": f"{a}-{b}", "cost": 3, "endpoints": [{"node": n, "interface": f"{a}-{b}"} for n in (a, b)]}}
        for a, b in ends
    ]
    links[0]["spec"]["area"] = "0.0.0.1"
    found = entries(nodes, links, lambda name: Path("/ns") / name)
    assert sorted(found) == ["r1", "r2"]
    assert found["r1"]["circuits"] == [
        {"interface": "h-r1", "beside": "host", "cost": 3},
        {"interface": "r1-r2", "beside": "router", "cost": 3, "area": "0.0.0.1"},
    ]
    assert found["r2"]["daemon"] == "frr"
    assert found["r2"]["namespace"] == "/ns/r2"


def test_entries_hold_the_policies_that_a_router_names() -> None:
    router = node("Router", "r1", routing="rip", rip={"redistribute": [{"policy": "p"}, {"policy": "gone"}]})
    found = entries({"r1": router}, [], Path, {"p": POLICY, "other": POLICY})
    assert found["r1"]["policies"] == {"p": POLICY}


def test_the_status_says_what_daemons_have_told() -> None:
    assert status(None, "10.0.0.1/32") == {}
    learned = Learned({("ospf", "a", "10.0.0.2"): {"state": "Full"}}, 4)
    assert status(learned, "10.0.0.1/32") == {"routerID": "10.0.0.1", "neighbors": [{"state": "Full"}], "routes": 4}


def config(**more: Any) -> OspfConfig:
    interface = OspfInterfaceConfig("e0", IPv4Address("0.0.0.1"), "point-to-point", cost=7, **more)
    areas = (AreaConfig(IPv4Address("0.0.0.1"), "totally-stub", 9),)
    return OspfConfig(IPv4Address("1.1.1.1"), (interface, OspfInterfaceConfig("lo", network_type="loopback")), areas)


def test_frr_is_told_the_same_and_each_daemon_its_own_part() -> None:
    texts = frr.configuration(
        "r1", config(authentication=Authentication("md5", b"k", 3)), BfdTimers(10, 4), ["ip route a"]
    )
    assert sorted(texts) == ["bfdd", "ospfd", "staticd", "zebra"]
    ospfd = texts["ospfd"].splitlines()
    for line in (
        " ip ospf area 0.0.0.1",
        " ip ospf network point-to-point",
        " ip ospf cost 7",
        " ip ospf hello-interval 10",
        " ip ospf dead-interval 40",
        " ip ospf message-digest-key 3 md5 k",
        " ip ospf bfd profile weft",
        " area 0.0.0.1 stub no-summary",
        " area 0.0.0.1 default-cost 9",
        " ospf router-id 1.1.1.1",
    ):
        assert line in ospfd
    assert "  detect-multiplier 4" in texts["bfdd"].splitlines()
    assert "ip route a" in texts["staticd"].splitlines()
    with pytest.raises(UnsupportedError, match="hmac-sha-256"):
        frr.configuration("r1", config(authentication=Authentication("hmac-sha-256", b"k")))


def test_bird_is_told_the_same() -> None:
    text = bird.configuration(
        IPv4Address("1.1.1.1"),
        config(authentication=Authentication("hmac-sha-256", b"k", 3)),
        BfdTimers(10, 4),
        ["x via y"],
    )
    for part in (
        "router id 1.1.1.1;",
        "area 0.0.0.1 {",
        "type ptp; cost 7;",
        "hello 10; dead 40;",
        "bfd yes",
        'password "k" { id 3; algorithm hmac sha256; }',
        "summary no;",
        "min rx interval 10 ms",
        "route x via y;",
    ):
        assert part in text


def test_what_a_link_says_of_bfd_holds_over_what_the_router_says() -> None:
    circuits = [
        Circuit("fast", "router", bfd={"interval": "50ms"}),
        Circuit("none", "router", bfd={"enabled": False}),
        Circuit("usual", "router"),
    ]
    made = plan(SPEC, circuits)
    assert made.bfd_on == {"fast": BfdSettings(0.05, 4), "none": None}, "what is left out is as the router says"
    core = assemble(made, "seed").protocols["bfd"]
    assert isinstance(core, Bfd)
    packets = {each.interface: list(core.open(each.interface, IPv4Address("10.0.0.2"), 0.0)) for each in circuits}
    assert [name for name, sent in packets.items() if sent] == ["fast", "usual"]
    without = plan({**SPEC, "bfd": {"enabled": False}}, circuits[2:])
    assert "bfd" not in assemble(without, "seed").protocols
    with pytest.raises(InvalidError, match="link fast: bfd"):
        plan(SPEC, [Circuit("fast", "router", bfd={"interval": "1us"})])


def test_frr_and_bird_are_told_of_links_with_bfd_of_their_own() -> None:
    own = {"e0": BfdTimers(50, 5)}
    texts = frr.configuration("r1", config(), BfdTimers(100, 3), bfd_on=own)
    assert " ip ospf bfd profile weft-e0" in texts["ospfd"].splitlines()
    assert [line for line in texts["bfdd"].splitlines() if "profile" in line or "multiplier" in line] == [
        " profile weft", "  detect-multiplier 3", " profile weft-e0", "  detect-multiplier 5",
    ]  # fmt: skip
    off = frr.configuration("r1", config(), BfdTimers(100, 3), bfd_on={"e0": None})
    assert "ip ospf bfd" not in off["ospfd"]
    assert "bfdd" not in frr.configuration("r1", config(), None, bfd_on={"e0": None})
    text = bird.configuration(IPv4Address("1.1.1.1"), config(), None, bfd_on=own)
    assert 'interface "e0" { min rx interval 50 ms; min tx interval 50 ms; multiplier 5; };' in text
    assert 'interface "*"' not in text
    assert "bfd yes" in text
    assert "bfd yes" not in bird.configuration(IPv4Address("1.1.1.1"), config(), BfdTimers(), bfd_on={"e0": None})


def test_a_running_frr_is_told_only_of_policies_that_changed() -> None:
    def texts(spec: dict[str, Any] | None, **more: Any) -> dict[str, str]:
        policy = announced_by([{"source": "static", "policy": "p"}], {**POLICY, "spec": spec}) if spec else None
        return frr.configuration("r", config(**more), announced=policy)

    lists = [{"name": "l", "rules": [{"prefix": "10.0.0.0/8"}]}]
    first = {"prefixLists": lists, "statements": [{"action": "permit", "match": {"prefixList": "l"}}]}
    second = {"statements": [{"action": "permit", "set": {"metric": 9}}]}
    assert frr_policy.policy_changes(texts(first), texts(first)) == []
    assert frr_policy.policy_changes(texts(first), texts(second)) == [
        "router ospf", "exit",
        "no route-map ospf-from-static", "no ip prefix-list ospf-from-static-1",
        "route-map ospf-from-static permit 1", "set metric 9", "set metric-type type-2", "exit",
        "route-map ospf-from-static deny 2", "exit",
        "router ospf", "redistribute static route-map ospf-from-static", "exit",
    ]  # fmt: skip
    gone = frr_policy.policy_changes(texts(first), texts(None))
    assert gone is not None
    assert gone[:3] == ["router ospf", "no redistribute static", "exit"]
    assert frr_policy.policy_changes(texts(first), texts(second, priority=7)) is None, "that takes more"
