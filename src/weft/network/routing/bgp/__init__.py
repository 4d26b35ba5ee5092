"""Addresses of services for routers outside, by BGP: what to announce to whom (pure), and ExaBGP's words for it.

BGP itself is ExaBGP's; `weft.node.bgp` runs it.
"""

from weft.network.routing.bgp.announce import Announcement, announcements
from weft.network.routing.bgp.config import (
    Advertisement,
    BgpPeer,
    read_advertisement,
    read_peer,
    validate_advertisement,
    validate_peer,
)
from weft.network.routing.bgp.exabgp import commands, configuration

__all__ = [
    "Advertisement",
    "Announcement",
    "BgpPeer",
    "announcements",
    "commands",
    "configuration",
    "read_advertisement",
    "read_peer",
    "validate_advertisement",
    "validate_peer",
]
