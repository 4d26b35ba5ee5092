"""The five packet types, their header and their authentication (RFC 2328, A.3 and D; RFC 5709).

In: the payload of an IP packet of protocol 89. Out: a `Packet` with its typed content, or PacketError. `encode` is
the way back; for authentication with a digest it needs a sequence number.
"""

import struct
from dataclasses import dataclass

from weft.network.routing.authentication import Authentication
from weft.network.routing.ospf.lsa import HEADER_LENGTH, Key, Lsa, LsaHeader, decode_header, decode_lsa
from weft.network.routing.protocol import PacketError

HELLO, DATABASE_DESCRIPTION, LINK_STATE_REQUEST, LINK_STATE_UPDATE, LINK_STATE_ACK = 1, 2, 3, 4, 5
AUTH_NULL, AUTH_SIMPLE, AUTH_CRYPTOGRAPHIC = 0, 1, 2
DD_MASTER, DD_MORE, DD_INIT = 1, 2, 4
PACKET_HEADER_LENGTH = 24
_HEADER = struct.Struct("!BBHIIHH8s")
_HELLO = struct.Struct("!IHBBIII")
_DD = struct.Struct("!HBBI")


@dataclass(frozen=True, slots=True)
class Hello:
    mask: int
    hello_interval: int
    options: int
    priority: int
    dead_interval: int
    designated: int
    backup: int
    neighbors: tuple[int, ...] = ()

    kind = HELLO

    def encode(self) -> bytes:
        head = _HELLO.pack(
            self.mask, self.hello_interval, self.options, self.priority,
            self.dead_interval, self.designated, self.backup,
        )  # fmt: skip
        return head + struct.pack(f"!{len(self.neighbors)}I", *self.neighbors)


@dataclass(frozen=True, slots=True)
class DatabaseDescription:
    mtu: int
    options: int
    flags: int
    sequence: int
    headers: tuple[LsaHeader, ...] = ()

    kind = DATABASE_DESCRIPTION

    def encode(self) -> bytes:
        head = _DD.pack(self.mtu, self.options, self.flags, self.sequence)
        return head + b"".join(header.encode() for header in self.headers)


@dataclass(frozen=True, slots=True)
class LinkStateRequest:
    keys: tuple[Key, ...]

    kind = LINK_STATE_REQUEST

    def encode(self) -> bytes:
        return b"".join(struct.pack("!III", *key) for key in self.keys)


@dataclass(frozen=True, slots=True)
class LinkStateUpdate:
    """`refused` says why LSAs of the packet were left out (13, steps 1 to 3); the others count."""

    lsas: tuple[tuple[int, Lsa], ...]
    refused: tuple[str, ...] = ()

    kind = LINK_STATE_UPDATE

    def encode(self) -> bytes:
        return struct.pack("!I", len(self.lsas)) + b"".join(lsa.encode(age) for age, lsa in self.lsas)


@dataclass(frozen=True, slots=True)
class LinkStateAck:
    headers: tuple[LsaHeader, ...]

    kind = LINK_STATE_ACK

    def encode(self) -> bytes:
        return b"".join(header.encode() for header in self.headers)


Content = Hello | DatabaseDescription | LinkStateRequest | LinkStateUpdate | LinkStateAck


@dataclass(frozen=True, slots=True)
class Packet:
    """`sequence` is that of cryptographic authentication, else 0."""

    router: int
    area: int
    content: Content
    sequence: int = 0


def encode(packet: Packet, authentication: Authentication) -> bytes:
    content = packet.content.encode()
    length = PACKET_HEADER_LENGTH + len(content)
    kind = packet.content.kind
    if authentication.digest_length:
        field = struct.pack("!HBBI", 0, authentication.key_id, authentication.digest_length, packet.sequence)
        data = _HEADER.pack(2, kind, length, packet.router, packet.area, 0, AUTH_CRYPTOGRAPHIC, field) + content
        return data + authentication.digest(data)
    simple = authentication.algorithm == "simple"
    bare = _HEADER.pack(2, kind, length, packet.router, packet.area, 0, int(simple), bytes(8)) + content
    field = authentication.key.ljust(8, b"\0") if simple else bytes(8)
    checksum = internet_checksum(bare)
    return _HEADER.pack(2, kind, length, packet.router, packet.area, checksum, int(simple), field) + content


