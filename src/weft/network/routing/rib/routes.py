"""Routes as values: what every protocol computes, what the table keeps, what a data plane installs."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, get_args

from weft.core.errors import InvalidError

Source = Literal["connected", "static", "bgp", "spf", "ospf", "rip"]
SOURCES: tuple[Source, ...] = get_args(Source)
# Administrative distances, as FRR has them: the lower wins.
PREFERENCES: dict[Source, int] = {"connected": 0, "static": 1, "bgp": 20, "spf": 90, "ospf": 110, "rip": 120}
MAX_PREFERENCE = 255
MAX_NUMBER = 2**32 - 1  # of metrics and tags
MAX_WEIGHT = 256  # what Linux can tell apart


@dataclass(frozen=True, slots=True, order=True)
class NextHop:
    """Where a packet goes next: out of `interface`, to `via` (None: the destination is on the link); weight 1 to 256.

    An empty `interface` says that `via` has to be looked up among other routes (RFC 4271, 5.1.3).
    """

    interface: str
    via: IPv4Address | IPv6Address | None = None
    weight: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise InvalidError(f"cannot use weight {self.weight}: it must be 1 to {MAX_WEIGHT}")
        if not self.interface and (self.via is None or self.via.is_link_local):
            raise InvalidError(f"cannot use next hop {self.via}: it needs an interface")


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one source. Without next hops it drops (blackhole). `tag` is a mark for policies (RFC 2328, A.4.5).

    `metric_type` is for OSPF, of a route that it announces for others; None leaves it to its configuration.
    """

    prefix: IPv4Network | IPv6Network
    next_hops: tuple[NextHop, ...]
    source: Source
    preference: int
    metric: int = 0
    tag: int = 0
    metric_type: Literal[1, 2] | None = None

    def __post_init__(self) -> None:
        if self.source not in PREFERENCES:
            raise InvalidError(f"cannot make a route of source {self.source!r}: it must be one of {', '.join(SOURCES)}")
        if not 0 <= self.preference <= MAX_PREFERENCE:
            raise InvalidError(f"cannot use preference {self.preference}: it must be 0 to {MAX_PREFERENCE}")
        if not (0 <= self.metric <= MAX_NUMBER and 0 <= self.tag <= MAX_NUMBER):
            raise InvalidError(f"cannot use metric {self.metric} and tag {self.tag}: they must be 0 to {MAX_NUMBER}")
        if self.metric_type not in (None, 1, 2):
            raise InvalidError(f"cannot use metric type {self.metric_type}: it must be 1 or 2")
        if self.prefix.version == 6:  # IPv4 by way of IPv6 is RFC 8950; there is no such thing the other way round
            for hop in self.next_hops:
                if hop.via is not None and hop.via.version == 4:
                    raise InvalidError(f"cannot reach {self.prefix} by {hop.via}: IPv6 does not go by IPv4")
