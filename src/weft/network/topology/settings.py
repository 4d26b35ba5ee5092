"""What runs in a router and how: protocol, implementation, intervals, keys, failure detection, static routes.

Built by `routing_reader`, which checks; here are only facts. Times in seconds. Defaults are those of the RFCs
(2328 C.3, 2453 3.8, 5880). Who is next: `weft.network.controller` and the daemons' drivers.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from weft.network.routing.authentication import Algorithm, Authentication

Protocol = Literal["spf", "ospf", "rip", "none"]
Daemon = Literal["weft", "frr", "bird"]
Backups = Literal["none", "lfa", "ti-lfa"]
AreaType = Literal["normal", "stub", "totally-stub"]
NetworkType = Literal["point-to-point", "broadcast"]
SplitHorizon = Literal["poisoned-reverse", "simple", "off"]
RedistributionSource = Literal["static", "connected", "rip", "spf", "ospf"]

PROTOCOLS: tuple[Protocol, ...] = ("spf", "ospf", "rip", "none")
DAEMONS: tuple[Daemon, ...] = ("weft", "frr", "bird")
BACKUPS: tuple[Backups, ...] = ("none", "lfa", "ti-lfa")
AREA_TYPES: tuple[AreaType, ...] = ("normal", "stub", "totally-stub")
NETWORK_TYPES: tuple[NetworkType, ...] = ("point-to-point", "broadcast")
SPLIT_HORIZONS: tuple[SplitHorizon, ...] = ("poisoned-reverse", "simple", "off")
SOURCES: tuple[RedistributionSource, ...] = ("static", "connected", "rip", "spf", "ospf")
ALGORITHMS: tuple[Algorithm, ...] = (
    "none",
    "simple",
    "md5",
    "hmac-sha-1",
    "hmac-sha-256",
    "hmac-sha-384",
    "hmac-sha-512",
)
BACKBONE = IPv4Address(0)
NO_AUTHENTICATION = Authentication()


@dataclass(frozen=True, slots=True)
class Redistribution:
    """Routes of one source that a protocol announces, of all where `source` is None; `policy` names a RoutingPolicy."""

    source: RedistributionSource | None
    metric: int | None = None
    metric_type: Literal[1, 2] = 2
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class RangeSettings:
    """An area address range (RFC 2328, 3.5)."""

    prefix: IPv4Network
    advertise: bool = True
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class AreaSettings:
    """What a border router says of an area (RFC 2328, C.2)."""

    area: IPv4Address
    type: AreaType = "normal"
    default_cost: int = 1
    ranges: tuple[RangeSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class SpfDelay:
    """How long SPF waits: `initial` after a quiet time, then `hold`, doubled up to `maximum`."""

    initial: float = 0.05
    hold: float = 0.1
    maximum: float = 5.0


@dataclass(frozen=True, slots=True)
class OspfSettings:
    """`area` is of the links that say none. `network_type` None: point-to-point for two routers, else broadcast."""

    area: IPv4Address = BACKBONE
    areas: tuple[AreaSettings, ...] = ()
    hello_interval: float = 10.0
    dead_interval: float = 40.0
    retransmit_interval: float = 5.0
    priority: int = 1
    network_type: NetworkType | None = None
    authentication: Authentication = NO_AUTHENTICATION
    spf_delay: SpfDelay = SpfDelay()
    redistribute: tuple[Redistribution, ...] = ()


@dataclass(frozen=True, slots=True)
class RipSettings:
    update_interval: float = 30.0
    timeout_interval: float = 180.0
    garbage_interval: float = 120.0
    split_horizon: SplitHorizon = "poisoned-reverse"
    authentication: Authentication = NO_AUTHENTICATION
    redistribute: tuple[Redistribution, ...] = ()


@dataclass(frozen=True, slots=True)
class BfdSettings:
    """The interval between control packets, both ways, and how many of them may be missed (RFC 5880, 6.8.4)."""

    interval: float = 0.1
    multiplier: int = 3


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """Without `via` it drops what goes to `destination`."""

    destination: IPv4Network
    via: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """All that a router's routing needs; `bfd` None is off. `daemon` runs ospf and rip, `backups` are for spf."""

    protocol: Protocol = "spf"
    daemon: Daemon = "weft"
    ospf: OspfSettings = field(default_factory=OspfSettings)
    rip: RipSettings = field(default_factory=RipSettings)
    bfd: BfdSettings | None = None
    backups: Backups = "none"
