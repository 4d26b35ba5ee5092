"""Next-hop objects, segments and namespace ids as bytes: what is built can be read back; damage does no harm."""

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.southbound import nexthops, nsid, wire
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.segments import Action, LocalAction, local, parse_encapsulation, parse_local

segment_lists = st.lists(st.ip_addresses(v=6), max_size=4).map(tuple)
ids = st.integers(1, 2**32 - 1)
single = st.builds(
    nexthops.NextHopObject,
    ids,
    st.sampled_from([wire.AF_INET, wire.AF_INET6]),
    st.integers(1, 2**31 - 1),
    st.one_of(st.none(), st.ip_addresses()),
    segment_lists,
    st.integers(0, 255),
)
groups = st.builds(
    nexthops.NextHopGroup,
    ids,
    st.frozensets(st.tuples(ids, st.integers(1, 256)), min_size=1, max_size=5),
    st.integers(0, 255),
)


@given(st.one_of(single, groups))
def test_objects_are_read_back(value: nexthops.Object) -> None:
    assert nexthops.parse_object(nexthops.replace_object(value).payload) == value


@given(st.one_of(single, groups))
def test_an_object_is_deleted_by_its_id(value: nexthops.Object) -> None:
    message = nexthops.delete_object(value)
    assert message.type == nexthops.RTM_DELNEXTHOP
    assert nexthops.parse_object(message.payload).id == value.id


@given(segment_lists.filter(bool), st.integers(1, 99))
def test_routes_with_segments_are_read_back(segments: tuple[IPv6Address, ...], index: int) -> None:
    one = rt.NextHop(index, None, 1, segments)
    two = rt.NextHop(index + 1, ip_address("10.0.0.1"), 7, segments)
    for hops in ((one,), (one, two)):
        route = rt.Route(ip_network("10.0.0.0/8"), hops)
        assert rt.parse_route(rt.replace_route(route).payload) == route


@given(ids, st.integers(0, 2**32 - 1))
def test_routes_by_object_are_read_back(object_id: int, metric: int) -> None:
    route = rt.Route(ip_network("fd00::/64"), (), metric, object=object_id)
    parsed = rt.parse_route(rt.replace_route(route).payload)
    assert parsed is not None
    assert (parsed.destination, parsed.metric, parsed.object) == (route.destination, metric, object_id)


def test_a_neighbour_of_the_other_family() -> None:
    route = rt.Route(ip_network("10.0.0.0/8"), (rt.NextHop(3, ip_address("fe80::1")),))
    assert rt.parse_route(rt.replace_route(route).payload) == route


@pytest.mark.parametrize(
    "action",
    [
        LocalAction(Action.END),
        LocalAction(Action.END_X, ip_address("fd00::1")),
        LocalAction(Action.END_DX4),
        LocalAction(Action.END_DX4, ip_address("10.0.0.1")),
        LocalAction(Action.END_DX6),
        LocalAction(Action.END_DX6, ip_address("fd00::1")),
    ],
)
def test_local_segments_are_read_back(action: LocalAction) -> None:
    assert parse_local(local(action)) == action
    route = rt.Route(ip_network("fc00::1/128"), (rt.NextHop(5),), 1024, local=action)
    assert rt.parse_route(rt.replace_route(route).payload) == route


@pytest.mark.parametrize(
    ("action", "via"),
    [(Action.END, "fd00::1"), (Action.END_X, None), (Action.END_DX4, "fd00::1"), (Action.END_X, "10.0.0.1")],
)
def test_segments_that_cannot_be(action: Action, via: str | None) -> None:
    with pytest.raises(InvalidError):
        LocalAction(action, ip_address(via) if via else None)


@given(st.binary(max_size=80))
def test_damaged_segments_are_none(data: bytes) -> None:
    assert isinstance(parse_encapsulation(data), tuple)
    parse_local(data)
    assert parse_encapsulation(wire.attribute(1, b"\1\0\0\0" + data)) is not None


def test_namespace_ids() -> None:
    assert nsid.parse_nsid(nsid.add_nsid(7, 42).payload) == 42


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5))
def test_only_the_last_need_be_acknowledged(payloads: list[bytes]) -> None:
    message = rt.Message(24, wire.NLM_F_ACK, payloads[0], "x")
    quiet, loud = wire.encode(message, 1, acknowledge=False), wire.encode(message, 1)
    assert [flags & wire.NLM_F_ACK for _, flags, _, _ in wire.decode(quiet + loud)] == [0, wire.NLM_F_ACK]
