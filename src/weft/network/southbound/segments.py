"""Segment routing over IPv6 in the kernel: what a route does to a packet on its way (lightweight tunnels).

`encapsulation` puts IPv4 or IPv6 packets into an IPv6 packet with a list of segments (RFC 8986 section 5.1, H.Encaps);
`LocalSegment` is what a node does with a packet addressed to one of its own segment ids (RFC 8986 section 4). In and
out: attributes of routes and next hops, for `routes` and `nexthops`.
Source: linux/seg6.h, seg6_iptunnel.h, seg6_local.h, lwtunnel.h.
"""

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from weft.core.errors import InvalidError
from weft.network.southbound.wire import attribute, attributes, number

ENCAP_SEG6, ENCAP_SEG6_LOCAL = 5, 7
_SEG6_IPTUNNEL_SRH, _MODE_ENCAP = 1, 1
_LOCAL_ACTION, _LOCAL_NH4, _LOCAL_NH6 = 1, 4, 5
_ROUTING_TYPE_4 = 4
MOST_SEGMENTS = 16


class Action(enum.IntEnum):
    """The behaviours of RFC 8986, by the kernel's numbers."""

    END = 1
    END_X = 2
    END_DX6 = 5
    END_DX4 = 6


@dataclass(frozen=True, slots=True)
class LocalAction:
    """What is done with packets for a segment id of this node.

    END goes on to the next segment; END_X does so over the neighbour `via`. END_DX4 and END_DX6 unpack: towards the
    neighbour `via`, or, without one, by a look-up of the inner packet's own destination.
    """

    action: Action
    via: IPv4Address | IPv6Address | None = None

    def __post_init__(self) -> None:
        version = {Action.END: None, Action.END_X: 6, Action.END_DX6: 6, Action.END_DX4: 4}[self.action]
        if self.via is None:
            if self.action is Action.END_X:
                raise InvalidError("END_X needs a neighbour")
        elif self.via.version != version:
            raise InvalidError(f"{self.action.name} cannot go on to {self.via}")


def encapsulation(segments: tuple[IPv6Address, ...]) -> bytes:
    """RTA_ENCAP of H.Encaps: the SRH lists the segments from last to first (RFC 8754 section 2)."""
    last = len(segments) - 1
    header = struct.pack("=BBBBBBH", 0, 2 * len(segments), _ROUTING_TYPE_4, last, last, 0, 0)
    header += b"".join(segment.packed for segment in reversed(segments))
    return attribute(_SEG6_IPTUNNEL_SRH, struct.pack("=i", _MODE_ENCAP) + header)


def parse_encapsulation(data: bytes) -> tuple[IPv6Address, ...]:
    """The segments, first to last; none where it is another mode or damaged."""
    content = dict(attributes(data)).get(_SEG6_IPTUNNEL_SRH, b"")
    if len(content) < 12 or struct.unpack_from("=i", content)[0] != _MODE_ENCAP:
        return ()
    count = content[8] + 1
    packed = content[12 : 12 + 16 * count]
    if len(packed) < 16 * count:
        return ()
    return tuple(IPv6Address(packed[16 * n : 16 * n + 16]) for n in reversed(range(count)))


def local(action: LocalAction) -> bytes:
    """RTA_ENCAP of a segment that ends here."""
    content = attribute(_LOCAL_ACTION, struct.pack("=I", action.action))
    if action.action is Action.END_DX4:
        content += attribute(_LOCAL_NH4, (action.via or IPv4Address(0)).packed)
    elif action.action is not Action.END:
        content += attribute(_LOCAL_NH6, (action.via or IPv6Address(0)).packed)
    return content


def parse_local(data: bytes) -> LocalAction | None:
    """None for what Weft does not make."""
    values = dict(attributes(data))
    try:
        action = Action(number(values.get(_LOCAL_ACTION)))
        via: IPv4Address | IPv6Address | None = None
        if action is Action.END_DX4:
            via = IPv4Address(values.get(_LOCAL_NH4, b"\0" * 4))
        elif action is not Action.END:
            via = IPv6Address(values.get(_LOCAL_NH6, b"\0" * 16))
        return LocalAction(action, via if via is not None and int(via) else None)
    except (ValueError, InvalidError):
        return None
