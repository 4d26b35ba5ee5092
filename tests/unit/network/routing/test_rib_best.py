"""The RIB against a model that works everything out anew from the routes that each source has."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.protocol import Interface, RouteUpdate
from weft.network.routing.rib.changes import Changes
from weft.network.routing.rib.connected import connected_routes
from weft.network.routing.rib.nexthops import expand
from weft.network.routing.rib.rib import Rib
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route, Source
from weft.network.routing.rib.table import Prefix

Candidates = dict[tuple[Source, Prefix], Route]
# Few and nested, so that next hops fall into prefixes whose routes are recursive themselves.
PREFIXES: list[Prefix] = [
    ip_network(each) for each in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "10.2.0.0/16",
                                  "20.0.0.0/8", "20.1.1.0/24", "::/0", "fd00::/16", "fd00::/64")
]  # fmt: skip
V4 = [IPv4Address(each) for each in ("10.1.1.1", "10.1.2.1", "10.2.0.1", "20.1.1.1", "20.9.9.9", "30.0.0.1")]
V6 = [IPv6Address(each) for each in ("fd00::1", "fd00:0:0:1::1", "fd01::1")]
SOURCES: list[Source] = ["connected", "static", "bgp", "ospf", "rip"]


@st.composite
def routes(draw: st.DrawFn, source: Source) -> Route:
    prefix = draw(st.sampled_from(PREFIXES))
    vias = V4 + V6 if prefix.version == 4 else V6
    hops = []
    for _ in range(draw(st.integers(0, 2))):
        weight = draw(st.integers(1, 3))
        if source == "connected":
            hops.append(NextHop(draw(st.sampled_from("ab"))))
        elif source in ("static", "bgp") and draw(st.integers(0, 3)):
            hops.append(NextHop("", draw(st.sampled_from(vias)), weight))
        else:
            hops.append(NextHop(draw(st.sampled_from("ab")), draw(st.sampled_from(vias)), weight))
    preference = draw(st.sampled_from([PREFERENCES[source], 50]))
    return Route(prefix, tuple(hops), source, preference, draw(st.integers(0, 2)))


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, Source, list[Route], list[Prefix]]]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        source = draw(st.sampled_from(SOURCES))
        verb = draw(st.sampled_from(["update", "update", "replace"]))
        news = draw(st.lists(routes(source), max_size=4))
        found.append((verb, source, news, draw(st.lists(st.sampled_from(PREFIXES), max_size=3))))
    return found


def level(route: Route) -> int:
    return {"static": 1, "bgp": 2}[route.source] if any(not hop.interface for hop in route.next_hops) else 0


def model(candidates: Candidates, below: int, default: bool) -> dict[Prefix, Route]:
    """The best routes among the levels below one; each level looks for its next hops in those beneath."""
    tables = {n: model(candidates, n, default) for n in range(1, below)}
    best: dict[Prefix, Route] = {}
    for route in sorted(candidates.values(), key=lambda each: (each.preference, each.metric, each.source)):
        mine = level(route)
        if route.prefix in best or mine >= below:
            continue
        if mine:
            hops = expand(route.next_hops, lambda via, table=tables[mine]: find(table, via, default))
            if hops is None:
                continue
            route = Route(route.prefix, hops, route.source, route.preference, route.metric)
        best[route.prefix] = route
    return best


def find(table: dict[Prefix, Route], via: IPv4Address | IPv6Address, default: bool) -> tuple[NextHop, ...] | None:
    found = [each for each in table if each.version == via.version and via in each and (default or each.prefixlen)]
    return table[max(found, key=lambda each: each.prefixlen)].next_hops if found else None


def compose(before: dict[Prefix, Route], changes: Changes) -> dict[Prefix, Route]:
    """Applies a difference, and holds it to be one: what it takes away was there, and nothing is replaced by itself."""
    after = dict(before)
    for route in changes.removed:
        assert after.pop(route.prefix) == route
    for each in changes.replaced:
        assert after[each.old.prefix] == each.old != each.new
        after[each.new.prefix] = each.new
    for route in changes.added:
        assert route.prefix not in before
        after[route.prefix] = route
    return after


@given(steps(), st.booleans())
def test_best_routes_and_differences_are_those_of_the_model(
    steps: list[tuple[str, Source, list[Route], list[Prefix]]], default: bool
) -> None:
    rib = Rib(resolve_via_default=default)
    candidates: Candidates = {}
    installed: dict[Prefix, Route] = {}
    for verb, source, news, withdrawn in steps:
        if verb == "replace":
            candidates = {key: route for key, route in candidates.items() if key[0] != source}
            changes = rib.replace(source, news)
        else:
            for prefix in withdrawn:
                candidates.pop((source, prefix), None)
            changes = rib.update(source, RouteUpdate(tuple(news), tuple(withdrawn)))
        candidates.update({(source, route.prefix): route for route in news})
        installed = compose(installed, changes)
        wanted = model(candidates, 3, default)
        assert installed == wanted == {route.prefix: route for route in rib}
        for via in V4 + V6:
            covering = [each for each in wanted if each.version == via.version and via in each]
            longest = max(covering, key=lambda each: each.prefixlen, default=None)
            assert rib.lookup(via) == (None if longest is None else wanted[longest])


NET = IPv4Network("10.0.0.0/24")


def connected(name: str, prefix: Prefix = NET) -> Route:
    return Route(prefix, (NextHop(name),), "connected", 0)


def via(text: str, prefix: str, source: Source = "bgp") -> Route:
    return Route(ip_network(prefix), (NextHop("", IPv4Address(text)),), source, PREFERENCES[source])


def test_a_recursive_route_follows_its_cover() -> None:
    rib = Rib()
    rib.replace("bgp", [via("192.0.2.9", "198.51.100.0/24")])
    assert list(rib) == []
    rib.replace("connected", [connected("eth0")])
    changes = rib.replace("static", [via("10.0.0.7", "192.0.2.0/24", "static")])
    assert [(r.prefix.with_prefixlen, r.next_hops) for r in changes.added] == [
        ("192.0.2.0/24", (NextHop("eth0", IPv4Address("10.0.0.7")),)),
        ("198.51.100.0/24", (NextHop("eth0", IPv4Address("10.0.0.7")),)),
    ]
    changes = rib.replace("connected", [connected("eth1")])
    assert {each.new.next_hops[0].interface for each in changes.replaced} == {"eth1"}
    assert len(changes.replaced) == 3
    narrow = Route(IPv4Network("192.0.2.9/32"), (NextHop("eth5", IPv4Address("10.5.0.1")),), "ospf", 110)
    changes = rib.update("ospf", RouteUpdate((narrow,)))
    assert [each.new.next_hops for each in changes.replaced] == [narrow.next_hops]
    assert len(rib.replace("connected", []).removed) == 2
    assert len(rib.update("ospf", RouteUpdate((), (narrow.prefix,))).removed) == 2
    assert not rib.update("ospf", RouteUpdate((), (narrow.prefix,)))


def test_paths_share_in_proportion() -> None:
    one, two, three = (IPv4Address(f"10.0.0.{n}") for n in (1, 2, 3))
    covers = {one: (NextHop("a", one), NextHop("b", two)), two: (NextHop("b", two),), three: ()}
    hops = (NextHop("", one, 1), NextHop("", two, 1), NextHop("", three))
    assert expand(hops, covers.get) == (NextHop("a", one, 1), NextHop("b", two, 3))
    assert expand(hops[2:], covers.get) == ()
    assert expand((NextHop("", IPv4Address("10.9.9.9")),), covers.get) is None
    uneven = (NextHop("a", one, 200), NextHop("b", two, 1))
    assert expand((NextHop("", one, 256), NextHop("", two)), {one: uneven, two: uneven[1:]}.get) == (
        NextHop("a", one, 256), NextHop("b", two, 2))  # fmt: skip


def test_interfaces_bring_connected_routes() -> None:
    address = IPv4Interface("10.0.0.1/24")
    found = connected_routes([Interface("b", address), Interface("a", IPv4Interface("10.0.0.2/24")),
                              Interface("c", IPv4Interface("10.1.0.1/24"), up=False)])  # fmt: skip
    assert found == (connected("a"),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NextHop(""),
        lambda: NextHop("", IPv6Address("fe80::1")),
        lambda: NextHop("a", None, 0),
        lambda: Route(NET, (), "isis", 1),  # type: ignore[arg-type]
        lambda: Route(NET, (), "rip", 256),
        lambda: Route(NET, (), "rip", 1, -1),
        lambda: Route(NET, (), "rip", 1, 0, 2**32),
        lambda: Route(NET, (), "rip", 1, 0, 0, 3),  # type: ignore[arg-type]
        lambda: Route(IPv6Network("fd00::/64"), (NextHop("a", IPv4Address("10.0.0.1")),), "rip", 1),
        lambda: Rib().replace("ospf", [connected("a")]),
        lambda: Rib().replace("ospf", [via("10.0.0.1", "10.0.0.0/8", "ospf")]),
    ],
)
def test_what_contradicts_itself_is_refused(make: object) -> None:
    with pytest.raises(InvalidError, match="cannot"):
        make()  # type: ignore[operator]
