"""rtnetlink messages as bytes: links, addresses, queueing disciplines; and, from `wire` and `routes`, all the rest.

Only what Weft sends and reads; the general libraries cost half a second and 27 MB to import. No input, no output.
Source: rtnetlink(7), linux/rtnetlink.h, if_link.h, if_addr.h, pkt_sched.h.
"""

import ipaddress
import struct
from dataclasses import dataclass

from weft.network.southbound.routes import NextHop as NextHop
from weft.network.southbound.routes import Route as Route
from weft.network.southbound.routes import delete_route as delete_route
from weft.network.southbound.routes import dump_routes as dump_routes
from weft.network.southbound.routes import parse_route as parse_route
from weft.network.southbound.routes import replace_route as replace_route
from weft.network.southbound.wire import (
    AF_UNSPEC,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Address,
    attribute,
    attributes,
    family,
    number,
)
from weft.network.southbound.wire import PROTOCOL as PROTOCOL
from weft.network.southbound.wire import Message as Message

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWQDISC, RTM_DELQDISC = 36, 37
IFF_UP, IFF_LOWER_UP = 1, 0x10000
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_QDISC, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 6, 10, 18
_IFLA_OPERSTATE, _IFLA_NET_NS_FD = 16, 28
_IF_OPER_UP = 6
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_MODE = 4, 5, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6


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
    carrier: bool = False  # up, and the other end is too: known at once, where `operational` may follow later

    @property
    def awaited(self) -> bool:
        """Whether it will be operational in a moment."""
        return self.kind == "veth" and self.carrier and not self.operational


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of a link."""

    index: int
    address: Address
    prefix_length: int


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


def add_bridge(name: str, *, mtu: int = 0, mac: str = "", up: bool = False) -> Message:
    """A bridge; a fixed MAC keeps it from following its ports."""
    flags = IFF_UP if up else 0
    body = _ifinfo(0, flags, flags) + _name(name)
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


def _address(
    kind: int, flags: int, index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
) -> Message:
    packed = interface.ip.packed
    # Every address is unique by plan, and an IPv6 address that waits for DAD (RFC 4862) cannot be used for a second.
    flag = _IFA_F_NODAD if interface.version == 6 and kind == RTM_NEWADDR else 0
    body = struct.pack("=BBBBi", family(interface.ip), interface.network.prefixlen, flag, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Message(kind, NLM_F_ACK | flags, body, f"address {interface}")


def add_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Message:
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, interface)


def delete_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Message:
    return _address(RTM_DELADDR, 0, index, interface)


def dump_addresses() -> Message:
    return Message(RTM_GETADDR, NLM_F_DUMP, struct.pack("=BBBBi", AF_UNSPEC, 0, 0, 0, 0), "addresses")


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
        mtu=number(values.get(_IFLA_MTU)),
        master=number(values.get(_IFLA_MASTER)),
        address=values.get(_IFLA_ADDRESS, b"").hex(":"),
        kind=info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
        discipline=values.get(_IFLA_QDISC, b"").rstrip(b"\0").decode(),
        operational=values.get(_IFLA_OPERSTATE, b"")[:1] == bytes([_IF_OPER_UP]),
        carrier=bool(flags & IFF_LOWER_UP),
    )


def parse_address(payload: bytes) -> InterfaceAddress:
    _, length, _, _, index = struct.unpack_from("=BBBBi", payload)
    values = dict(attributes(payload[8:]))
    return InterfaceAddress(index, ipaddress.ip_address(values.get(_IFA_LOCAL) or values[_IFA_ADDRESS]), length)
