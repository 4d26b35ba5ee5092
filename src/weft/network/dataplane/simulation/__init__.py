"""Labs in virtual time: the protocols and the controller as they are, on links that are simulated."""

from weft.network.dataplane.simulation.lab import Effect, Result, SimulatedLab, every_link
from weft.network.dataplane.simulation.network import SimulatedNetwork

__all__ = ["Effect", "Result", "SimulatedLab", "SimulatedNetwork", "every_link"]
