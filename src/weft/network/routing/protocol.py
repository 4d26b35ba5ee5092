"""The vocabulary that all routing protocols share: the events that reach a core, and the actions that it asks for.

A core (`ospf`, `rip`, `bfd`) is sans-IO: `handle(event, now)` takes an event and the time in seconds (monotonic, any
origin) and returns actions, to be carried out in order; `next_timer()` says when it must be given a `TimerFired` at
the latest (None: never). The same core runs under the simulator's clock (`dataplane.simulation`) and on sockets in
network namespaces (`routing.daemon`). A packet is what the protocol itself writes: the payload of IP for OSPF
(protocol 89), of UDP for RIP (port 520), RIPng (521) and BFD (3784).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal, Protocol

from weft.core.errors import WeftError
from weft.network.routing.rib.routes import Route

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
ProtocolName = Literal["ospf", "rip", "ripng", "bfd"]


class PacketError(WeftError):
    """The only error of every packet parser: what is wrong, and at which byte where that helps."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as protocols see it. `up`: administratively up, with a carrier."""

    name: str
    address: IPv4Interface | IPv6Interface
    mtu: int = 1500
    up: bool = True


# Events


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """`ttl` is that of the IP header (GTSM, RFC 5082; BFD wants 255)."""

    interface: str
    source: Address
    destination: Address
    data: bytes
    ttl: int = 1


@dataclass(frozen=True, slots=True)
class InterfaceChanged:
    """An interface is there, or something of it is another than before."""

    interface: Interface


@dataclass(frozen=True, slots=True)
class InterfaceRemoved:
    name: str


@dataclass(frozen=True, slots=True)
class NeighborLost:
    """Something faster than hellos (BFD) says that a neighbour cannot be reached."""

    interface: str
    address: Address


@dataclass(frozen=True, slots=True)
class Redistribute:
    """Routes of other sources to announce (a later one for the same prefix takes its place), and ones to withdraw."""

    routes: tuple[Route, ...] = ()
    withdrawn: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time that `next_timer` named has come; also harmless at any other time."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Take leave of the neighbours, so that they do not wait for timers."""


Event = PacketReceived | InterfaceChanged | InterfaceRemoved | NeighborLost | Redistribute | TimerFired | Shutdown

# Actions


@dataclass(frozen=True, slots=True)
class Send:
    """A packet to send out of an interface; multicast with a TTL of 1 (BFD: unicast with 255)."""

    interface: str
    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class RouteUpdate:
    """What changed in the protocol's own routes: routes added or replaced, and prefixes without one now."""

    routes: tuple[Route, ...] = ()
    withdrawn: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class NeighborChanged:
    """A neighbour has another state now, in the words of its protocol ("Full", "Up"); `gone` when it is forgotten."""

    protocol: ProtocolName
    interface: str
    address: Address
    state: str
    router_id: IPv4Address | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something for the log, such as a packet that was refused and why."""

    protocol: ProtocolName
    interface: str
    text: str


Action = Send | RouteUpdate | NeighborChanged | Notice


class RoutingProtocol(Protocol):
    """What every core is."""

    def handle(self, event: Event, now: float) -> Sequence[Action]:
        """Malformed packets give a Notice and change nothing; no event raises."""
        ...

    def next_timer(self) -> float | None: ...
