"""RouteTable objects as routes of a namespace: from the API's texts to the data plane's values."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from weft.network.dataplane.linux import Hop, NodeRoute


# The same few texts stand in the tables of all nodes, and reading them is what takes the time.
@lru_cache(16384)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


@lru_cache(16384)
def _address(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text)


def routes_of(table: dict[str, Any]) -> tuple[NodeRoute, ...]:
    return tuple(
        NodeRoute(
            _network(route["destination"]),
            tuple(Hop(hop["interface"], _address(hop["via"]), hop.get("weight", 1)) for hop in route["nextHops"]),
            route.get("metric", 0),
        )
        for route in table["spec"].get("routes") or []
    )
