"""Shortest path first: Dijkstra's algorithm with all equal-cost first hops."""

from weft.network.routing.spf.dijkstra import Edge, Reach, shortest_paths

__all__ = ["Edge", "Reach", "shortest_paths"]
