"""What decides in a lab: from a topology and the state of its links to addresses, routes and the objects of both."""

from weft.network.controller.decide import Part, decide
from weft.network.controller.routes import NextHop, Route, compute_routes

__all__ = ["NextHop", "Part", "Route", "compute_routes", "decide"]
