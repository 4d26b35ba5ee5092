"""From a plan to a router that runs by it.

In: a `Plan`; for a simulation also the seed of all chance. Out: a `Router`, and the user's own routes for it. Who is
next: the daemon's process, and `dataplane.simulation`.
"""

import random

from weft.network.routing.bfd import Bfd, BfdConfig
from weft.network.routing.daemon.plan import Plan
from weft.network.routing.ospf import Ospf
from weft.network.routing.policy import Policy
from weft.network.routing.protocol import ProtocolName, RoutingProtocol
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route
from weft.network.routing.rip import Rip
from weft.network.routing.router import Announcer, Router
from weft.network.topology.settings import BfdSettings


def assemble(made: Plan, seed: str | None = None) -> Router:
    """A router with the protocols of a plan, all at their start. Without `seed`, chance is the machine's."""
    rng = random.Random(seed)
    protocols: dict[ProtocolName, RoutingProtocol] = {}
    if made.ospf is not None:
        protocols["ospf"] = Ospf(made.ospf)
    if made.rip is not None:
        protocols["rip"] = Rip(made.rip, rng)
    if (protocols or made.router.routing == "spf") and (made.bfd is not None or any(made.bfd_on.values())):
        protocols["bfd"] = Bfd(_bfd(made.bfd), rng, {name: _bfd(each) for name, each in made.bfd_on.items()})
    return Router(protocols, redistribution(made))


def _bfd(settings: BfdSettings | None) -> BfdConfig | None:
    return BfdConfig(settings.interval, settings.interval, settings.multiplier) if settings is not None else None


def redistribution(made: Plan) -> dict[Announcer, Policy]:
    if made.announced is None:
        return {}
    return {"ospf" if made.ospf is not None else "rip": made.announced}


def static_routes(made: Plan) -> list[Route]:
    return [
        Route(each.destination, (NextHop("", each.via),) if each.via else (), "static", PREFERENCES["static"])
        for each in made.router.static
    ]
