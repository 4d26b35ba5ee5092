"""Routes: `spf` computes them over a graph, `rib` keeps them by destination."""

from weft.network.routing.rib import RouteTable

__all__ = ["RouteTable"]
