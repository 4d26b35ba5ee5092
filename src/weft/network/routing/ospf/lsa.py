"""Link-state advertisements: values, wire format and checksum (RFC 2328, 12 and A.4).

In: bytes. Out: `Lsa` values, or PacketError. An `Lsa` has no age: that is a fact of the place where it is kept
(`database`). Equal bytes give the same object, so that a thousand simulated routers share one copy of each LSA.
Identifiers are 32-bit numbers here; `routes` turns them into addresses.
"""

import struct
from dataclasses import dataclass, field
from functools import lru_cache

from weft.network.routing.protocol import PacketError

ROUTER, NETWORK, SUMMARY, ASBR_SUMMARY, EXTERNAL = 1, 2, 3, 4, 5
POINT_TO_POINT, TRANSIT, STUB, VIRTUAL = 1, 2, 3, 4
FLAG_B, FLAG_E, FLAG_V = 1, 2, 4
OPTION_E = 2
INITIAL_SEQUENCE, MAX_SEQUENCE = -0x7FFFFFFF, 0x7FFFFFFF
MAX_AGE, MAX_AGE_DIFF, REFRESH_TIME, CHECK_AGE = 3600, 900, 1800, 300
LS_INFINITY = 0xFFFFFF
HEADER_LENGTH = 20
_HEADER = struct.Struct("!HBBIIiHH")
_LINK = struct.Struct("!IIBBH")

Key = tuple[int, int, int]  # LS type, link state ID, advertising router


@dataclass(frozen=True, slots=True)
class LsaHeader:
    """Identifies one instance of an LSA (A.4.1)."""

    age: int
    options: int
    type: int
    id: int
    router: int
    sequence: int
    checksum: int
    length: int

    @property
    def key(self) -> Key:
        return self.type, self.id, self.router

    def encode(self) -> bytes:
        return _HEADER.pack(
            self.age, self.options, self.type, self.id, self.router, self.sequence, self.checksum, self.length
        )


@dataclass(frozen=True, slots=True)
class RouterLink:
    """A.4.2: what `id` and `data` mean depends on `type`."""

    type: int
    id: int
    data: int
    metric: int


@dataclass(frozen=True, slots=True)
class RouterBody:
    flags: int
    links: tuple[RouterLink, ...]

    def encode(self) -> bytes:
        links = b"".join(_LINK.pack(link.id, link.data, link.type, 0, link.metric) for link in self.links)
        return struct.pack("!BBH", self.flags, 0, len(self.links)) + links


@dataclass(frozen=True, slots=True)
class NetworkBody:
    """A.4.3: the routers that are fully adjacent to the Designated Router, itself among them."""

    mask: int
    routers: tuple[int, ...]

    def encode(self) -> bytes:
        return struct.pack(f"!I{len(self.routers)}I", self.mask, *self.routers)


@dataclass(frozen=True, slots=True)
class SummaryBody:
    """A.4.4, for a network (type 3) or an AS boundary router (type 4, mask 0)."""

    mask: int
    metric: int

    def encode(self) -> bytes:
        return struct.pack("!II", self.mask, self.metric)


@dataclass(frozen=True, slots=True)
class ExternalBody:
    """A.4.5; `type_2` metrics are above any cost inside of the AS."""

    mask: int
    type_2: bool
    metric: int
    forwarding: int = 0
    tag: int = 0

    def encode(self) -> bytes:
        return struct.pack("!IIII", self.mask, self.type_2 << 31 | self.metric, self.forwarding, self.tag)


Body = RouterBody | NetworkBody | SummaryBody | ExternalBody


@dataclass(frozen=True, slots=True, eq=False)
class Lsa:
    """One instance, with the bytes that follow the age."""

    options: int
    type: int
    id: int
    router: int
    sequence: int
    checksum: int
    body: Body
    raw: bytes
    key: Key = field(init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.type, self.id, self.router))
        object.__setattr__(self, "length", len(self.raw) + 2)

    def header(self, age: int) -> LsaHeader:
        return LsaHeader(age, self.options, self.type, self.id, self.router, self.sequence, self.checksum, self.length)

    def encode(self, age: int) -> bytes:
        return age.to_bytes(2, "big") + self.raw


def make_lsa(options: int, kind: int, lsid: int, router: int, sequence: int, body: Body) -> Lsa:
    """A new instance with its checksum."""
    content = body.encode()
    head = struct.pack("!BBIIiHH", options, kind, lsid, router, sequence, 0, HEADER_LENGTH + len(content))
    raw = bytearray(head + content)
    raw[14:16] = fletcher(raw).to_bytes(2, "big")
    return _decode(bytes(raw))


