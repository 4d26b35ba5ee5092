"""Policies against a model, redistribution as differences, and what is said of a wrong RoutingPolicy."""

from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.policy import (
    Match,
    Policy,
    PrefixList,
    PrefixRule,
    Settings,
    Statement,
    origin_tag,
    read_policy,
    redistribute,
    validate_policy,
)
from weft.network.routing.protocol import RouteUpdate
from weft.network.routing.rib.rib import Rib
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route, Source
from weft.network.routing.rib.table import Prefix
from weft.network.topology.resources import crds

SOURCES: list[Source] = ["static", "ospf", "rip"]
prefixes = st.builds(
    lambda base, length: ip_network((base, length), strict=False),
    st.sampled_from([0x0A000000, 0x0A010000, 0x0A010200, 0x14000000]),
    st.sampled_from([0, 8, 16, 24, 32]),
)
routes = st.builds(
    lambda prefix, source, metric, tag: Route(prefix, (NextHop("a"),), source, PREFERENCES[source], metric, tag),
    prefixes,
    st.sampled_from(SOURCES),
    st.integers(0, 3),
    st.sampled_from([0, 5, origin_tag("ospf"), origin_tag("rip")]),
)


@st.composite
def rules(draw: st.DrawFn) -> PrefixRule:
    prefix = draw(prefixes)
    ge = draw(st.none() | st.integers(prefix.prefixlen, 32))
    le = draw(st.none() | st.integers(ge or prefix.prefixlen, 32))
    return PrefixRule(prefix, ge, le, draw(st.sampled_from(["permit", "deny"])))


actions = st.sampled_from(["permit", "deny"])
matches = st.builds(
    Match,
    st.lists(st.sampled_from(SOURCES), max_size=2).map(tuple),
    st.none() | st.builds(PrefixList, st.lists(rules(), max_size=3).map(tuple)),
    st.tuples(st.integers(0, 1), st.integers(1, 3)),
    st.lists(st.sampled_from([0, 5]), max_size=1).map(tuple),
)
changed = st.builds(Settings, st.none() | st.integers(0, 9), st.sampled_from([None, 1, 2]), st.none() | st.just(7))
policies = st.builds(
    Policy, st.just("p"), st.lists(st.builds(Statement, actions, matches, changed), max_size=4).map(tuple), actions
)


def inside(rule: PrefixRule, prefix: Prefix) -> bool:
    """In the words of FRR's manual."""
    if not prefix.subnet_of(rule.prefix):  # type: ignore[arg-type]
        return False
    if rule.ge is None and rule.le is None:
        return prefix == rule.prefix
    return (rule.ge is None or prefix.prefixlen >= rule.ge) and (rule.le is None or prefix.prefixlen <= rule.le)


@given(policies, routes)
def test_the_first_statement_that_matches_decides(policy: Policy, route: Route) -> None:
    action, settings = policy.default, Settings()
    for each in reversed(policy.statements):
        match = each.match
        listed = match.prefixes is None or next(
            (rule.action == "permit" for rule in match.prefixes.rules if inside(rule, route.prefix)), False
        )
        source = not match.sources or route.source in match.sources
        tag = not match.tags or route.tag in match.tags
        if listed and source and tag and route.metric in range(match.metrics[0], match.metrics[1] + 1):
            action, settings = each.action, each.set
    got = policy.apply(route)
    if action == "deny":
        assert got is None
    else:
        assert got is not None
        assert got.metric == (route.metric if settings.metric is None else settings.metric)
        assert (got.tag, got.metric_type) == (settings.tag or route.tag, settings.metric_type)
        assert (got.prefix, got.next_hops, got.source) == (route.prefix, route.next_hops, route.source)


@given(policies, st.lists(st.tuples(st.booleans(), routes), max_size=12))
def test_what_a_protocol_hears_adds_up(policy: Policy, steps: list[tuple[bool, Route]]) -> None:
    rib = Rib()
    heard: dict[Prefix, Route] = {}
    for add, route in steps:
        update = RouteUpdate((route,)) if add else RouteUpdate((), (route.prefix,))
        event = redistribute(rib.update(route.source, update), "ospf", policy)
        for prefix in event.withdrawn:
            del heard[prefix]
        for each in event.routes:
            assert heard.get(each.prefix) != each
            heard[each.prefix] = each
        wanted = {}
        for best in rib:
            passed = policy.apply(best)
            if passed is not None and best.source != "ospf" and best.tag != origin_tag("ospf"):
                wanted[best.prefix] = passed.tag or origin_tag(best.source)
        assert {prefix: each.tag for prefix, each in heard.items()} == wanted


def test_routes_do_not_come_back_to_the_protocol_they_are_from() -> None:
    everything = Policy("all", default="permit")
    prefix = IPv4Network("10.0.0.0/8")
    first = Rib().replace("rip", [Route(prefix, (NextHop("a"),), "rip", 120, 3)])
    [announced] = redistribute(first, "ospf", everything).routes
    learnt = Route(prefix, (NextHop("b"),), "ospf", 110, 20, announced.tag)
    assert redistribute(Rib().replace("ospf", [learnt]), "rip", everything).routes == ()
    assert [each.tag for each in redistribute(Rib().replace("ospf", [learnt]), "bgp", everything).routes] == [
        origin_tag("rip")
    ]
    assert all(0 < origin_tag(source) < 1 << 16 for source in PREFERENCES)


