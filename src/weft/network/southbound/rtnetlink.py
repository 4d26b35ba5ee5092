"""rtnetlink messages as bytes: links, addresses, routes, neighbours, queueing disciplines. No input, no output.

Only what Weft sends and reads; the general libraries cost half a second and 27 MB to import.
Source: rtnetlink(7), linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, pkt_sched.h.
"""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
_NLM_F_ACK_TLVS, _NLMSGERR_ATTR_MSG = 0x200, 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWQDISC, RTM_DELQDISC = 36, 37
IFF_UP = 1
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_QDISC, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 6, 10, 18
_IFLA_OPERSTATE, _IFLA_NET_NS_FD = 16, 28
_IF_OPER_UP = 6
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_MODE = 4, 5, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_TABLE = 1, 4, 5, 6, 7, 9, 15
_RT_TABLE_MAIN, _RTN_UNSPEC, _RTN_UNICAST, _RTN_BLACKHOLE = 254, 0, 1, 6
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_NOWHERE = 0, 253, 255
_RTNH_F_DEAD = 1
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6
PROTOCOL = 196  # marks the routes that Weft installs; unassigned in rtnetlink(7)'s list and iproute2's rt_protos
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Message:
    """One request; `what` names its object in errors."""

    type: int
    flags: int
    payload: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel shows it."""

    index: int
    name: str
    up: bool
    mtu: int = 0
    master: int = 0
    address: str = ""
    kind: str = ""
    discipline: str = ""  # the queueing discipline at its root
    operational: bool = False  # RFC 2863: up, and it has a carrier


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of a link."""

    index: int
    address: Address
    prefix_length: int


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a route goes on: a gateway, or straight onto the link; weight 1 to 256."""

    index: int
    gateway: Address | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table; `protocol` tells who made it."""

    destination: Network
    next_hops: tuple[NextHop, ...] = ()
    metric: int = 0
    protocol: int = PROTOCOL
    source: Address | None = None
    scope: int = field(default=_RT_SCOPE_UNIVERSE, compare=False)


def attribute(kind: int, data: bytes) -> bytes:
    """struct rtattr, padded to four bytes."""
    return struct.pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a block; a malformed rest ends it."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def encode(message: Message, sequence: int) -> bytes:
    """struct nlmsghdr and payload."""
    length = 16 + len(message.payload)
    header = struct.pack("=IHHII", length, message.type, message.flags | NLM_F_REQUEST, sequence, 0)
    return header + message.payload + b"\0" * (-length % 4)


def decode(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, payload) of each message in a datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        if length < 16 or offset + length > len(data):
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def parse_error(flags: int, payload: bytes) -> tuple[int, str]:
    """(errno, the kernel's own words if it has any) of an NLMSG_ERROR on a socket with capped, extended answers."""
    code = -int(struct.unpack_from("=i", payload)[0])
    values = dict(attributes(payload[20:])) if flags & _NLM_F_ACK_TLVS else {}
    return code, values.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", AF_UNSPEC, 0, index, flags, change)


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _info(kind: str, data: bytes = b"") -> bytes:
    content = attribute(_IFLA_INFO_KIND, kind.encode())
    return attribute(_IFLA_LINKINFO, content + (attribute(_IFLA_INFO_DATA, data) if data else b""))


def add_veth(
    name: str,
    peer: str,
    *,
    netns: int | None = None,
    peer_netns: int | None = None,
    master: int = 0,
    mtu: int = 0,
    up: bool = False,
    peer_mac: str = "",
) -> Message:
    """A veth pair; each end in the namespace of a file descriptor, or here."""
    flags = IFF_UP if up else 0
    size = attribute(_IFLA_MTU, struct.pack("=I", mtu)) if mtu else b""
    other = _ifinfo() + _name(peer) + size
    if peer_mac:
        other += attribute(_IFLA_ADDRESS, _mac(peer_mac))
    if peer_netns is not None:
        other += attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_netns))
    body = _ifinfo(0, flags, flags) + _name(name) + size
    if master:
        body += attribute(_IFLA_MASTER, struct.pack("=I", master))
    if netns is not None:
        body += attribute(_IFLA_NET_NS_FD, struct.pack("=I", netns))
    body += _info("veth", attribute(_VETH_INFO_PEER, other))
    return Message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body, f"link {name}")


