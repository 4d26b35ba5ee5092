"""Routes as bytes: by next hops of their own or by a next-hop object, blackholes, and segments that end here.

In: `Route` values. Out: requests for `netlink`, and what a dump says as `Route` values again.
Source: rtnetlink(7), linux/rtnetlink.h, lwtunnel.h.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from weft.network.southbound import segments as srv6
from weft.network.southbound.wire import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    PROTOCOL,
    Address,
    Message,
    Network,
    attribute,
    attributes,
    family,
    nested,
    number,
)

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_TABLE = 1, 4, 5, 6, 7, 9, 15
_RTA_VIA, _RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_NH_ID = 18, 21, 22, 30
_RT_TABLE_MAIN, _RTN_UNSPEC, _RTN_UNICAST, _RTN_BLACKHOLE = 254, 0, 1, 6
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_NOWHERE = 0, 253, 255
_RTM_F_CLONED = 0x200
DEFAULT_METRIC_6 = 1024  # IP6_RT_PRIO_USER: what the kernel makes of a metric of 0 in IPv6


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a route goes on: a gateway, or straight onto the link; weight 1 to 256. With `segments` (first to last) it
    goes on inside an IPv6 packet that visits them."""

    index: int
    gateway: Address | None = None
    weight: int = 1
    segments: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table; `protocol` tells who made it.

    With `object` it goes where the next-hop object of this id says (`next_hops` then only repeat it, in a dump). With
    `local` it is a segment id of this node. Without any of the three it drops (blackhole).
    """

    destination: Network
    next_hops: tuple[NextHop, ...] = ()
    metric: int = 0
    protocol: int = PROTOCOL
    source: Address | None = None
    object: int = 0
    local: srv6.LocalAction | None = None
    scope: int = field(default=_RT_SCOPE_UNIVERSE, compare=False)

    def __str__(self) -> str:
        return f"route {self.destination}"


_HEAD = struct.Struct("=BBBBBBBBI")


def _gateway(destination_family: int, gateway: Address | None) -> bytes:
    """RTA_GATEWAY, or RTA_VIA where an IPv4 route has an IPv6 neighbour (RFC 8950 in the kernel)."""
    if gateway is None:
        return b""
    if family(gateway) == destination_family:
        return attribute(_RTA_GATEWAY, gateway.packed)
    return attribute(_RTA_VIA, struct.pack("=H", family(gateway)) + gateway.packed)


def encap_attributes(kind: int, encap: int, segments: tuple[IPv6Address, ...]) -> bytes:
    """The two attributes of an encapsulation; routes and next-hop objects number them differently."""
    if not segments:
        return b""
    return attribute(kind, struct.pack("=H", srv6.ENCAP_SEG6)) + nested(encap, srv6.encapsulation(segments))


def _body(kind: int, route: Route) -> bytes:
    blackhole = not (route.next_hops or route.object)
    action, scope = (_RTN_BLACKHOLE if blackhole else _RTN_UNICAST), _RT_SCOPE_UNIVERSE
    version = family(route.destination)
    if kind == RTM_DELROUTE:
        action, scope = _RTN_UNSPEC, _RT_SCOPE_NOWHERE  # whichever it has
    elif route.next_hops and not route.object and all(hop.gateway is None for hop in route.next_hops):
        scope = _RT_SCOPE_LINK
    length = route.destination.prefixlen
    body = _HEAD.pack(version, length, 0, 0, _RT_TABLE_MAIN, route.protocol, scope, action, 0)
    if length:
        body += attribute(_RTA_DST, route.destination.network_address.packed)
    if route.metric:
        body += attribute(_RTA_PRIORITY, struct.pack("=I", route.metric))
    if route.source is not None:
        body += attribute(_RTA_PREFSRC, route.source.packed)
    if route.object:
        return body + attribute(_RTA_NH_ID, struct.pack("=I", route.object))
    if route.local is not None:
        body += attribute(_RTA_ENCAP_TYPE, struct.pack("=H", srv6.ENCAP_SEG6_LOCAL))
        body += nested(_RTA_ENCAP, srv6.local(route.local))
    if len(route.next_hops) == 1:
        hop = route.next_hops[0]
        body += attribute(_RTA_OIF, struct.pack("=I", hop.index)) if hop.index else b""
        body += _gateway(version, hop.gateway) + encap_attributes(_RTA_ENCAP_TYPE, _RTA_ENCAP, hop.segments)
    elif route.next_hops:
        body += attribute(_RTA_MULTIPATH, b"".join(_hop(version, hop) for hop in route.next_hops))
    return body


def _hop(version: int, hop: NextHop) -> bytes:
    content = _gateway(version, hop.gateway) + encap_attributes(_RTA_ENCAP_TYPE, _RTA_ENCAP, hop.segments)
    return struct.pack("=HBBi", 8 + len(content), 0, hop.weight - 1, hop.index) + content


def replace_route(route: Route) -> Message:
    """Adds the route or takes the place of the one with the same destination and metric."""
    return Message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, _body(RTM_NEWROUTE, route), route)


def delete_route(route: Route) -> Message:
    return Message(RTM_DELROUTE, NLM_F_ACK, _body(RTM_DELROUTE, route), route)


def dump_routes() -> Message:
    return Message(RTM_GETROUTE, NLM_F_DUMP, _HEAD.pack(AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0), "routes")


def parse_route(payload: bytes) -> Route | None:
    """None for what is not a unicast route (or blackhole) of the main table."""
    version, length, _, _, table, protocol, scope, kind, flags = _HEAD.unpack_from(payload)
    if kind not in (_RTN_UNICAST, _RTN_BLACKHOLE) or flags & _RTM_F_CLONED or version not in (AF_INET, AF_INET6):
        return None
    values = dict(attributes(payload[12:]))
    table = number(values.get(_RTA_TABLE)) or table
    if table != _RT_TABLE_MAIN:
        return None
    packed = values.get(_RTA_DST, b"\0" * (4 if version == AF_INET else 16))
    destination = ipaddress.ip_network((packed, length))
    hops: tuple[NextHop, ...] = ()
    local = None
    if _RTA_MULTIPATH in values:
        hops = tuple(_next_hops(values[_RTA_MULTIPATH]))
    elif kind == _RTN_UNICAST:
        hops = (NextHop(number(values.get(_RTA_OIF)), _parse_gateway(values), 1, _parse_segments(values)),)
        if values.get(_RTA_ENCAP_TYPE, b"")[:2] == struct.pack("=H", srv6.ENCAP_SEG6_LOCAL):
            local = srv6.parse_local(values.get(_RTA_ENCAP, b""))
    source = values.get(_RTA_PREFSRC)
    return Route(
        destination, hops, number(values.get(_RTA_PRIORITY)), protocol,
        ipaddress.ip_address(source) if source else None, number(values.get(_RTA_NH_ID)), local, scope,
    )  # fmt: skip


def _parse_gateway(values: dict[int, bytes]) -> Address | None:
    packed = values.get(_RTA_GATEWAY) or values.get(_RTA_VIA, b"")[2:]
    return ipaddress.ip_address(packed) if packed else None


def _parse_segments(values: dict[int, bytes]) -> tuple[IPv6Address, ...]:
    if values.get(_RTA_ENCAP_TYPE, b"")[:2] != struct.pack("=H", srv6.ENCAP_SEG6):
        return ()
    return srv6.parse_encapsulation(values.get(_RTA_ENCAP, b""))


def _next_hops(data: bytes) -> Iterator[NextHop]:
    offset = 0
    while offset + 8 <= len(data):
        length, _, hops, index = struct.unpack_from("=HBBi", data, offset)
        if length < 8:
            return
        values = dict(attributes(data[offset + 8 : offset + length]))
        yield NextHop(index, _parse_gateway(values), hops + 1, _parse_segments(values))
        offset += (length + 3) & ~3
