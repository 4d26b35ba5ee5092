"""The route table against a model that tries every route."""

import ipaddress
from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing import RouteTable

Network = IPv4Network | IPv6Network


# Few bits in use, so that prefixes nest and addresses fall into them.
def v4(draw: st.DrawFn) -> Network:
    length = draw(st.integers(0, 32))
    return IPv4Network(
        (draw(st.sampled_from([0, 0x0A000000, 0x0A010000, 0x0A010203, 0xFFFFFFFF])), length), strict=False
    )


def v6(draw: st.DrawFn) -> Network:
    length = draw(st.integers(0, 128))
    base = draw(st.sampled_from([0, 0x20010DB8 << 96, (0x20010DB8 << 96) + 1, 2**128 - 1]))
    return IPv6Network((base, length), strict=False)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    return v4(draw) if draw(st.booleans()) else v6(draw)


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[bool, Network, int]]:
    return draw(st.lists(st.tuples(st.integers(0, 3).map(bool), networks(), st.integers(0, 99)), max_size=40))


@given(operations(), st.lists(networks(), min_size=1, max_size=20))
def test_lookup_gives_the_longest_match(steps: list[tuple[bool, Network, int]], asked: list[Network]) -> None:
    table: RouteTable[int] = RouteTable()
    model: dict[Network, int] = {}
    for add, network, hop in steps:
        if add:
            table.add_route(str(network), hop)
            model[network] = hop
        else:
            assert table.remove_route(str(network)) == (network in model)
            model.pop(network, None)
    assert dict(table) == model
    assert len(table) == len(model)
    for question in asked:
        address = question.network_address
        covering = [n for n in model if n.version == address.version and address in n]
        best = max(covering, key=lambda n: n.prefixlen, default=None)
        assert table.lookup(str(address)) == (None if best is None else model[best])
        assert table.lookup(address) == table.lookup(str(address))


def test_any_key_works_exactly() -> None:
    table: RouteTable[str] = RouteTable()
    for key in ("A", "h1.lab", ("a", 1), 7, "10", "1.2.3", "1.2.3.4.5", "300.1.1.1", "::g", "", "10.0.0.0/33"):
        assert table.lookup(key) is None
        table.add_route(key, f"to {key!r}")
        assert table.lookup(key) == f"to {key!r}"
    assert table.remove_route("A")
    assert not table.remove_route("A")
    assert table.lookup("A") is None


def test_a_new_route_takes_the_place_of_the_old_one() -> None:
    table: RouteTable[str] = RouteTable()
    table.add_route("10.0.0.0/8", "old")
    table.add_route(ipaddress.ip_network("10.0.0.0/8"), "new")
    assert len(table) == 1
    assert table.lookup("10.9.9.9") == "new"


def test_prefixes_are_found_whole_or_in_what_covers_them() -> None:
    table: RouteTable[str] = RouteTable()
    table.add_route("10.0.0.0/8", "wide")
    table.add_route("10.1.0.0/16", "narrow")
    assert table.lookup("10.1.0.0/16") == "narrow"
    assert table.lookup("10.1.2.0/24") == "narrow"
    assert table.lookup("10.0.0.0/12") == "wide"
    assert table.lookup("0.0.0.0/0") is None
