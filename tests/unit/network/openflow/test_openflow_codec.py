"""What is written is read back, and no bytes raise another error."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.network.southbound.openflow import actions as a
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.codec import decode, encode
from weft.network.southbound.openflow.oxm import FIELDS, Field, Match, OpenFlowError, field, match

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))


@st.composite
def oxm(draw: st.DrawFn) -> Field:
    number, size = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
    top = (1 << 8 * size) - 1
    mask = draw(st.none() | st.integers(1, top - 1))
    value = draw(st.integers(0, top))
    return Field(0x8000 << 7 | number, size, value if mask is None else value & mask, mask)


matches = st.lists(oxm(), max_size=6, unique_by=lambda each: each.code).map(lambda fields: Match(tuple(fields)))
one_action = st.one_of(
    st.builds(a.Output, u32, u16), st.builds(a.ToGroup, u32), st.builds(a.SetQueue, u32), st.builds(a.PushVlan, u16),
    st.just(a.PopVlan()), st.just(a.DecTtl()), st.builds(a.SetField, oxm()),
    st.builds(a.Spread, st.lists(st.integers(1, 0xFF00), max_size=9).map(tuple), st.integers(0, 0xFFFF)),
    st.builds(a.OtherAction, st.integers(0x100, 0xFFFF), st.binary(min_size=12, max_size=12)),
)  # fmt: skip
some_actions = st.lists(one_action, max_size=4).map(tuple)
instructions = st.lists(
    st.one_of(
        st.builds(a.GotoTable, u8), st.builds(a.WriteMetadata, u64, u64), st.builds(a.WriteActions, some_actions),
        st.builds(a.ApplyActions, some_actions), st.just(a.ClearActions()),
    ),
    max_size=3,
).map(tuple)  # fmt: skip
buckets = st.lists(st.builds(a.Bucket, some_actions, u16, u32, u32), max_size=3).map(tuple)
# Whole milliseconds: what is told in seconds and nanoseconds has no more digits than a float keeps.
durations = st.integers(0, 10**9).map(lambda each: each / 1000)
ports = st.builds(
    m.Port, u32, st.binary(min_size=6, max_size=6), st.text("abc-0123", max_size=15), u32, u32,
    st.tuples(u32, u32, u32, u32), u32, u32,
)  # fmt: skip
flow_mods = st.builds(m.FlowMod, matches, instructions, u8, u16, u8, u64, u64, u16, u16, u16, u32, u32, u32)
group_mods = st.builds(m.GroupMod, u32, buckets, u16, u8)
counts = st.lists(st.tuples(u64, u64), max_size=3).map(tuple)
parts = st.one_of(
    st.tuples(st.just(1), st.lists(
        st.builds(m.FlowStats, matches, instructions, u16, u8, u64, durations, u16, u16, u16, u64, u64), max_size=3)),
    st.tuples(st.just(4), st.lists(st.builds(m.PortStats, u32, *[u64] * 8), max_size=3)),
    st.tuples(st.just(6), st.lists(st.builds(m.GroupStats, u32, u32, u64, u64, counts, durations), max_size=3)),
    st.tuples(st.just(7), st.lists(st.builds(m.GroupDesc, u32, u8, buckets), max_size=3)),
    st.tuples(st.just(13), st.lists(ports, max_size=3)),
)  # fmt: skip
messages = st.one_of(
    st.builds(m.Hello, st.none() | st.frozensets(st.integers(0, 70), min_size=1), u8),
    st.builds(m.Error, u16, u16, st.binary(max_size=70)),
    st.builds(m.EchoRequest, st.binary(max_size=9)), st.builds(m.EchoReply, st.binary(max_size=9)),
    st.just(m.FeaturesRequest()), st.builds(m.Features, u64, u32, u8, u8, u32),
    st.just(m.ConfigRequest()), st.builds(m.Config, u16, u16), st.builds(m.SetConfig, u16, u16),
    st.builds(m.PacketIn, st.binary(max_size=99), matches, u8, u8, u64, u16, u32),
    st.builds(m.PacketOut, st.binary(max_size=99), some_actions, u32, u32),
    flow_mods, group_mods, st.builds(m.BundleAdd, u32, flow_mods | group_mods, u16),
    st.builds(m.FlowRemoved, matches, u64, u16, u8, u8, durations, u16, u16, u64, u64),
    st.builds(m.PortStatus, u8, ports), st.just(m.BarrierRequest()), st.just(m.BarrierReply()),
    st.builds(m.RoleRequest, u32, u64), st.builds(m.RoleReply, u32, u64), st.builds(m.BundleControl, u32, u16, u16),
    st.builds(m.Experimenter, st.integers(0, 9), u32, st.binary(max_size=9)),
    st.builds(m.FlowStatsRequest, matches, u8, u64, u64, u32, u32), st.just(m.GroupDescRequest()),
    st.builds(m.GroupStatsRequest, u32), st.builds(m.PortStatsRequest, u32), st.just(m.PortDescRequest()),
    parts.flatmap(lambda pair: st.builds(m.Multipart, st.just(pair[0]), st.just(tuple(pair[1])), st.booleans())),
)  # fmt: skip


@given(messages, u32)
def test_what_is_written_is_read_back(message: m.Message, xid: int) -> None:
    data = encode(message, xid)
    assert struct.unpack_from("!H", data, 2)[0] == len(data)
    assert decode(data) == (xid, message)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (data, b"\x04" + data[:1] + (len(data) + 8).to_bytes(2) + bytes(4) + data):
        try:
            decode(whole)
        except OpenFlowError:
            pass


@settings(max_examples=300)
@given(messages, st.data())
def test_damaged_messages_are_read_or_refused(message: m.Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message, 1))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(u8)
    cut = data.draw(st.integers(0, len(raw)))
    for whole in (bytes(raw), bytes(raw[:2]) + cut.to_bytes(2) + bytes(raw[4:cut])):
        try:
            decode(whole)
        except OpenFlowError:
            pass


def test_fields_are_kept_in_one_order_and_without_redundant_masks() -> None:
    assert match(eth_type=0x800, in_port=1) == match(in_port=1, eth_type=0x800)
    assert field("ipv4_dst", "10.0.0.1/32") == field("ipv4_dst", "10.0.0.1")
    assert field("eth_dst", "00:00:00:00:00:07").value == 7
    assert field("ipv6_dst", "fd00::/64").mask == (1 << 128) - (1 << 64)


@pytest.mark.parametrize(
    ("name", "value"), [("vlan", 1), ("in_port", -1), ("eth_dst", "zz"), ("ipv4_dst", "10.0.0.1/8"), ("tcp_dst", b"1")]
)
def test_what_cannot_be_matched_is_refused(name: str, value: int | str | bytes) -> None:
    with pytest.raises(OpenFlowError):
        field(name, value)
    with pytest.raises(OpenFlowError):
        Match((field("in_port", 1), field("in_port", 2)))


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OpenFlowError):
        encode(m.FlowMod(match(), priority=1 << 16), 1)
    with pytest.raises(OpenFlowError):
        encode(m.PacketOut(bytes(70_000), ()), 1)