def add_bridge(name: str, *, mtu: int = 0, mac: str = "") -> Message:
    """A bridge; a fixed MAC keeps it from following its ports."""
    body = _ifinfo() + _name(name)
    if mtu:
        body += attribute(_IFLA_MTU, struct.pack("=I", mtu))
    if mac:
        body += attribute(_IFLA_ADDRESS, _mac(mac))
    return Message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body + _info("bridge"), f"bridge {name}")


def set_link(index: int, what: str, *, up: bool | None = None, master: int | None = None, mtu: int = 0) -> Message:
    body = _ifinfo(index, IFF_UP if up else 0, IFF_UP if up is not None else 0)
    if master is not None:
        body += attribute(_IFLA_MASTER, struct.pack("=I", master))
    if mtu:
        body += attribute(_IFLA_MTU, struct.pack("=I", mtu))
    return Message(RTM_SETLINK, NLM_F_ACK, body, f"link {what}")


def set_hairpin(name: str) -> Message:
    """Lets a bridge send a frame back by the port that it came from."""
    content = attribute(_IFLA_INFO_SLAVE_KIND, b"bridge")
    content += attribute(_IFLA_INFO_SLAVE_DATA, attribute(_IFLA_BRPORT_MODE, b"\1"))
    body = _ifinfo() + _name(name) + attribute(_IFLA_LINKINFO, content)
    return Message(RTM_NEWLINK, NLM_F_ACK, body, f"bridge port {name}")


def delete_link(name: str) -> Message:
    return Message(RTM_DELLINK, NLM_F_ACK, _ifinfo() + _name(name), f"link {name}")


def get_link(name: str) -> Message:
    return Message(RTM_GETLINK, 0, _ifinfo() + _name(name), f"link {name}")


def dump_links() -> Message:
    return Message(RTM_GETLINK, NLM_F_DUMP, _ifinfo(), "links")


def _family(value: Address | Network) -> int:
    return AF_INET if value.version == 4 else AF_INET6


def _address(
    kind: int, flags: int, index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
) -> Message:
    packed = interface.ip.packed
    body = struct.pack("=BBBBi", _family(interface.ip), interface.network.prefixlen, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Message(kind, NLM_F_ACK | flags, body, f"address {interface}")


def add_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Message:
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, interface)


def delete_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Message:
    return _address(RTM_DELADDR, 0, index, interface)


def dump_addresses() -> Message:
    return Message(RTM_GETADDR, NLM_F_DUMP, struct.pack("=BBBBi", AF_UNSPEC, 0, 0, 0, 0), "addresses")


def _route(kind: int, flags: int, route: Route) -> Message:
    action, scope = (_RTN_UNICAST if route.next_hops else _RTN_BLACKHOLE), _RT_SCOPE_UNIVERSE
    if kind == RTM_DELROUTE:
        action, scope = _RTN_UNSPEC, _RT_SCOPE_NOWHERE  # whichever it has
    elif route.next_hops and all(hop.gateway is None for hop in route.next_hops):
        scope = _RT_SCOPE_LINK
    body = struct.pack(
        "=BBBBBBBBI", _family(route.destination), route.destination.prefixlen, 0, 0,
        _RT_TABLE_MAIN, route.protocol, scope, action, 0,
    )  # fmt: skip
    if route.destination.prefixlen:
        body += attribute(_RTA_DST, route.destination.network_address.packed)
    if route.metric:
        body += attribute(_RTA_PRIORITY, struct.pack("=I", route.metric))
    if route.source is not None:
        body += attribute(_RTA_PREFSRC, route.source.packed)
    if len(route.next_hops) == 1:
        hop = route.next_hops[0]
        body += attribute(_RTA_OIF, struct.pack("=I", hop.index)) if hop.index else b""
        body += attribute(_RTA_GATEWAY, hop.gateway.packed) if hop.gateway is not None else b""
    elif route.next_hops:
        hops = b""
        for hop in route.next_hops:
            gateway = attribute(_RTA_GATEWAY, hop.gateway.packed) if hop.gateway is not None else b""
            hops += struct.pack("=HBBi", 8 + len(gateway), 0, hop.weight - 1, hop.index) + gateway
        body += attribute(_RTA_MULTIPATH, hops)
    return Message(kind, NLM_F_ACK | flags, body, f"route {route.destination}")


def replace_route(route: Route) -> Message:
    """Adds the route or takes the place of the one with the same destination and metric."""
    return _route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route)


def delete_route(route: Route) -> Message:
    return _route(RTM_DELROUTE, 0, route)


def dump_routes() -> Message:
    return Message(RTM_GETROUTE, NLM_F_DUMP, struct.pack("=BBBBBBBBI", AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0), "routes")


