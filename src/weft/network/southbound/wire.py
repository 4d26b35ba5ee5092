"""What all rtnetlink messages share: headers, attributes, requests as values, and how errors are told.

In and out: bytes. The families build on it: `rtnetlink` (links, addresses), `routes`, `nexthops`, `nsid`.
Source: netlink(7), linux/netlink.h, linux/rtnetlink.h.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
_NLM_F_ACK_TLVS, _NLMSGERR_ATTR_MSG = 0x200, 1
_NLA_F_NESTED = 0x8000
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
# Marks the routes that Weft installs. Nobody else has it: 186 to 198 are FRR's (196 its static routes), and what a
# routing daemon in a lab installs is not ours to remove. The next number marks next hops that do not answer.
PROTOCOL = 206
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


@dataclass(frozen=True, slots=True)
class Message:
    """One request; `what`, as text, names its object in errors."""

    type: int
    flags: int
    payload: bytes
    what: object


def attribute(kind: int, data: bytes) -> bytes:
    """struct rtattr, padded to four bytes."""
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + _PADDING[len(data) & 3]


def nested(kind: int, content: bytes) -> bytes:
    """An attribute that holds others; newer parts of the kernel insist that it says so."""
    return attribute(kind | _NLA_F_NESTED, content)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a block; a malformed rest ends it."""
    offset, size = 0, len(data)
    while offset + 4 <= size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > size:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def encode(message: Message, sequence: int, *, acknowledge: bool = True) -> bytes:
    """struct nlmsghdr and payload. Errors are told in any case; `acknowledge` False drops the word that all is well."""
    length = 16 + len(message.payload)
    flags = message.flags | NLM_F_REQUEST
    if not acknowledge:
        flags &= ~NLM_F_ACK
    return _HEADER.pack(length, message.type, flags, sequence, 0) + message.payload + _PADDING[length & 3]


def decode(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, payload) of each message in a datagram."""
    offset, size = 0, len(data)
    while offset + 16 <= size:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > size:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def parse_error(flags: int, payload: bytes) -> tuple[int, str]:
    """(errno, the kernel's own words if it has any) of an NLMSG_ERROR on a socket with capped, extended answers."""
    code = -int(struct.unpack_from("=i", payload)[0])
    values = dict(attributes(payload[20:])) if flags & _NLM_F_ACK_TLVS else {}
    return code, values.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def number(data: bytes | None) -> int:
    """A u32 attribute; 0 where there is none."""
    return int(struct.unpack("=I", data[:4])[0]) if data and len(data) >= 4 else 0


def family(value: Address | Network) -> int:
    return AF_INET if value.version == 4 else AF_INET6