def internet_checksum(data: bytes) -> int:
    """RFC 1071; the authentication field of `data` must be zero, as it does not count."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(total ^ 0xFFFF)


def decode(data: bytes, authentication: Authentication) -> Packet:
    """Checks version, length, authentication and checksum, and reads all of the content."""
    if len(data) < PACKET_HEADER_LENGTH:
        raise PacketError(f"packet of {len(data)} bytes is too short")
    version, kind, length, router, area, checksum, auth_type, field = _HEADER.unpack_from(data)
    if version != 2:
        raise PacketError(f"version {version} is not 2")
    if not PACKET_HEADER_LENGTH <= length <= len(data):
        raise PacketError(f"length {length} does not fit {len(data)} bytes")
    sequence = _authenticate(data, length, auth_type, field, checksum, authentication)
    return Packet(router, area, _decode_content(kind, data[PACKET_HEADER_LENGTH:length]), sequence)


def _authenticate(
    data: bytes, length: int, auth_type: int, field: bytes, checksum: int, authentication: Authentication
) -> int:
    """The sequence number; raises where the packet is not from who has the key (D.5)."""
    expected = AUTH_CRYPTOGRAPHIC if authentication.digest_length else int(authentication.algorithm == "simple")
    if auth_type != expected:
        raise PacketError(f"authentication type {auth_type} is not {expected}")
    if expected == AUTH_CRYPTOGRAPHIC:
        _, key_id, digest_length, sequence = struct.unpack("!HBBI", field)
        if key_id != authentication.key_id:
            raise PacketError(f"authentication key ID {key_id} is not {authentication.key_id}")
        digest = data[length : length + digest_length]
        if digest_length != authentication.digest_length or not authentication.verify(data[:length], digest):
            raise PacketError("authentication failed: wrong digest")
        return int(sequence)
    bare = data[:12] + b"\0\0" + data[14:16] + bytes(8) + data[PACKET_HEADER_LENGTH:length]
    if internet_checksum(bare) != checksum:
        raise PacketError("wrong checksum")
    if expected == AUTH_SIMPLE and field != authentication.key.ljust(8, b"\0"):
        raise PacketError("authentication failed: wrong password")
    return 0


def _decode_content(kind: int, data: bytes) -> Content:
    if kind == HELLO:
        if len(data) < 20 or len(data) % 4:
            raise PacketError(f"Hello of {len(data)} bytes")
        neighbors = struct.unpack_from(f"!{(len(data) - 20) // 4}I", data, 20)
        mask, interval, options, priority, dead, designated, backup = _HELLO.unpack_from(data)
        return Hello(mask, interval, options, priority, dead, designated, backup, neighbors)
    if kind == DATABASE_DESCRIPTION:
        if len(data) < 8:
            raise PacketError(f"Database Description of {len(data)} bytes")
        mtu, options, flags, sequence = _DD.unpack_from(data)
        return DatabaseDescription(mtu, options, flags, sequence, _headers(data, 8))
    if kind == LINK_STATE_REQUEST:
        if len(data) % 12:
            raise PacketError(f"Link State Request of {len(data)} bytes")
        return LinkStateRequest(tuple(struct.iter_unpack("!III", data)))
    if kind == LINK_STATE_UPDATE:
        return _decode_update(data)
    if kind == LINK_STATE_ACK:
        return LinkStateAck(_headers(data, 0))
    raise PacketError(f"packet type {kind} is unknown")


def _headers(data: bytes, offset: int) -> tuple[LsaHeader, ...]:
    if (len(data) - offset) % HEADER_LENGTH:
        raise PacketError(f"{len(data) - offset} bytes are no whole number of LSA headers")
    return tuple(decode_header(data, at) for at in range(offset, len(data), HEADER_LENGTH))


def _decode_update(data: bytes) -> LinkStateUpdate:
    if len(data) < 4:
        raise PacketError(f"Link State Update of {len(data)} bytes")
    count = int.from_bytes(data[:4], "big")
    lsas = []
    refused = []
    offset = 4
    for _ in range(count):
        header = decode_header(data, offset)
        if offset + header.length > len(data):
            raise PacketError(f"LSA at byte {offset} is cut short")
        try:
            lsas.append(decode_lsa(data, offset, header.length))
        except PacketError as error:
            refused.append(str(error))
        offset += header.length
    if offset != len(data):
        raise PacketError(f"Link State Update has {len(data) - offset} bytes too many")
    return LinkStateUpdate(tuple(lsas), tuple(refused))
