"""OpenFlow extensible match (OpenFlow 1.3.5, 7.2.3): from fields as numbers to TLVs and back.

Every value is an unsigned integer as wide as its field, so addresses of all families are treated alike. A match is
kept in one order and without redundant masks, so what was asked for and what a switch tells back compare equal.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from weft.core.errors import InvalidError

BASIC = 0x8000
VLAN_PRESENT = 0x1000  # the bit of vlan_vid that tells a tagged packet (7.2.3.7)


class OpenFlowError(InvalidError):
    """Bytes that are no OpenFlow 1.3, or a message that OpenFlow 1.3 cannot express."""


# Name -> number in class OPENFLOW_BASIC and length in bytes (7.2.3.7, table 12).
FIELDS: Mapping[str, tuple[int, int]] = {
    "in_port": (0, 4), "in_phy_port": (1, 4), "metadata": (2, 8), "eth_dst": (3, 6), "eth_src": (4, 6),
    "eth_type": (5, 2), "vlan_vid": (6, 2), "vlan_pcp": (7, 1), "ip_dscp": (8, 1), "ip_ecn": (9, 1),
    "ip_proto": (10, 1), "ipv4_src": (11, 4), "ipv4_dst": (12, 4), "tcp_src": (13, 2), "tcp_dst": (14, 2),
    "udp_src": (15, 2), "udp_dst": (16, 2), "icmpv4_type": (19, 1), "icmpv4_code": (20, 1), "arp_op": (21, 2),
    "arp_spa": (22, 4), "arp_tpa": (23, 4), "arp_sha": (24, 6), "arp_tha": (25, 6), "ipv6_src": (26, 16),
    "ipv6_dst": (27, 16), "ipv6_flabel": (28, 4), "icmpv6_type": (29, 1), "icmpv6_code": (30, 1),
    "ipv6_nd_target": (31, 16), "ipv6_nd_sll": (32, 6), "ipv6_nd_tll": (33, 6), "tunnel_id": (38, 8),
}  # fmt: skip
_BY_CODE = {BASIC << 7 | number: (name, size) for name, (number, size) in FIELDS.items()}
_CODES = {name: (BASIC << 7 | number, size) for name, (number, size) in FIELDS.items()}

Value = int | str | bytes | IPv4Address | IPv4Network | IPv6Address | IPv6Network


@dataclass(frozen=True, slots=True)
class Field:
    """One TLV: `code` is the OXM class and field number (unknown ones are carried too), `size` in bytes."""

    code: int
    size: int
    value: int
    mask: int | None = None

    def __post_init__(self) -> None:
        top = 1 << 8 * self.size
        if not 0 <= self.code < 1 << 23 or not 0 < self.size < 128:
            raise OpenFlowError(f"cannot use OXM field {self.code:#x} of {self.size} bytes")
        if not 0 <= self.value < top:
            raise OpenFlowError(f"cannot use {self.value} for OXM field {self.code:#x}: more than {self.size} bytes")
        if self.code in _BY_CODE and _BY_CODE[self.code][1] != self.size:
            raise OpenFlowError(f"cannot use {self.size} bytes for {_BY_CODE[self.code][0]}")
        if self.mask is not None and (not 0 < self.mask < top - 1 or self.value & ~self.mask):
            raise OpenFlowError(f"cannot use mask {self.mask:#x} for value {self.value:#x}")

    @property
    def name(self) -> str:
        known = _BY_CODE.get(self.code)
        return known[0] if known else f"oxm_{self.code:#x}"

    def encode(self) -> bytes:
        if self.mask is None:
            return (self.code << 9 | self.size).to_bytes(4) + self.value.to_bytes(self.size)
        head = self.code << 9 | 0x100 | 2 * self.size
        return head.to_bytes(4) + self.value.to_bytes(self.size) + self.mask.to_bytes(self.size)


@lru_cache(65536)
def field(name: str, value: Value) -> Field:
    """A field by name: a number, a MAC address, an IP address or a network (which is a value and a mask)."""
    if name not in _CODES:
        raise OpenFlowError(f"cannot match {name!r}: no such field")
    code, size = _CODES[name]
    if isinstance(value, str):
        try:
            if size == 6:
                value = bytes.fromhex(value.replace(":", ""))
            elif size == 4:
                value = IPv4Network(value)
            else:
                value = IPv6Network(value)
        except ValueError as error:
            raise OpenFlowError(f"cannot match {name} with {value!r}: {error}")
    if isinstance(value, IPv4Network | IPv6Network):
        full = (1 << 8 * size) - 1
        mask = int(value.netmask)
        return Field(code, size, int(value.network_address), None if mask == full else mask)
    if isinstance(value, bytes):
        if len(value) != size:
            raise OpenFlowError(f"cannot match {name} with {len(value)} bytes: it has {size}")
        value = int.from_bytes(value)
    return Field(code, size, int(value))


@dataclass(frozen=True, slots=True)
class Match:
    """The conjunction of its fields, each at most once; an empty match takes every packet."""

    fields: tuple[Field, ...] = ()

    def __post_init__(self) -> None:
        if len(self.fields) > 1:
            codes = [each.code for each in self.fields]
            if len(set(codes)) != len(codes):
                raise OpenFlowError("cannot match a field twice")
            if codes != sorted(codes):
                object.__setattr__(self, "fields", tuple(sorted(self.fields, key=lambda each: each.code)))

    def get(self, name: str) -> int | None:
        """The value of a field that is matched exactly."""
        code = _CODES[name][0]
        return next((each.value for each in self.fields if each.code == code and each.mask is None), None)

    def encode(self) -> bytes:
        body = b"".join([each.encode() for each in self.fields])
        length = 4 + len(body)
        return struct.pack("!HH", 1, length) + body + bytes(-length % 8)


ANYTHING = Match()


def match(**fields: Value) -> Match:
    """`match(in_port=1, eth_type=0x0800, ipv4_dst="10.0.0.0/8")`."""
    return Match(tuple([field(name, value) for name, value in fields.items()]))


def decode_field(data: memoryview, at: int, end: int) -> tuple[Field | None, int]:
    """The field at `at` and where the next begins; None for one whose mask is empty, which says nothing."""
    (head,) = struct.unpack_from("!I", data, at)
    code, masked, length = head >> 9, head & 0x100, head & 0xFF
    body = bytes(data[at + 4 : at + 4 + length])
    after = at + 4 + length
    if after > end or not length or (masked and length % 2):
        raise OpenFlowError(f"cannot read OXM field {code:#x} of length {length}")
    if not masked:
        return Field(code, length, int.from_bytes(body)), after
    size = length // 2
    value, mask = int.from_bytes(body[:size]), int.from_bytes(body[size:])
    if mask == 0 and value == 0:
        return None, after
    return Field(code, size, value, None if mask == (1 << 8 * size) - 1 else mask), after


def decode_match(data: memoryview, at: int) -> tuple[Match, int]:
    """The match at `at` and where its padding ends."""
    kind, length = struct.unpack_from("!HH", data, at)
    end = at + length
    after = at + (length + 7) // 8 * 8
    if kind != 1 or length < 4 or after > len(data):
        raise OpenFlowError(f"cannot read a match of type {kind} and length {length}")
    fields = []
    at += 4
    while at < end:
        found, at = decode_field(data, at, end)
        if found is not None:
            fields.append(found)
    return Match(tuple(fields)), after
