"""Routers that others wrote, as nodes of a lab: FRR and BIRD, told what to do by the same configurations as our own.

`frr` and `bird` write configuration files (pure); `process` runs the daemons in a network namespace.
"""

from weft.network.routing.peers.neighbors import Seen
from weft.network.routing.peers.process import Bird, Frr, Peer

__all__ = ["Bird", "Frr", "Peer", "Seen"]