def fletcher(data: bytes | bytearray) -> int:
    """The checksum of an LSA less its age, whose own field (at byte 14) is zero (RFC 2328, 12.1.7; RFC 905, B)."""
    c0, c1 = _sums(data)
    rest = len(data) - 14
    x = ((rest - 1) * c0 - c1) % 255 or 255
    y = (c1 - rest * c0) % 255 or 255
    return x << 8 | y


def _sums(data: bytes | bytearray) -> tuple[int, int]:
    c0 = c1 = 0
    for byte in data:
        c0 += byte
        c1 += c0
    return c0 % 255, c1 % 255


def decode_header(data: bytes, offset: int = 0) -> LsaHeader:
    if len(data) < offset + HEADER_LENGTH:
        raise PacketError(f"LSA header at byte {offset} is cut short")
    header = LsaHeader(*_HEADER.unpack_from(data, offset))
    if header.length < HEADER_LENGTH:
        raise PacketError(f"LSA at byte {offset} has a length of {header.length}")
    return header


def decode_lsa(data: bytes, offset: int, length: int) -> tuple[int, Lsa]:
    """(age, LSA) of the `length` bytes at `offset`."""
    age = min(int.from_bytes(data[offset : offset + 2], "big") & 0x7FFF, MAX_AGE)
    return age, _decode(data[offset + 2 : offset + length])


@lru_cache(16384)
def _decode(raw: bytes) -> Lsa:
    options, kind, lsid, router, sequence, checksum, length = struct.unpack_from("!BBIIiHH", raw)
    if length != len(raw) + 2:
        raise PacketError(f"LSA has a length of {length}, and {len(raw) + 2} bytes")
    if checksum == 0 or _sums(raw) != (0, 0):
        raise PacketError("LSA has a wrong checksum")
    if sequence < INITIAL_SEQUENCE:
        raise PacketError("LSA has the reserved sequence number 0x80000000")
    return Lsa(options, kind, lsid, router, sequence, checksum, _decode_body(kind, raw[18:]), raw)


def _decode_body(kind: int, data: bytes) -> Body:
    if kind == ROUTER:
        return _decode_router(data)
    if kind == NETWORK:
        if len(data) < 8 or len(data) % 4:
            raise PacketError(f"network-LSA has a body of {len(data)} bytes")
        mask, *routers = struct.unpack(f"!{len(data) // 4}I", data)
        return NetworkBody(_mask(mask), tuple(routers))
    if kind in (SUMMARY, ASBR_SUMMARY):
        if len(data) < 8:
            raise PacketError(f"summary-LSA has a body of {len(data)} bytes")
        mask, metric = struct.unpack_from("!II", data)
        return SummaryBody(_mask(mask) if kind == SUMMARY else mask, metric & LS_INFINITY)
    if kind == EXTERNAL:
        if len(data) < 16:
            raise PacketError(f"AS-external-LSA has a body of {len(data)} bytes")
        mask, metric, forwarding, tag = struct.unpack_from("!IIII", data)
        return ExternalBody(_mask(mask), bool(metric >> 31), metric & LS_INFINITY, forwarding, tag)
    raise PacketError(f"LSA is of the unknown type {kind}")


def _decode_router(data: bytes) -> RouterBody:
    if len(data) < 4:
        raise PacketError(f"router-LSA has a body of {len(data)} bytes")
    flags, _, count = struct.unpack_from("!BBH", data)
    links = []
    offset = 4
    for _ in range(count):
        if offset + 12 > len(data):
            raise PacketError(f"router-LSA tells of {count} links and is cut short")
        lsid, link_data, kind, tos, metric = _LINK.unpack_from(data, offset)
        links.append(RouterLink(kind, lsid, link_data, metric))
        offset += 12 + 4 * tos  # TOS metrics are of old (RFC 2328, A.4.2)
    if offset != len(data):
        raise PacketError(f"router-LSA has {len(data) - offset} bytes too many")
    return RouterBody(flags, tuple(links))


def _mask(value: int) -> int:
    inverse = value ^ 0xFFFFFFFF
    if inverse & (inverse + 1):
        raise PacketError(f"LSA has a mask with holes, {value:#010x}")
    return value


def newer(a: LsaHeader, b: LsaHeader) -> int:
    """As `compare`, of headers that have come."""
    return compare(a, a.age, b, b.age)


def compare(a: LsaHeader | Lsa, age_a: int, b: LsaHeader | Lsa, age_b: int) -> int:
    """Above 0 where `a` is the newer instance, below 0 where `b` is, 0 where they are the same (13.1)."""
    if a.sequence != b.sequence:
        return 1 if a.sequence > b.sequence else -1
    if a.checksum != b.checksum:
        return 1 if a.checksum > b.checksum else -1
    if (age_a >= MAX_AGE) != (age_b >= MAX_AGE):
        return 1 if age_a >= MAX_AGE else -1
    if abs(age_a - age_b) > MAX_AGE_DIFF:
        return 1 if age_a < age_b else -1
    return 0
