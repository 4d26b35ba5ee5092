"""The few packets that a controller reads and writes itself: LLDP probes (IEEE 802.1AB) and who sent an ARP (RFC 826).

In: bytes of packet-ins. Out: values, or None for what is none of these; probes of other instances are none of ours.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

LLDP = 0x88CC
ARP = 0x0806
_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
_OUI = bytes.fromhex("00004f574654")[:3]


def _tlv(kind: int, body: bytes) -> bytes:
    return struct.pack("!H", kind << 9 | len(body)) + body


@dataclass(frozen=True, slots=True)
class Probe:
    """Says whose port it left by; `cookie` tells the instance."""

    cookie: int
    datapath: int
    port: int

    def encode(self, mac: bytes) -> bytes:
        """A frame with the port's own address as the source."""
        return b"".join(
            (
                _NEAREST_BRIDGE, mac, struct.pack("!H", LLDP),
                _tlv(1, b"\x07" + self.datapath.to_bytes(8)),  # chassis: locally assigned
                _tlv(2, b"\x07" + self.port.to_bytes(4)),
                _tlv(3, struct.pack("!H", 120)),
                _tlv(127, _OUI + b"\x01" + self.cookie.to_bytes(8)),
                _tlv(0, b""),
            )
        )  # fmt: skip

    @classmethod
    def decode(cls, frame: bytes) -> "Probe | None":
        found: dict[int, bytes] = {}
        at = 14
        while at + 2 <= len(frame):
            (head,) = struct.unpack_from("!H", frame, at)
            found.setdefault(head >> 9, frame[at + 2 : at + 2 + (head & 0x1FF)])
            at += 2 + (head & 0x1FF)
            if head >> 9 == 0:
                break
        chassis, port, own = found.get(1, b""), found.get(2, b""), found.get(127, b"")
        if len(chassis) != 9 or len(port) != 5 or len(own) != 12 or own[:4] != _OUI + b"\x01":
            return None
        return cls(int.from_bytes(own[4:]), int.from_bytes(chassis[1:]), int.from_bytes(port[1:]))


def who_has(target: IPv4Address, mac: bytes) -> bytes:
    """An ARP probe: the question of one who has no address yet (RFC 5227, 1.1); the answer goes to `mac`."""
    head = struct.pack("!HHHBBH", ARP, 1, 0x0800, 6, 4, 1)
    return b"\xff" * 6 + mac + head + mac + bytes(4) + bytes(6) + target.packed


@dataclass(frozen=True, slots=True)
class Frame:
    """The head of an Ethernet frame, and the addresses of an ARP in it."""

    destination: bytes
    source: bytes
    ethertype: int
    sender: IPv4Address | None = None
    target: IPv4Address | None = None

    @property
    def is_group(self) -> bool:
        return bool(self.destination[0] & 1)

    @classmethod
    def decode(cls, frame: bytes) -> "Frame | None":
        if len(frame) < 14 or frame[6] & 1:
            return None
        (kind,) = struct.unpack_from("!H", frame, 12)
        sender = target = None
        if kind == ARP and len(frame) >= 42 and frame[14:20] == bytes.fromhex("000108000604"):
            sender, target = IPv4Address(frame[28:32]), IPv4Address(frame[38:42])
        return cls(frame[:6], frame[6:12], kind, sender, target)