def add_tbf(index: int, what: str, bits_per_second: int, *, burst: int = 0, latency: float = 0.05) -> Message:
    """A token bucket at the root of the link (tc-tbf(8)): rate in bits, burst in bytes, queue for `latency` seconds."""
    rate = bits_per_second // 8
    burst = burst or max(32 * 1024, rate // 250)
    limit = int(rate * latency) + burst
    ticks = int(burst * 15_625_000 / rate)  # of 64 ns, as psched counts; the kernel takes burst from TCA_TBF_BURST
    spec = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, min(rate, 0xFFFFFFFF))
    params = spec + struct.pack("=BBHhHI", 0, 0, 0, 0, 0, 0) + struct.pack("=III", limit, min(ticks, 0xFFFFFFFF), 0)
    options = attribute(_TCA_TBF_PARMS, params) + attribute(_TCA_TBF_BURST, struct.pack("=I", burst))
    if rate > 0xFFFFFFFF:
        options += attribute(_TCA_TBF_RATE64, struct.pack("=Q", rate))
    body = struct.pack("=BxxxiIII", AF_UNSPEC, index, 0x10000, 0xFFFFFFFF, 0)
    body += attribute(_TCA_KIND, b"tbf\0") + attribute(_TCA_OPTIONS, options)
    return Message(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, body, f"rate of link {what}")


def delete_qdisc(index: int, what: str) -> Message:
    body = struct.pack("=BxxxiIII", AF_UNSPEC, index, 0, 0xFFFFFFFF, 0)
    return Message(RTM_DELQDISC, NLM_F_ACK, body, f"rate of link {what}")


def parse_link(payload: bytes) -> Link:
    _, index, flags, _ = struct.unpack_from("=HxxiII", payload)
    values = dict(attributes(payload[16:]))
    info = dict(attributes(values.get(_IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=values.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        up=bool(flags & IFF_UP),
        mtu=_number(values.get(_IFLA_MTU)),
        master=_number(values.get(_IFLA_MASTER)),
        address=values.get(_IFLA_ADDRESS, b"").hex(":"),
        kind=info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
        discipline=values.get(_IFLA_QDISC, b"").rstrip(b"\0").decode(),
        operational=values.get(_IFLA_OPERSTATE, b"")[:1] == bytes([_IF_OPER_UP]),
    )


def parse_address(payload: bytes) -> InterfaceAddress:
    _, length, _, _, index = struct.unpack_from("=BBBBi", payload)
    values = dict(attributes(payload[8:]))
    return InterfaceAddress(index, ipaddress.ip_address(values.get(_IFA_LOCAL) or values[_IFA_ADDRESS]), length)


def parse_route(payload: bytes) -> Route | None:
    """None for what is not a unicast route (or blackhole) of the main table."""
    family, length, _, _, table, protocol, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", payload)
    values = dict(attributes(payload[12:]))
    table = _number(values.get(_RTA_TABLE)) or table
    if table != _RT_TABLE_MAIN or kind not in (_RTN_UNICAST, _RTN_BLACKHOLE) or flags & 0x200:
        return None
    packed = values.get(_RTA_DST, b"\0" * (4 if family == AF_INET else 16))
    destination = ipaddress.ip_network((packed, length))
    hops: Sequence[NextHop] = ()
    if _RTA_MULTIPATH in values:
        hops = tuple(_next_hops(values[_RTA_MULTIPATH]))
    elif kind == _RTN_UNICAST:
        gateway = values.get(_RTA_GATEWAY)
        hops = (NextHop(_number(values.get(_RTA_OIF)), ipaddress.ip_address(gateway) if gateway else None),)
    source = values.get(_RTA_PREFSRC)
    return Route(
        destination, tuple(hops), _number(values.get(_RTA_PRIORITY)), protocol,
        ipaddress.ip_address(source) if source else None, scope,
    )  # fmt: skip


def _next_hops(data: bytes) -> Iterator[NextHop]:
    offset = 0
    while offset + 8 <= len(data):
        length, _, hops, index = struct.unpack_from("=HBBi", data, offset)
        if length < 8:
            return
        values = dict(attributes(data[offset + 8 : offset + length]))
        gateway = values.get(_RTA_GATEWAY)
        yield NextHop(index, ipaddress.ip_address(gateway) if gateway else None, hops + 1)
        offset += (length + 3) & ~3


def _number(data: bytes | None) -> int:
    return int(struct.unpack("=I", data[:4])[0]) if data and len(data) >= 4 else 0
