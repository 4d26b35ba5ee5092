"""Ids by which one namespace knows others (ip-netns(8) `set`): what a socket that hears all of them tells them by.

In: descriptors. Out: requests for `netlink`. Source: linux/net_namespace.h.
"""

import struct

from weft.network.southbound.wire import AF_UNSPEC, NLM_F_ACK, Message, attribute, attributes

RTM_NEWNSID, RTM_GETNSID = 88, 90
_NETNSA_NSID, _NETNSA_FD = 1, 3


def add_nsid(descriptor: int, wanted: int) -> Message:
    """Knows the namespace of `descriptor` by the id `wanted`."""
    body = struct.pack("=Bxxx", AF_UNSPEC) + attribute(_NETNSA_NSID, struct.pack("=i", wanted))
    return Message(RTM_NEWNSID, NLM_F_ACK, body + attribute(_NETNSA_FD, struct.pack("=I", descriptor)), "namespace id")


def get_nsid(descriptor: int) -> Message:
    body = struct.pack("=Bxxx", AF_UNSPEC) + attribute(_NETNSA_FD, struct.pack("=I", descriptor))
    return Message(RTM_GETNSID, 0, body, "namespace id")


def parse_nsid(payload: bytes) -> int:
    """-1 where there is none."""
    return int(struct.unpack("=i", dict(attributes(payload[4:]))[_NETNSA_NSID])[0])
