"""The BFD control packet (RFC 5880, 4.1), without authentication.

In: the payload of a UDP packet. Out: a `ControlPacket`, or PacketError for what 6.8.6 says to discard.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from weft.network.routing.protocol import PacketError

_PACKET = struct.Struct("!BBBBIIIII")
_POLL, _FINAL, _AUTHENTICATED, _MULTIPOINT = 0x20, 0x10, 0x04, 0x01


class State(IntEnum):
    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(IntEnum):
    NONE = 0
    EXPIRED = 1  # control detection time
    NEIGHBOR_DOWN = 3
    ADMIN_DOWN = 7


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """Intervals in microseconds."""

    state: State
    my_discriminator: int
    your_discriminator: int
    desired_min_tx: int
    required_min_rx: int
    multiplier: int = 3
    diagnostic: int = 0
    poll: bool = False
    final: bool = False

    def encode(self) -> bytes:
        flags = self.state << 6 | (_POLL if self.poll else 0) | (_FINAL if self.final else 0)
        return _PACKET.pack(
            1 << 5 | self.diagnostic, flags, self.multiplier, 24,
            self.my_discriminator, self.your_discriminator, self.desired_min_tx, self.required_min_rx, 0,
        )  # fmt: skip


def decode(data: bytes) -> ControlPacket:
    """The checks of 6.8.6 that need no session."""
    if len(data) < 24:
        raise PacketError(f"BFD packet of {len(data)} bytes is too short")
    first, flags, multiplier, length, mine, yours, tx, rx, _ = _PACKET.unpack_from(data)
    if first >> 5 != 1:
        raise PacketError(f"BFD version {first >> 5} is not 1")
    if not 24 <= length <= len(data):
        raise PacketError(f"BFD length {length} does not fit {len(data)} bytes")
    if multiplier == 0:
        raise PacketError("BFD detection multiplier is 0")
    if flags & _MULTIPOINT:
        raise PacketError("BFD multipoint bit is set")
    if flags & _AUTHENTICATED:
        raise PacketError("BFD packet is authenticated, which is not configured")
    if mine == 0:
        raise PacketError("BFD discriminator is 0")
    state = State(flags >> 6)
    if yours == 0 and state > State.DOWN:
        raise PacketError("BFD packet names no session of ours")
    return ControlPacket(state, mine, yours, tx, rx, multiplier, first & 31, bool(flags & _POLL), bool(flags & _FINAL))
