"""Actions, instructions and buckets (OpenFlow 1.3.5, 7.2.4, 7.2.5 and 7.3.4.2): values to bytes and back.

Kinds that this module does not know are carried as they are, so a switch's own extensions survive a read and a diff.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from weft.network.southbound.openflow.oxm import Field, OpenFlowError, decode_field

PORT_MAX = 0xFFFFFF00
IN_PORT = 0xFFFFFFF8
FLOOD = 0xFFFFFFFB
CONTROLLER = 0xFFFFFFFD
LOCAL = 0xFFFFFFFE
ANY = 0xFFFFFFFF
NO_BUFFER = 0xFFFFFFFF
WHOLE_PACKET = 0xFFFF  # OFPCML_NO_BUFFER: send all of it


@dataclass(frozen=True, slots=True)
class Output:
    port: int
    max_len: int = 0

    def encode(self) -> bytes:
        return struct.pack("!HHIH6x", 0, 16, self.port, self.max_len)


@dataclass(frozen=True, slots=True)
class ToGroup:
    group: int

    def encode(self) -> bytes:
        return struct.pack("!HHI", 22, 8, self.group)


@dataclass(frozen=True, slots=True)
class SetQueue:
    queue: int

    def encode(self) -> bytes:
        return struct.pack("!HHI", 21, 8, self.queue)


@dataclass(frozen=True, slots=True)
class PushVlan:
    ethertype: int = 0x8100

    def encode(self) -> bytes:
        return struct.pack("!HHH2x", 17, 8, self.ethertype)


@dataclass(frozen=True, slots=True)
class PopVlan:
    def encode(self) -> bytes:
        return struct.pack("!HH4x", 18, 8)


@dataclass(frozen=True, slots=True)
class DecTtl:
    def encode(self) -> bytes:
        return struct.pack("!HH4x", 24, 8)


@dataclass(frozen=True, slots=True)
class SetField:
    field: Field

    def encode(self) -> bytes:
        body = self.field.encode()
        length = (4 + len(body) + 7) // 8 * 8
        return struct.pack("!HH", 25, length) + body.ljust(length - 4, b"\0")


@dataclass(frozen=True, slots=True)
class Spread:
    """Open vSwitch's own: out by one of the ports that are up, by a hash of addresses, protocol and ports of TCP, SCTP
    and UDP (ovs-actions(7), `bundle`, highest random weight, symmetric_l3l4+udp). The hash of a select group leaves
    the ports of UDP out, and can be told otherwise only in OpenFlow 1.5. `basis` makes hashes of switches differ.
    """

    ports: tuple[int, ...]
    basis: int = 0

    def encode(self) -> bytes:
        length = (_SPREAD.size + 2 * len(self.ports) + 7) // 8 * 8
        head = _SPREAD.pack(0xFFFF, length, *_HIGHEST_WEIGHT, self.basis, _NXM_IN_PORT, len(self.ports), 0, 0)
        return (head + struct.pack(f"!{len(self.ports)}H", *self.ports)).ljust(length, b"\0")


_SPREAD = struct.Struct("!HHIHHHHIHHI4x")
_HIGHEST_WEIGHT = (0x2320, 12, 1, 3)  # Nicira's action 12, its algorithm and what it hashes
_NXM_IN_PORT = 2


@dataclass(frozen=True, slots=True)
class OtherAction:
    """An action of a kind unknown here, `body` without its header."""

    kind: int
    body: bytes

    def encode(self) -> bytes:
        return struct.pack("!HH", self.kind, 4 + len(self.body)) + self.body


Action = Output | ToGroup | SetQueue | PushVlan | PopVlan | DecTtl | SetField | Spread | OtherAction
_FIXED = {0: 16, 17: 8, 18: 8, 21: 8, 22: 8, 24: 8}


def encode_actions(actions: tuple[Action, ...]) -> bytes:
    return b"".join([each.encode() for each in actions])


def _decode_action(data: memoryview, kind: int, length: int, at: int) -> Action:
    if kind in _FIXED and length != _FIXED[kind]:
        raise OpenFlowError(f"cannot read an action of kind {kind} and length {length}")
    match kind:
        case 0:
            return Output(*struct.unpack_from("!IH", data, at + 4))
        case 17:
            return PushVlan(*struct.unpack_from("!H", data, at + 4))
        case 18:
            return PopVlan()
        case 21:
            return SetQueue(*struct.unpack_from("!I", data, at + 4))
        case 22:
            return ToGroup(*struct.unpack_from("!I", data, at + 4))
        case 24:
            return DecTtl()
        case 25:
            found, _ = decode_field(data, at + 4, at + length)
            if found is None:
                raise OpenFlowError("cannot read a set-field that sets nothing")
            return SetField(found)
        case 0xFFFF if length >= _SPREAD.size:
            *head, basis, _, count, _, _ = _SPREAD.unpack_from(data, at)
            if tuple(head[2:]) == _HIGHEST_WEIGHT and _SPREAD.size + 2 * count <= length:
                return Spread(struct.unpack_from(f"!{count}H", data, at + _SPREAD.size), basis)
    return OtherAction(kind, bytes(data[at + 4 : at + length]))


def decode_actions(data: memoryview, at: int, end: int) -> tuple[Action, ...]:
    actions = []
    while at < end:
        kind, length = struct.unpack_from("!HH", data, at)
        if length < 8 or length % 8 or at + length > end:
            raise OpenFlowError(f"cannot read an action of length {length}")
        actions.append(_decode_action(data, kind, length, at))
        at += length
    return tuple(actions)


@dataclass(frozen=True, slots=True)
class GotoTable:
    table: int

    def encode(self) -> bytes:
        return struct.pack("!HHB3x", 1, 8, self.table)


@dataclass(frozen=True, slots=True)
class WriteMetadata:
    metadata: int
    mask: int = 0xFFFFFFFFFFFFFFFF

    def encode(self) -> bytes:
        return struct.pack("!HH4xQQ", 2, 24, self.metadata, self.mask)


@dataclass(frozen=True, slots=True)
class WriteActions:
    actions: tuple[Action, ...]

    def encode(self) -> bytes:
        body = encode_actions(self.actions)
        return struct.pack("!HH4x", 3, 8 + len(body)) + body


@dataclass(frozen=True, slots=True)
class ApplyActions:
    actions: tuple[Action, ...]

    def encode(self) -> bytes:
        body = encode_actions(self.actions)
        return struct.pack("!HH4x", 4, 8 + len(body)) + body


@dataclass(frozen=True, slots=True)
class ClearActions:
    def encode(self) -> bytes:
        return struct.pack("!HH4x", 5, 8)


@dataclass(frozen=True, slots=True)
class OtherInstruction:
    kind: int
    body: bytes

    def encode(self) -> bytes:
        return struct.pack("!HH", self.kind, 4 + len(self.body)) + self.body


Instruction = GotoTable | WriteMetadata | WriteActions | ApplyActions | ClearActions | OtherInstruction
_INSTRUCTION_FIXED = {1: 8, 2: 24, 5: 8}


@lru_cache(4096)  # many flows of a switch do the same
def encode_instructions(instructions: tuple[Instruction, ...]) -> bytes:
    return b"".join([each.encode() for each in instructions])


def _decode_instruction(data: memoryview, kind: int, length: int, at: int) -> Instruction:
    match kind:
        case 1:
            return GotoTable(*struct.unpack_from("!B", data, at + 4))
        case 2:
            return WriteMetadata(*struct.unpack_from("!QQ", data, at + 8))
        case 3:
            return WriteActions(decode_actions(data, at + 8, at + length))
        case 4:
            return ApplyActions(decode_actions(data, at + 8, at + length))
        case 5:
            return ClearActions()
    return OtherInstruction(kind, bytes(data[at + 4 : at + length]))


def decode_instructions(data: memoryview, at: int, end: int) -> tuple[Instruction, ...]:
    instructions = []
    while at < end:
        kind, length = struct.unpack_from("!HH", data, at)
        if length < 8 or length % 8 or at + length > end or _INSTRUCTION_FIXED.get(kind, length) != length:
            raise OpenFlowError(f"cannot read an instruction of kind {kind} and length {length}")
        instructions.append(_decode_instruction(data, kind, length, at))
        at += length
    return tuple(instructions)


@dataclass(frozen=True, slots=True)
class Bucket:
    """`weight` is for SELECT groups; the bucket is live while its watched port and group are."""

    actions: tuple[Action, ...]
    weight: int = 0
    watch_port: int = ANY
    watch_group: int = ANY

    def encode(self) -> bytes:
        body = encode_actions(self.actions)
        return struct.pack("!HHII4x", 16 + len(body), self.weight, self.watch_port, self.watch_group) + body


def decode_buckets(data: memoryview, at: int, end: int) -> tuple[Bucket, ...]:
    buckets = []
    while at < end:
        length, weight, port, group = struct.unpack_from("!HHII", data, at)
        if length < 16 or length % 8 or at + length > end:
            raise OpenFlowError(f"cannot read a bucket of length {length}")
        buckets.append(Bucket(decode_actions(data, at + 16, at + length), weight, port, group))
        at += length
    return tuple(buckets)
