"""Next-hop objects of the kernel as bytes: routes refer to them by id, so replacing one moves all of its routes.

An object is one next hop (interface, gateway, segments) or a group of others with weights. In: `Hop` and `Group`
values. Out: requests for `netlink`, and what a dump says as those values again.
Source: linux/nexthop.h, net/ipv4/nexthop.c; since Linux 5.3.
"""

import ipaddress
import struct
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from weft.network.southbound import segments as srv6
from weft.network.southbound.routes import encap_attributes
from weft.network.southbound.wire import (
    AF_UNSPEC,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    PROTOCOL,
    Address,
    Message,
    attribute,
    attributes,
    number,
)

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
_NHA_ID, _NHA_GROUP, _NHA_OIF, _NHA_GATEWAY, _NHA_ENCAP_TYPE, _NHA_ENCAP = 1, 2, 5, 6, 7, 8
_HEAD = struct.Struct("=BBBBI")
_MEMBER = struct.Struct("=IBBH")


@dataclass(frozen=True, slots=True)
class NextHopObject:
    """One next hop: `family` is that of the gateway, or of the routes that may use it where there is none."""

    id: int
    family: int
    index: int
    gateway: Address | None = None
    segments: tuple[IPv6Address, ...] = ()
    protocol: int = PROTOCOL

    def __str__(self) -> str:
        return f"next hop {self.gateway or 'on the link'} (object {self.id})"


@dataclass(frozen=True, slots=True)
class NextHopGroup:
    """(id, weight 1 to 256) of each member, as equal or weighted paths; the order says nothing."""

    id: int
    members: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    protocol: int = PROTOCOL

    def __str__(self) -> str:
        return f"next-hop group {self.id}"


Object = NextHopObject | NextHopGroup


def replace_object(value: Object) -> Message:
    """Adds the object, or takes the place of the one with its id: all routes of it move at once."""
    kind = value.family if isinstance(value, NextHopObject) else AF_UNSPEC
    body = _HEAD.pack(kind, 0, value.protocol, 0, 0)
    body += attribute(_NHA_ID, struct.pack("=I", value.id))
    if isinstance(value, NextHopGroup):
        members = b"".join(_MEMBER.pack(member, weight - 1, 0, 0) for member, weight in sorted(value.members))
        body += attribute(_NHA_GROUP, members)
    else:
        body += attribute(_NHA_OIF, struct.pack("=I", value.index))
        if value.gateway is not None:
            body += attribute(_NHA_GATEWAY, value.gateway.packed)
        body += encap_attributes(_NHA_ENCAP_TYPE, _NHA_ENCAP, value.segments)
    return Message(RTM_NEWNEXTHOP, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body, value)


def delete_object(value: Object) -> Message:
    """Its routes, and its places in groups, go with it."""
    body = _HEAD.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(_NHA_ID, struct.pack("=I", value.id))
    return Message(RTM_DELNEXTHOP, NLM_F_ACK, body, value)


def dump_objects() -> Message:
    return Message(RTM_GETNEXTHOP, NLM_F_DUMP, _HEAD.pack(AF_UNSPEC, 0, 0, 0, 0), "next hops")


def parse_object(payload: bytes) -> Object:
    family, _, protocol, _, _ = _HEAD.unpack_from(payload)
    values = dict(attributes(payload[8:]))
    id = number(values.get(_NHA_ID))
    if _NHA_GROUP in values:
        data = values[_NHA_GROUP]
        members = _MEMBER.iter_unpack(data[: len(data) // 8 * 8])
        return NextHopGroup(id, frozenset((member, weight + 1) for member, weight, _, _ in members), protocol)
    gateway = values.get(_NHA_GATEWAY)
    segments: tuple[IPv6Address, ...] = ()
    if values.get(_NHA_ENCAP_TYPE, b"")[:2] == struct.pack("=H", srv6.ENCAP_SEG6):
        segments = srv6.parse_encapsulation(values.get(_NHA_ENCAP, b""))
    return NextHopObject(
        id, family, number(values.get(_NHA_OIF)), ipaddress.ip_address(gateway) if gateway else None, segments, protocol
    )
