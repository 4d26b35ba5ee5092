"""OSPF version 2: link-state routing within one autonomous system (RFC 2328).

`config` what a user says; `lsa`, `packet` the wire; `state` what a router knows; `election`, `adjacency` neighbours;
`database`, `flooding` the common database; `origination` our own part of it; `spf`, `routes`, `ranges` what
follows; `core` all.
"""

from weft.network.routing.ospf.config import AreaConfig, AreaRange, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.ospf.core import NeighborStatus, Ospf

__all__ = ["AreaConfig", "AreaRange", "NeighborStatus", "Ospf", "OspfConfig", "OspfInterfaceConfig", "Throttle"]
