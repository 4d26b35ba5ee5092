"""rtnetlink as bytes: what is built can be read back, and damaged answers end quietly."""

import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.southbound import rtnetlink as rt
from weft.network.southbound import wire

hops = st.lists(
    st.builds(rt.NextHop, st.integers(1, 99), st.one_of(st.none(), st.ip_addresses(v=4)), st.integers(1, 256)),
    max_size=4,
)


@given(st.ip_addresses(v=4), st.integers(0, 32), hops, st.integers(0, 2**32 - 1))
def test_routes_are_read_back(address: object, length: int, next_hops: list[rt.NextHop], metric: int) -> None:
    if len(next_hops) == 1:
        next_hops = [rt.NextHop(next_hops[0].index, next_hops[0].gateway)]  # one alone has no weight
    route = rt.Route(ip_network(f"{address}/{length}", strict=False), tuple(next_hops), metric)
    assert rt.parse_route(rt.replace_route(route).payload) == route


def test_routes_of_version_6_are_read_back() -> None:
    route = rt.Route(ip_network("fd00::/64"), (rt.NextHop(3, ip_address("fe80::1")),))
    assert rt.parse_route(rt.replace_route(route).payload) == route


def test_routes_of_other_tables_are_not_ours() -> None:
    payload = bytearray(rt.replace_route(rt.Route(ip_network("10.0.0.0/8"), (rt.NextHop(1),))).payload)
    payload[4] = 255  # the local table
    assert rt.parse_route(bytes(payload)) is None


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20))))
def test_attributes_are_read_back(pairs: list[tuple[int, bytes]]) -> None:
    assert list(wire.attributes(b"".join(wire.attribute(kind, data) for kind, data in pairs))) == pairs


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(1, 1000))
def test_messages_are_read_back(payloads: list[bytes], first: int) -> None:
    messages = [rt.Message(16, wire.NLM_F_ACK, payload, "x") for payload in payloads]
    data = b"".join(wire.encode(message, first + n) for n, message in enumerate(messages))
    decoded = list(wire.decode(data))
    assert [(kind, sequence, payload) for kind, _, sequence, payload in decoded] == [
        (16, first + n, payload) for n, payload in enumerate(payloads)
    ]


@given(st.binary(max_size=100))
def test_damage_ends_quietly(data: bytes) -> None:
    list(wire.attributes(data))
    list(wire.decode(data))


@pytest.mark.parametrize(
    ("words", "expected"), [(b"Nexthop has invalid gateway\0", "Nexthop has invalid gateway"), (b"", "")]
)
def test_errors_bring_the_kernels_words(words: bytes, expected: str) -> None:
    payload = struct.pack("=i", -101) + b"\0" * 16 + (wire.attribute(1, words) if words else b"")
    assert wire.parse_error(0x300 if words else 0x100, payload) == (101, expected)
