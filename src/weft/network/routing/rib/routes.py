"""Routes as values: what every protocol computes, what the table keeps, what a data plane installs."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from weft.core.errors import InvalidError

Source = Literal["connected", "static", "bgp", "spf", "ospf", "rip"]
# Administrative distances, as FRR has them: the lower wins.
PREFERENCES: dict[Source, int] = {"connected": 0, "static": 1, "bgp": 20, "spf": 90, "ospf": 110, "rip": 120}


@dataclass(frozen=True, slots=True, order=True)
class NextHop:
    """Where a packet goes next: out of `interface`, to `via` (None: the destination is on the link); weight 1 to 256."""

    interface: str
    via: IPv4Address | IPv6Address | None = None
    weight: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= 256:
            raise InvalidError(f"cannot use weight {self.weight}: it must be 1 to 256")


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one source. Without next hops it drops (blackhole). `tag` is a mark for policies (RFC 2328, A.4.5)."""

    prefix: IPv4Network | IPv6Network
    next_hops: tuple[NextHop, ...]
    source: Source
    preference: int
    metric: int = 0
    tag: int = 0
