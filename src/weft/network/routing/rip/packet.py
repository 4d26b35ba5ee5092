"""RIPv2 messages without authentication (RFC 2453, 3.6 and 4).

In: the payload of a UDP datagram of port 520. Out: a `Message` with its entries, or PacketError. `encode` is the way
back. Whether an entry may be believed (metric, martians) is for the state machine to say.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from weft.network.routing.protocol import PacketError

REQUEST, RESPONSE = 1, 2
VERSION = 2
INFINITY = 16
MAX_ENTRIES = 25
SENDER = IPv4Address(0)
_HEADER = struct.Struct("!BBH")
_ENTRY = struct.Struct("!HHIIII")
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
    command: int
    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        return _HEADER.pack(self.command, VERSION, 0) + b"".join(
            _ENTRY.pack(
                e.family, e.tag, int(e.prefix.network_address), int(e.prefix.netmask), int(e.next_hop), e.metric
            )
            for e in self.entries
        )


def decode(data: bytes) -> Message:
    if len(data) < _HEADER.size or (len(data) - _HEADER.size) % _ENTRY.size:
        raise PacketError(f"cannot read a RIP message of {len(data)} bytes: it is no header with whole entries")
    command, version, _ = _HEADER.unpack_from(data)
    if version != VERSION:
        raise PacketError(f"cannot read a RIP message of version {version}: only version 2")
    if command not in (REQUEST, RESPONSE):
        raise PacketError(f"cannot read a RIP message of command {command}")
    if len(data) > _HEADER.size + MAX_ENTRIES * _ENTRY.size:
        raise PacketError(f"cannot read a RIP message of more than {MAX_ENTRIES} entries")
    return Message(command, tuple(_entry(*fields) for fields in _ENTRY.iter_unpack(data[_HEADER.size :])))


def _entry(family: int, tag: int, address: int, mask: int, next_hop: int, metric: int) -> Entry:
    host_bits = mask ^ _ALL_ONES
    if host_bits & (host_bits + 1):
        raise PacketError(f"cannot read a RIP entry with mask {IPv4Address(mask)}: its ones are not contiguous")
    if address & host_bits:
        raise PacketError(f"cannot read a RIP entry of {IPv4Address(address)}: it has bits outside its mask")
    prefix = IPv4Network((address, 32 - host_bits.bit_length()))
    return Entry(prefix, metric, tag, IPv4Address(next_hop), family)
