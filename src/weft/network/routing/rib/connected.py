"""The routes that interfaces bring: the network of each address of an interface that is up (RFC 1812, 5.2.4.3)."""

from collections.abc import Iterable

from weft.network.routing.protocol import Interface
from weft.network.routing.rib.routes import PREFERENCES, NextHop, Route
from weft.network.routing.rib.table import Prefix


def connected_routes(interfaces: Iterable[Interface]) -> tuple[Route, ...]:
    """For `Rib.replace("connected", ...)`. Where two interfaces are on one network, the first by name is used.

    Link-local networks are on every interface and belong to none: they are left out.
    """
    found: dict[Prefix, Route] = {}
    for each in sorted(interfaces, key=lambda each: each.name):
        network = each.address.network
        if each.up and not network.is_link_local:
            found.setdefault(network, Route(network, (NextHop(each.name),), "connected", PREFERENCES["connected"]))
    return tuple(found.values())
