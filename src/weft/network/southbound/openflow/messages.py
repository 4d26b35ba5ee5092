"""The messages of OpenFlow 1.3.5 as values (7.3 to 7.5), and bundles as ONF extension 230 puts them into 1.3.

`codec` turns them into bytes and back; `connection` gives them their transaction ids.
"""

from dataclasses import dataclass
from enum import IntEnum

from weft.network.southbound.openflow.actions import ANY, NO_BUFFER, Action, Bucket, Instruction
from weft.network.southbound.openflow.oxm import ANYTHING, Match

VERSION = 4
ONF = 0x4F4E4600
ALL_TABLES = 0xFF
ALL_GROUPS = 0xFFFFFFFC


class FlowCommand(IntEnum):
    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class GroupCommand(IntEnum):
    ADD = 0
    MODIFY = 1
    DELETE = 2


class GroupType(IntEnum):
    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


class Reason(IntEnum):
    """Why a packet came in (7.4.1)."""

    NO_MATCH = 0
    ACTION = 1
    INVALID_TTL = 2


class PortReason(IntEnum):
    ADD = 0
    DELETE = 1
    MODIFY = 2


class Role(IntEnum):
    NOCHANGE = 0
    EQUAL = 1
    MASTER = 2
    SLAVE = 3


class BundleStep(IntEnum):
    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


@dataclass(frozen=True, slots=True)
class Hello:
    """`versions` from the bitmap, or None where the peer sent no bitmap: then `version` is its highest."""

    versions: frozenset[int] | None = frozenset((VERSION,))
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Error:
    kind: int
    code: int
    data: bytes = b""

    def __str__(self) -> str:
        return f"error type {self.kind} code {self.code}"


@dataclass(frozen=True, slots=True)
class EchoRequest:
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class EchoReply:
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class FeaturesRequest:
    pass


@dataclass(frozen=True, slots=True)
class Features:
    datapath: int
    buffers: int = 0
    tables: int = 1
    auxiliary: int = 0
    capabilities: int = 0


@dataclass(frozen=True, slots=True)
class ConfigRequest:
    pass


@dataclass(frozen=True, slots=True)
class Config:
    flags: int
    miss_send_len: int


@dataclass(frozen=True, slots=True)
class SetConfig:
    flags: int
    miss_send_len: int


@dataclass(frozen=True, slots=True)
class PacketIn:
    data: bytes
    match: Match
    reason: int = Reason.ACTION
    table: int = 0
    cookie: int = 0
    total_len: int = 0
    buffer: int = NO_BUFFER


@dataclass(frozen=True, slots=True)
class PacketOut:
    data: bytes
    actions: tuple[Action, ...]
    in_port: int = 0xFFFFFFFD
    buffer: int = NO_BUFFER


@dataclass(frozen=True, slots=True)
class FlowMod:
    match: Match
    instructions: tuple[Instruction, ...] = ()
    command: int = FlowCommand.ADD
    priority: int = 0x8000
    table: int = 0
    cookie: int = 0
    cookie_mask: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0
    out_port: int = ANY
    out_group: int = ANY
    buffer: int = NO_BUFFER


@dataclass(frozen=True, slots=True)
class FlowRemoved:
    match: Match
    cookie: int
    priority: int
    reason: int
    table: int
    duration: float
    idle_timeout: int
    hard_timeout: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class GroupMod:
    group: int
    buckets: tuple[Bucket, ...] = ()
    command: int = GroupCommand.ADD
    kind: int = GroupType.ALL


@dataclass(frozen=True, slots=True)
class Port:
    """7.2.1; `down` is what an administrator set, `carrier` what the link says."""

    number: int
    mac: bytes
    name: str
    config: int = 0
    state: int = 0
    features: tuple[int, int, int, int] = (0, 0, 0, 0)
    speed: int = 0
    max_speed: int = 0

    @property
    def is_up(self) -> bool:
        return not self.config & 1 and not self.state & 1


@dataclass(frozen=True, slots=True)
class PortStatus:
    reason: int
    port: Port


@dataclass(frozen=True, slots=True)
class BarrierRequest:
    pass


@dataclass(frozen=True, slots=True)
class BarrierReply:
    pass


@dataclass(frozen=True, slots=True)
class RoleRequest:
    role: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class RoleReply:
    role: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class BundleControl:
    bundle: int
    step: int
    flags: int = 3  # atomic and ordered


@dataclass(frozen=True, slots=True)
class BundleAdd:
    bundle: int
    message: FlowMod | GroupMod
    flags: int = 3


@dataclass(frozen=True, slots=True)
class Experimenter:
    experimenter: int
    kind: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class FlowStatsRequest:
    match: Match = ANYTHING
    table: int = ALL_TABLES
    cookie: int = 0
    cookie_mask: int = 0
    out_port: int = ANY
    out_group: int = ANY


@dataclass(frozen=True, slots=True)
class GroupDescRequest:
    pass


@dataclass(frozen=True, slots=True)
class GroupStatsRequest:
    group: int = ALL_GROUPS


@dataclass(frozen=True, slots=True)
class PortStatsRequest:
    port: int = ANY


@dataclass(frozen=True, slots=True)
class PortDescRequest:
    pass


@dataclass(frozen=True, slots=True)
class FlowStats:
    match: Match
    instructions: tuple[Instruction, ...]
    priority: int
    table: int
    cookie: int
    duration: float = 0.0
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0
    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class GroupDesc:
    group: int
    kind: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class GroupStats:
    group: int
    references: int
    packets: int
    octets: int
    buckets: tuple[tuple[int, int], ...]
    duration: float = 0.0


@dataclass(frozen=True, slots=True)
class PortStats:
    """Counters in the order of the wire: packets, bytes, drops and errors, received before sent."""

    port: int
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int = 0
    tx_dropped: int = 0
    rx_errors: int = 0
    tx_errors: int = 0


Part = FlowStats | GroupDesc | GroupStats | PortStats | Port


@dataclass(frozen=True, slots=True)
class Multipart:
    """A reply or a piece of one: more follow while `more`."""

    kind: int
    parts: tuple[Part, ...]
    more: bool = False


StatsRequest = FlowStatsRequest | GroupDescRequest | GroupStatsRequest | PortStatsRequest | PortDescRequest
Request = (
    FeaturesRequest | ConfigRequest | RoleRequest | BarrierRequest | StatsRequest | EchoRequest | BundleControl
)  # fmt: skip
Message = (
    Hello | Error | EchoRequest | EchoReply | FeaturesRequest | Features | ConfigRequest | Config | SetConfig
    | PacketIn | PacketOut | FlowMod | FlowRemoved | GroupMod | PortStatus | BarrierRequest | BarrierReply
    | RoleRequest | RoleReply | BundleControl | BundleAdd | Experimenter | StatsRequest | Multipart
)  # fmt: skip
