"""RIPv2 messages (RFC 2453, 3.6 and 4) and their authentication (RFC 2453, 4.1; RFC 4822).

In: the payload of a UDP datagram of port 520. Out: a `Message`, or PacketError. `encode` is the way back. Entries that
cannot be are left out one by one, and `refused` says why (3.9.2); whether the rest is believed is for `core` to say.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from weft.network.routing.authentication import Authentication
from weft.network.routing.protocol import PacketError

REQUEST, RESPONSE = 1, 2
VERSION = 2
INFINITY = 16
MAX_ENTRIES = 25
SENDER = IPv4Address(0)
_HEADER = struct.Struct("!BBH")
_ENTRY = struct.Struct("!HHIIII")
_KEYED = struct.Struct("!HHHBBIII")
_TRAILER = struct.pack("!HH", 0xFFFF, 1)
_AUTHENTICATION, _PASSWORD, _DIGEST = 0xFFFF, 2, 3
_FAMILIES = (0, 2)
_ALL_ONES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """`family` is 2 for IPv4, 0 in a request for the whole table; `next_hop` SENDER means the sender itself."""

    prefix: IPv4Network
    metric: int
    tag: int = 0
    next_hop: IPv4Address = SENDER
    family: int = 2


@dataclass(frozen=True, slots=True)
class Message:
    """`sequence` is that of authentication with a digest, else 0."""

    command: int
    entries: tuple[Entry, ...]
    sequence: int = 0
    refused: tuple[str, ...] = ()


WHOLE_TABLE = Message(REQUEST, (Entry(IPv4Network("0.0.0.0/0"), INFINITY, family=0),))


def room(authentication: Authentication) -> int:
    """How many entries fit into a message."""
    return MAX_ENTRIES if authentication.algorithm == "none" else MAX_ENTRIES - 1


def encode(message: Message, authentication: Authentication) -> bytes:
    header = _HEADER.pack(message.command, VERSION, 0)
    entries = b"".join(
        _ENTRY.pack(e.family, e.tag, int(e.prefix.network_address), int(e.prefix.netmask), int(e.next_hop), e.metric)
        for e in message.entries
    )
    if authentication.algorithm == "none":
        return header + entries
    if authentication.algorithm == "simple":
        password = authentication.key.ljust(16, b"\0")
        return header + struct.pack("!HH", _AUTHENTICATION, _PASSWORD) + password + entries
    length = _HEADER.size + _KEYED.size + len(entries)
    keyed = _KEYED.pack(
        _AUTHENTICATION, _DIGEST, length, authentication.key_id, authentication.digest_length, message.sequence, 0, 0
    )
    data = header + keyed + entries + _TRAILER
    return data + authentication.digest(data)


def decode(data: bytes, authentication: Authentication) -> Message:
    if len(data) < _HEADER.size + _ENTRY.size:
        raise PacketError(f"message of {len(data)} bytes is too short")
    command, version, _ = _HEADER.unpack_from(data)
    if version != VERSION:
        raise PacketError(f"version {version} is not 2")
    if command not in (REQUEST, RESPONSE):
        raise PacketError(f"command {command} is unknown")
    content, sequence = _authenticate(data, authentication)
    if len(content) % _ENTRY.size or len(content) > MAX_ENTRIES * _ENTRY.size:
        raise PacketError(f"{len(content)} bytes are no whole number of entries up to {MAX_ENTRIES}")
    entries = []
    refused = []
    for fields in _ENTRY.iter_unpack(content):
        try:
            entries.append(_entry(*fields))
        except PacketError as error:
            refused.append(str(error))
    return Message(command, tuple(entries), sequence, tuple(refused))


def _authenticate(data: bytes, authentication: Authentication) -> tuple[bytes, int]:
    """(the entries as bytes, the sequence number); raises where the message is not from who has the key."""
    family, kind = struct.unpack_from("!HH", data, _HEADER.size)
    if authentication.algorithm == "none":
        if family == _AUTHENTICATION:
            raise PacketError("message is authenticated, which is not configured")
        return data[_HEADER.size :], 0
    expected = _PASSWORD if authentication.algorithm == "simple" else _DIGEST
    if family != _AUTHENTICATION or kind != expected:
        raise PacketError(f"authentication type {kind if family == _AUTHENTICATION else 'none'} is not {expected}")
    rest = data[_HEADER.size + _ENTRY.size :]
    if expected == _PASSWORD:
        if data[_HEADER.size + 4 : _HEADER.size + _ENTRY.size] != authentication.key.ljust(16, b"\0"):
            raise PacketError("authentication failed: wrong password")
        return rest, 0
    _, _, length, key_id, size, sequence, _, _ = _KEYED.unpack_from(data, _HEADER.size)
    if key_id != authentication.key_id:
        raise PacketError(f"authentication key ID {key_id} is not {authentication.key_id}")
    end = length + len(_TRAILER)
    # Some count the trailer's head as part of the digest's length (FRR's `auth-length old-ripd`).
    if size not in (authentication.digest_length, authentication.digest_length + len(_TRAILER)):
        raise PacketError(f"authentication data of {size} bytes is not {authentication.digest_length}")
    if length < _HEADER.size + _KEYED.size or data[length:end] != _TRAILER:
        raise PacketError("authentication failed: the trailer is not where it should be")
    digest = data[end : end + authentication.digest_length]
    if not authentication.verify(data[:end], digest):
        raise PacketError("authentication failed: wrong digest")
    return data[_HEADER.size + _KEYED.size : length], int(sequence)


def _entry(family: int, tag: int, address: int, mask: int, next_hop: int, metric: int) -> Entry:
    if family not in _FAMILIES:
        raise PacketError(f"entry is of the address family {family}")
    if not 1 <= metric <= INFINITY:
        raise PacketError(f"entry of {IPv4Address(address)} has metric {metric}")
    host_bits = mask ^ _ALL_ONES
    if host_bits & (host_bits + 1):
        raise PacketError(f"entry of {IPv4Address(address)} has mask {IPv4Address(mask)}")
    if address & host_bits:
        raise PacketError(f"entry of {IPv4Address(address)} has bits outside of mask {IPv4Address(mask)}")
    prefix = IPv4Network((address, 32 - host_bits.bit_length()))
    return Entry(prefix, metric, tag, IPv4Address(next_hop), family)
