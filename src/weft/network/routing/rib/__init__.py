"""The routing information base: destinations and where packets for them go next."""

from weft.network.routing.rib.table import RouteTable

__all__ = ["RouteTable"]
