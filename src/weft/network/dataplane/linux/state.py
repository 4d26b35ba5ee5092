"""The desired state of a lab's data plane, and what came of it: values only."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from weft.network.southbound.segments import Action, LocalAction

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop: the interface of the namespace that it leaves by, and the neighbour's address (None: on the link).

    With `segments`, packets go on inside an IPv6 packet that visits these segment ids, first to last (RFC 8986); the
    route to the first of them says by which neighbour, and `interface` only that this hop is lost with that link.
    """

    interface: str
    via: IPv4Address | IPv6Address | None = None
    weight: int = 1
    segments: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeRoute:
    """A route of one namespace; without hops it drops (blackhole). `backup` is where packets go when none of `hops` is
    left: it is in the kernel ahead of time."""

    destination: IPv4Network | IPv6Network
    hops: tuple[Hop, ...]
    metric: int = 0
    backup: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalSegment:
    """A segment id of a node, and what the node does with packets for it. `interface` is that of the neighbour `via`;
    without one, any link of the node serves."""

    sid: IPv6Address
    action: Action
    via: IPv4Address | IPv6Address | None = None
    interface: str = ""

    def __post_init__(self) -> None:
        LocalAction(self.action, self.via)  # raises InvalidError


@dataclass(frozen=True, slots=True)
class Namespace:
    """A node. `loopback` are addresses of its `lo`; `forward` makes it a router, `bridge` a switch: all of its links
    are ports of one bridge, `ports` one whose links are ports of a switch that is not the kernel's."""

    name: str
    forward: bool = False
    loopback: tuple[Interface, ...] = ()
    routes: tuple[NodeRoute, ...] = ()
    local_segments: tuple[LocalSegment, ...] = ()
    bridge: bool = False
    ports: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: in which namespace, under which name (at most 15 bytes), with which addresses."""

    namespace: str
    interface: str
    addresses: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class DataLink:
    """A link between two namespaces. `rate` in bits a second, 0 for unlimited; `up` False keeps both ends down."""

    name: str
    ends: tuple[End, End]
    mtu: int = 1500
    rate: int = 0
    up: bool = True


@dataclass(frozen=True, slots=True)
class NetworkState:
    """Everything of one lab."""

    namespaces: tuple[Namespace, ...] = ()
    links: tuple[DataLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What an `apply` left: errors by the name of the namespace or link; `unlimited`: links whose rate the kernel
    cannot enforce; `changes`: how many requests it took (0 means that all was as it should be)."""

    errors: dict[str, str] = field(default_factory=dict)
    unlimited: tuple[str, ...] = ()
    changes: int = 0