GOOD: dict[str, Any] = {
    "apiVersion": "net.weft.dev/v1",
    "kind": "RoutingPolicy",
    "metadata": {"name": "to-ospf"},
    "spec": {
        "prefixLists": [{"name": "ours", "rules": [{"prefix": "10.0.0.0/8", "ge": 16, "le": 24}]}],
        "statements": [
            {"action": "deny", "match": {"tags": [5]}},
            {
                "action": "permit",
                "match": {"sources": ["static", "rip"], "prefixList": "ours", "metric": {"min": 1, "max": 9}},
                "set": {"metric": 100, "metricType": 1, "tag": 7, "preference": 30},
            },
        ],
        "default": "permit",
    },
}


def test_a_policy_is_read() -> None:
    rule = PrefixRule(ip_network("10.0.0.0/8"), 16, 24)
    assert read_policy(GOOD) == Policy(
        "to-ospf",
        (
            Statement("deny", Match(tags=(5,))),
            Statement("permit", Match(("static", "rip"), PrefixList((rule,)), (1, 9)), Settings(100, 1, 7, 30)),
        ),
        "permit",
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"prefixLists": [{"rules": []}]}, "spec.prefixLists[0].name"),
        ({"prefixLists": [{"name": "a"}, {"name": "a"}]}, "spec.prefixLists[1].name"),
        ({"prefixLists": [{"name": "a", "rules": [{}]}]}, "spec.prefixLists[0].rules[0].prefix"),
        ({"prefixLists": [{"name": "a", "rules": [{"prefix": "10.0.0.1/8"}]}]}, "spec.prefixLists[0].rules[0].prefix"),
        ({"prefixLists": [{"name": "a", "rules": [{"prefix": "10.0.0.0"}]}]}, "spec.prefixLists[0].rules[0].prefix"),
        ({"prefixLists": [{"name": "a", "rules": [{"prefix": "10.0.0.0/8", "ge": 33}]}]},
         "spec.prefixLists[0].rules[0].ge"),
        ({"prefixLists": [{"name": "a", "rules": [{"prefix": "10.0.0.0/8", "le": 7}]}]},
         "spec.prefixLists[0].rules[0].le"),
        ({"prefixLists": [{"name": "a", "rules": [{"prefix": "10.0.0.0/8", "ge": 24, "le": 16}]}]},
         "spec.prefixLists[0].rules[0]"),
        ({"statements": [{}]}, "spec.statements[0].action"),
        ({"statements": [{"action": "drop"}]}, "spec.statements[0].action"),
        ({"statements": [None]}, "spec.statements[0]"),
        ({"statements": [{"action": "deny", "set": {"tag": 1}}]}, "spec.statements[0].set"),
        ({"statements": [{"action": "permit", "set": {"metricType": 3}}]}, "spec.statements[0].set.metricType"),
        ({"statements": [{"action": "permit", "set": {"preference": 256}}]}, "spec.statements[0].set.preference"),
        ({"statements": [{"action": "permit", "set": {"metrik": 1}}]}, "spec.statements[0].set.metrik"),
        ({"statements": [{"action": "permit", "match": {"prefixList": "no"}}]}, "spec.statements[0].match.prefixList"),
        ({"statements": [{"action": "permit", "match": {"sources": ["isis"]}}]}, "spec.statements[0].match.sources[0]"),
        ({"statements": [{"action": "permit", "match": {"metric": {"min": 2, "max": 1}}}]},
         "spec.statements[0].match.metric.max"),
        ({"default": "maybe"}, "spec.default"),
        ([], "spec"),
    ],
)  # fmt: skip
def test_errors_name_their_field(spec: object, field: str) -> None:
    obj = {**GOOD, "spec": spec}
    assert [error.field for error in validate_policy(obj)] == [field]
    with pytest.raises(InvalidError, match="spec"):
        read_policy(obj)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "prefixLists",
                    "statements",
                    "default",
                    "name",
                    "rules",
                    "prefix",
                    "ge",
                    "le",
                    "action",
                    "match",
                    "set",
                    "sources",
                    "prefixList",
                    "metric",
                    "min",
                    "max",
                    "tags",
                    "metricType",
                    "tag",
                    "preference",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json)
def test_any_json_is_read_or_refused(spec: object) -> None:
    obj = {"metadata": {"name": "x"}, "spec": spec}
    if not validate_policy(obj):
        read_policy(obj)
    validate_policy(spec)


def test_the_schema_has_the_fields_that_the_reader_knows() -> None:
    crd = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == "RoutingPolicy")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def sample(node: dict[str, Any]) -> Any:
        if node["type"] == "object":
            return {key: sample(value) for key, value in node["properties"].items()}
        if node["type"] == "array":
            return [sample(node["items"])]
        return node["enum"][0] if "enum" in node else 24 if node["type"] == "integer" else "x"

    errors = validate_policy({**GOOD, "spec": sample(schema)})
    assert [str(error) for error in errors if "unknown field" in error.message] == []
