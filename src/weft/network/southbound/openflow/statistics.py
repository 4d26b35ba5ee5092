"""Multipart messages (OpenFlow 1.3.5, 7.3.5): flows, groups and ports as a switch tells them."""

import struct

from weft.network.southbound.openflow.actions import decode_buckets, decode_instructions, encode_instructions
from weft.network.southbound.openflow.messages import (
    FlowStats,
    FlowStatsRequest,
    GroupDesc,
    GroupDescRequest,
    GroupStats,
    GroupStatsRequest,
    Multipart,
    Part,
    Port,
    PortDescRequest,
    PortStats,
    PortStatsRequest,
    StatsRequest,
)
from weft.network.southbound.openflow.oxm import OpenFlowError, decode_match

FLOW, PORT, GROUP, GROUP_DESC, PORT_DESC = 1, 4, 6, 7, 13
_MORE = 1
_FLOW = struct.Struct("!HBxIIHHHH4xQQQ")
_PORT = struct.Struct("!I4x6s2x16sIIIIIIII")
_PORT_STATS = struct.Struct("!I4xQQQQQQQQ")
_GROUP = struct.Struct("!H2xII4xQQII")


def _seconds(seconds: int, nanoseconds: int) -> float:
    return seconds + nanoseconds / 1e9


def split(duration: float) -> tuple[int, int]:
    """Seconds and nanoseconds."""
    whole = round(duration * 1e9)
    return whole // 10**9, whole % 10**9


def encode_port(port: Port) -> bytes:
    name = port.name.encode(errors="surrogateescape")
    return _PORT.pack(
        port.number, port.mac, name, port.config, port.state, *port.features, port.speed, port.max_speed
    )  # fmt: skip


def decode_port(data: memoryview, at: int) -> Port:
    number, mac, name, config, state, *rest = _PORT.unpack_from(data, at)
    current, advertised, supported, peer, speed, top = rest
    text = name.split(b"\0")[0].decode(errors="surrogateescape")
    return Port(number, mac, text, config, state, (current, advertised, supported, peer), speed, top)


def encode_request(request: StatsRequest) -> bytes:
    match request:
        case FlowStatsRequest():
            head = struct.pack(
                "!B3xII4xQQ", request.table, request.out_port, request.out_group, request.cookie, request.cookie_mask
            )
            return struct.pack("!HH4x", FLOW, 0) + head + request.match.encode()
        case PortStatsRequest():
            return struct.pack("!HH4xI4x", PORT, 0, request.port)
        case GroupStatsRequest():
            return struct.pack("!HH4xI4x", GROUP, 0, request.group)
        case GroupDescRequest():
            return struct.pack("!HH4x", GROUP_DESC, 0)
        case PortDescRequest():
            return struct.pack("!HH4x", PORT_DESC, 0)


def decode_request(data: memoryview) -> StatsRequest:
    (kind,) = struct.unpack_from("!H6x", data, 8)
    match kind:
        case 1:
            table, port, group, cookie, mask = struct.unpack_from("!B3xII4xQQ", data, 16)
            return FlowStatsRequest(decode_match(data, 48)[0], table, cookie, mask, port, group)
        case 4:
            return PortStatsRequest(*struct.unpack_from("!I", data, 16))
        case 6:
            return GroupStatsRequest(*struct.unpack_from("!I", data, 16))
        case 7:
            return GroupDescRequest()
        case 13:
            return PortDescRequest()
    raise OpenFlowError(f"cannot read a multipart request of type {kind}")


def _encode_part(part: Part) -> bytes:
    match part:
        case FlowStats():
            body = part.match.encode() + encode_instructions(part.instructions)
            seconds, rest = split(part.duration)
            head = _FLOW.pack(
                _FLOW.size + len(body), part.table, seconds, rest, part.priority, part.idle_timeout,
                part.hard_timeout, part.flags, part.cookie, part.packets, part.octets,
            )  # fmt: skip
            return head + body
        case GroupDesc():
            body = b"".join(each.encode() for each in part.buckets)
            return struct.pack("!HBxI", 8 + len(body), part.kind, part.group) + body
        case GroupStats():
            body = b"".join(struct.pack("!QQ", *each) for each in part.buckets)
            counts = (part.group, part.references, part.packets, part.octets)
            return _GROUP.pack(_GROUP.size + len(body), *counts, *split(part.duration)) + body
        case PortStats():
            counters = (
                part.port, part.rx_packets, part.tx_packets, part.rx_bytes, part.tx_bytes,
                part.rx_dropped, part.tx_dropped, part.rx_errors, part.tx_errors,
            )  # fmt: skip
            return _PORT_STATS.pack(*counters) + bytes(112 - _PORT_STATS.size)
        case Port():
            return encode_port(part)


def encode_reply(reply: Multipart) -> bytes:
    head = struct.pack("!HH4x", reply.kind, _MORE if reply.more else 0)
    return head + b"".join(_encode_part(each) for each in reply.parts)


def _length(data: memoryview, at: int, least: int) -> int:
    length: int = struct.unpack_from("!H", data, at)[0]
    if length < least or at + length > len(data):
        raise OpenFlowError(f"cannot read a part of a multipart reply of length {length}")
    return length


def _decode_part(data: memoryview, kind: int, at: int) -> tuple[Part, int]:
    match kind:
        case 1:
            length = _length(data, at, _FLOW.size)
            _, table, sec, nano, priority, idle, hard, flags, cookie, packets, octets = _FLOW.unpack_from(data, at)
            found, after = decode_match(data, at + _FLOW.size)
            instructions = decode_instructions(data, after, at + length)
            if after > at + length:
                raise OpenFlowError("cannot read flow statistics: the match is longer than the whole")
            took = _seconds(sec, nano)
            part = FlowStats(
                found, instructions, priority, table, cookie, took, idle, hard, flags, packets, octets
            )  # fmt: skip
            return part, at + length
        case 4:
            return PortStats(*_PORT_STATS.unpack_from(data, at)), at + 112
        case 6:
            length = _length(data, at, _GROUP.size)
            _, group, references, packets, octets, sec, nano = _GROUP.unpack_from(data, at)
            body = data[at + _GROUP.size : at + length]
            buckets = tuple(struct.iter_unpack("!QQ", body))
            return GroupStats(group, references, packets, octets, buckets, _seconds(sec, nano)), at + length
        case 7:
            length = _length(data, at, 8)
            kind_, group = struct.unpack_from("!BxI", data, at + 2)
            return GroupDesc(group, kind_, decode_buckets(data, at + 8, at + length)), at + length
        case 13:
            return decode_port(data, at), at + _PORT.size
    raise OpenFlowError(f"cannot read a multipart reply of type {kind}")


def decode_reply(data: memoryview) -> Multipart:
    kind, flags = struct.unpack_from("!HH4x", data, 8)
    at = 16
    parts = []
    while at < len(data):
        part, at = _decode_part(data, kind, at)
        parts.append(part)
    if at != len(data):
        raise OpenFlowError("cannot read a multipart reply: its last part is cut short")
    return Multipart(kind, tuple(parts), bool(flags & _MORE))
