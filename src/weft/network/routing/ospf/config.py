"""What a user says of an OSPF router. Times in seconds; identifiers as IPv4 addresses. Checked when built."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication

BACKBONE = IPv4Address(0)
NetworkType = Literal["point-to-point", "broadcast", "loopback"]
AreaType = Literal["normal", "stub", "totally-stub"]
NO_AUTHENTICATION = Authentication()


@dataclass(frozen=True, slots=True)
class Throttle:
    """How long something waits that is asked for again and again: `initial` after a quiet time, then `hold`, doubled
    each time up to `maximum` (as `timers throttle spf` of FRR)."""

    initial: float
    hold: float
    maximum: float

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.maximum or not 0 <= self.hold <= self.maximum:
            raise InvalidError("cannot use a throttle whose initial delay or hold time is above its maximum")


@dataclass(frozen=True, slots=True)
class OspfInterfaceConfig:
    """One interface. A hello interval below 1 s means fast hellos: 0 on the wire, which neighbours do not compare.

    `passive` announces the network and speaks to nobody; a loopback is announced as a host.
    """

    name: str
    area: IPv4Address = BACKBONE
    network_type: NetworkType = "broadcast"
    cost: int = 10
    priority: int = 1
    hello_interval: float = 10.0
    dead_interval: float = 40.0
    retransmit_interval: float = 5.0
    transmit_delay: int = 1
    passive: bool = False
    mtu_ignore: bool = False
    authentication: Authentication = NO_AUTHENTICATION

    def __post_init__(self) -> None:
        if not 1 <= self.cost <= 65535:
            raise InvalidError(f"cannot use cost {self.cost} on {self.name}: it must be 1 to 65535")
        if not 0 <= self.priority <= 255:
            raise InvalidError(f"cannot use priority {self.priority} on {self.name}: it must be 0 to 255")
        if not 0.01 <= self.hello_interval <= 65535 or not self.hello_interval < self.dead_interval <= 65535:
            raise InvalidError(f"cannot use these intervals on {self.name}: dead must be above hello, both positive")
        if self.retransmit_interval < 0.01 or self.transmit_delay < 1:
            raise InvalidError(f"cannot use these intervals on {self.name}: retransmit and delay must be positive")
        if self.authentication.algorithm == "simple" and len(self.authentication.key) > 8:
            raise InvalidError(f"cannot use this password on {self.name}: OSPF takes up to 8 bytes")

    @property
    def wire_hello(self) -> int:
        return int(self.hello_interval) if self.hello_interval >= 1 else 0

    @property
    def wire_dead(self) -> int:
        return max(1, int(self.dead_interval))


@dataclass(frozen=True, slots=True)
class AreaRange:
    """Networks of an area that others hear of as one, or not at all; `cost` None: that of the farthest (12.4.3)."""

    prefix: IPv4Network
    advertise: bool = True
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class AreaConfig:
    """A stub area takes no external routes but a default of `default_cost`; a totally stub one no summaries either."""

    area: IPv4Address
    type: AreaType = "normal"
    default_cost: int = 1
    ranges: tuple[AreaRange, ...] = ()

    def __post_init__(self) -> None:
        if self.area == BACKBONE and self.type != "normal":
            raise InvalidError("cannot make the backbone a stub area")


@dataclass(frozen=True, slots=True)
class OspfConfig:
    """`metric` and `metric_type` are for redistributed routes; `default_originate` announces a default route.

    `lsa_throttle` is for new instances of our own LSAs, `min_ls_arrival` for others' (RFC 2328, B: 5 s and 1 s); a
    neighbour drops what comes faster, and gets it again only after RxmtInterval.
    `flood_pacing` is the least time between two floodings on a link, so that in a storm LSAs share packets.
    `sequence_origin` is where sequence numbers of authentication start: seconds since 1970, so that they never fall.
    """

    router_id: IPv4Address
    interfaces: tuple[OspfInterfaceConfig, ...] = ()
    areas: tuple[AreaConfig, ...] = ()
    spf_throttle: Throttle = Throttle(0.05, 0.1, 5.0)
    lsa_throttle: Throttle = Throttle(0.0, 1.1, 5.0)
    min_ls_arrival: float = 1.0
    flood_pacing: float = 0.005
    metric: int = 20
    metric_type: Literal[1, 2] = 2
    default_originate: bool = False
    max_paths: int = 16
    sequence_origin: int = 0
    interface_by_name: dict[str, OspfInterfaceConfig] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if int(self.router_id) == 0:
            raise InvalidError("cannot use router ID 0.0.0.0")
        names = {each.name: each for each in self.interfaces}
        if len(names) != len(self.interfaces):
            raise InvalidError("cannot use an OSPF configuration that names an interface twice")
        if not 0 <= self.metric < 0xFFFFFF:
            raise InvalidError(f"cannot use metric {self.metric}: it must be below 16777215")
        object.__setattr__(self, "interface_by_name", names)

    def area(self, area: IPv4Address) -> AreaConfig:
        return next((each for each in self.areas if each.area == area), AreaConfig(area))
