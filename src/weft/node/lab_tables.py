"""RouteTable objects as routes of a namespace: from the API's texts to the data plane's values."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from weft.network.dataplane.linux import Action, Hop, LocalSegment, NodeRoute

_ACTIONS = {"End": Action.END, "End.X": Action.END_X, "End.DX4": Action.END_DX4}


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
            tuple(_backup(hop) for hop in route.get("backup") or ()),
        )
        for route in table["spec"].get("routes") or []
    )


def _backup(hop: dict[str, Any]) -> Hop:
    via = _address(hop["via"]) if hop.get("via") else None
    return Hop(hop["interface"], via, 1, tuple(IPv6Address(segment) for segment in hop.get("segments") or ()))


def segments_of(table: dict[str, Any]) -> tuple[LocalSegment, ...]:
    """Raises ValueError, InvalidError for what no schema has caught."""
    return tuple(
        LocalSegment(
            IPv6Address(each["sid"]),
            _ACTIONS[each["action"]],
            _address(each["via"]) if each.get("via") else None,
            each.get("interface", ""),
        )
        for each in table["spec"].get("segments") or []
    )


def protected(table: dict[str, Any]) -> int:
    """How many routes go on when a link fails, with nobody's help."""
    routes = table["spec"].get("routes") or []
    return sum(bool(each.get("backup")) or len({hop["interface"] for hop in each["nextHops"]}) > 1 for each in routes)
