"""Messages to bytes and back (OpenFlow 1.3.5, 7.1 to 7.5); multipart bodies are in `statistics`.

In: one whole message, as its header's length cuts it from the stream. Out: its value and transaction id. Whatever
the bytes are, the only error is OpenFlowError.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow import statistics as s
from weft.network.southbound.openflow.actions import (
    decode_actions,
    decode_buckets,
    decode_instructions,
    encode_actions,
    encode_instructions,
)
from weft.network.southbound.openflow.oxm import OpenFlowError, decode_match

HEADER = struct.Struct("!BBHI")
_BUNDLE_CONTROL, _BUNDLE_ADD = 2300, 2301
_FLOW_MOD = struct.Struct("!QQBBHHHIIIH2x")
_REMOVED = struct.Struct("!QHBBIIHHQQ")


class Frame(NamedTuple):
    """A message and the transaction that it belongs to."""

    xid: int
    message: m.Message


def _hello(each: m.Hello) -> bytes:
    if each.versions is None:
        return b""
    words = [0] * (max(each.versions, default=0) // 32 + 1)
    for version in each.versions:
        words[version // 32] |= 1 << version % 32
    length = 4 + 4 * len(words)
    return struct.pack(f"!HH{len(words)}I", 1, length, *words) + bytes(-length % 8)


def _flow_mod(each: m.FlowMod) -> bytes:
    head = _FLOW_MOD.pack(
        each.cookie, each.cookie_mask, each.table, each.command, each.idle_timeout, each.hard_timeout,
        each.priority, each.buffer, each.out_port, each.out_group, each.flags,
    )  # fmt: skip
    return head + each.match.encode() + encode_instructions(each.instructions)


def _group_mod(each: m.GroupMod) -> bytes:
    return struct.pack("!HBxI", each.command, each.kind, each.group) + b"".join([b.encode() for b in each.buckets])


def _packet_in(each: m.PacketIn) -> bytes:
    head = struct.pack("!IHBBQ", each.buffer, each.total_len, each.reason, each.table, each.cookie)
    return head + each.match.encode() + bytes(2) + each.data


def _packet_out(each: m.PacketOut) -> bytes:
    actions = encode_actions(each.actions)
    return struct.pack("!IIH6x", each.buffer, each.in_port, len(actions)) + actions + each.data


def _removed(each: m.FlowRemoved) -> bytes:
    head = _REMOVED.pack(
        each.cookie, each.priority, each.reason, each.table, *s.split(each.duration), each.idle_timeout,
        each.hard_timeout, each.packets, each.octets,
    )  # fmt: skip
    return head + each.match.encode()


def _bundle_control(each: m.BundleControl) -> bytes:
    return struct.pack("!IIIHH", m.ONF, _BUNDLE_CONTROL, each.bundle, each.step, each.flags)


def _role(each: m.RoleRequest | m.RoleReply) -> bytes:
    return struct.pack("!I4xQ", each.role, each.generation)


def _config(each: m.Config | m.SetConfig) -> bytes:
    return struct.pack("!HH", each.flags, each.miss_send_len)


def _features(each: m.Features) -> bytes:
    return struct.pack("!QIBB2xI4x", each.datapath, each.buffers, each.tables, each.auxiliary, each.capabilities)


def _empty(each: object) -> bytes:
    return b""


# A message's type on the wire, and what writes its body.
_ENCODERS: Mapping[type, tuple[int, Callable[[Any], bytes]]] = {
    m.Hello: (0, _hello),
    m.Error: (1, lambda each: struct.pack("!HH", each.kind, each.code) + each.data),
    m.EchoRequest: (2, lambda each: each.data),
    m.EchoReply: (3, lambda each: each.data),
    m.Experimenter: (4, lambda each: struct.pack("!II", each.experimenter, each.kind) + each.data),
    m.BundleControl: (4, _bundle_control),
    m.FeaturesRequest: (5, _empty),
    m.Features: (6, _features),
    m.ConfigRequest: (7, _empty),
    m.Config: (8, _config),
    m.SetConfig: (9, _config),
    m.PacketIn: (10, _packet_in),
    m.FlowRemoved: (11, _removed),
    m.PortStatus: (12, lambda each: struct.pack("!B7x", each.reason) + s.encode_port(each.port)),
    m.PacketOut: (13, _packet_out),
    m.FlowMod: (14, _flow_mod),
    m.GroupMod: (15, _group_mod),
    m.Multipart: (19, s.encode_reply),
    m.BarrierRequest: (20, _empty),
    m.BarrierReply: (21, _empty),
    m.RoleRequest: (24, _role),
    m.RoleReply: (25, _role),
    **dict.fromkeys(get_args(m.StatsRequest), (18, s.encode_request)),
}


def encode(message: m.Message, xid: int) -> bytes:
    """One message with its header; OpenFlowError if a number or the whole does not fit."""
    try:
        if isinstance(message, m.BundleAdd):
            # The bundled message bears the transaction id of the one that carries it (ONF 230, 4.2).
            inner = encode(message.message, xid)
            head = struct.pack("!IIIHH", m.ONF, _BUNDLE_ADD, message.bundle, 0, message.flags)
            return HEADER.pack(m.VERSION, 4, 24 + len(inner), xid) + head + inner
        kind, body_of = _ENCODERS[type(message)]
        body = body_of(message)
        version = message.version if isinstance(message, m.Hello) else m.VERSION
        return HEADER.pack(version, kind, 8 + len(body), xid) + body
    except struct.error as error:
        raise OpenFlowError(f"cannot write {type(message).__name__}: {error}")


def _decode_hello(data: memoryview) -> m.Message:
    version = data[0]
    at = 8
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        if length < 4 or at + length > len(data):
            raise OpenFlowError(f"cannot read a hello element of length {length}")
        if kind == 1:
            words = struct.unpack_from(f"!{(length - 4) // 4}I", data, at + 4)
            versions = {32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1}
            return m.Hello(frozenset(versions), version)
        at += (length + 7) // 8 * 8
    return m.Hello(None, version)


def _decode_error(data: memoryview) -> m.Message:
    kind, code = struct.unpack_from("!HH", data, 8)
    return m.Error(kind, code, bytes(data[12:]))


def _decode_experimenter(data: memoryview) -> m.Message:
    experimenter, kind = struct.unpack_from("!II", data, 8)
    if experimenter == m.ONF and kind == _BUNDLE_CONTROL:
        return m.BundleControl(*struct.unpack_from("!IHH", data, 16))
    if experimenter == m.ONF and kind == _BUNDLE_ADD:
        bundle, flags = struct.unpack_from("!I2xH", data, 16)
        if len(data) < 32 or struct.unpack_from("!H", data, 26)[0] > len(data) - 24:
            raise OpenFlowError("cannot read a bundled message: it is cut short")
        (length,) = struct.unpack_from("!H", data, 26)
        if data[25] not in (14, 15):
            raise OpenFlowError(f"cannot read a bundled message of type {data[25]}")
        inner = decode(bytes(data[24 : 24 + length])).message
        assert isinstance(inner, m.FlowMod | m.GroupMod)
        return m.BundleAdd(bundle, inner, flags)
    return m.Experimenter(experimenter, kind, bytes(data[16:]))


def _decode_packet_in(data: memoryview) -> m.Message:
    buffer, total, reason, table, cookie = struct.unpack_from("!IHBBQ", data, 8)
    found, after = decode_match(data, 24)
    if after + 2 > len(data):
        raise OpenFlowError("cannot read a packet-in: it is cut short")
    return m.PacketIn(bytes(data[after + 2 :]), found, reason, table, cookie, total, buffer)


def _decode_packet_out(data: memoryview) -> m.Message:
    buffer, port, length = struct.unpack_from("!IIH6x", data, 8)
    if 24 + length > len(data):
        raise OpenFlowError("cannot read a packet-out: its actions are cut short")
    return m.PacketOut(bytes(data[24 + length :]), decode_actions(data, 24, 24 + length), port, buffer)


def _decode_flow_mod(data: memoryview) -> m.Message:
    cookie, mask, table, command, idle, hard, priority, buffer, port, group, flags = _FLOW_MOD.unpack_from(data, 8)
    found, after = decode_match(data, 48)
    instructions = decode_instructions(data, after, len(data))
    return m.FlowMod(
        found, instructions, command, priority, table, cookie, mask, idle, hard, flags, port, group, buffer
    )  # fmt: skip


def _decode_removed(data: memoryview) -> m.Message:
    cookie, priority, reason, table, sec, nano, idle, hard, packets, octets = _REMOVED.unpack_from(data, 8)
    found, _ = decode_match(data, 48)
    took = sec + nano / 1e9
    return m.FlowRemoved(found, cookie, priority, reason, table, took, idle, hard, packets, octets)


def _decode_group_mod(data: memoryview) -> m.Message:
    command, kind, group = struct.unpack_from("!HBxI", data, 8)
    return m.GroupMod(group, decode_buckets(data, 16, len(data)), command, kind)


def _decode_port_status(data: memoryview) -> m.Message:
    return m.PortStatus(data[8] if len(data) > 8 else 0, s.decode_port(data, 16))


_DECODERS: Mapping[int, Callable[[memoryview], m.Message]] = {
    0: _decode_hello,
    1: _decode_error,
    2: lambda data: m.EchoRequest(bytes(data[8:])),
    3: lambda data: m.EchoReply(bytes(data[8:])),
    4: _decode_experimenter,
    5: lambda data: m.FeaturesRequest(),
    6: lambda data: m.Features(*struct.unpack_from("!QIBB2xI4x", data, 8)),
    7: lambda data: m.ConfigRequest(),
    8: lambda data: m.Config(*struct.unpack_from("!HH", data, 8)),
    9: lambda data: m.SetConfig(*struct.unpack_from("!HH", data, 8)),
    10: _decode_packet_in,
    11: _decode_removed,
    12: _decode_port_status,
    13: _decode_packet_out,
    14: _decode_flow_mod,
    15: _decode_group_mod,
    18: s.decode_request,
    19: s.decode_reply,
    20: lambda data: m.BarrierRequest(),
    21: lambda data: m.BarrierReply(),
    24: lambda data: m.RoleRequest(*struct.unpack_from("!I4xQ", data, 8)),
    25: lambda data: m.RoleReply(*struct.unpack_from("!I4xQ", data, 8)),
}


def decode(data: bytes) -> Frame:
    """One whole message."""
    view = memoryview(data)
    try:
        version, kind, length, xid = HEADER.unpack_from(view)
        # A hello, and the error that refuses it, bear the sender's own version (6.3.1).
        if length != len(data) or (version != m.VERSION and kind > 1):
            raise OpenFlowError(f"cannot read a message of version {version} and length {length} in {len(data)}")
        reader = _DECODERS.get(kind)
        if reader is None:
            raise OpenFlowError(f"cannot read a message of type {kind}")
        return Frame(xid, reader(view))
    except struct.error as error:
        raise OpenFlowError(f"cannot read a message: {error}")
