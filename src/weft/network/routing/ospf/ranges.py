"""Area address ranges (RFC 2328, 3.5, 11.1 and 12.4.3): what an area border router says of many networks as of one.

In: the networks of the routing table, the ranges of areas. Out: the networks as other areas are to hear of them, and
the ranges for which packets are discarded that no network of theirs takes, or they would go in circles.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from weft.network.routing.ospf.config import AreaConfig, AreaRange
from weft.network.routing.ospf.routes import INTRA, Path, Prefix
from weft.network.routing.ospf.spf import NO_HOPS


def condense(networks: Mapping[Prefix, Path], areas: Iterable[AreaConfig]) -> dict[Prefix, Path]:
    """With each active range in place of what it covers; its cost is the largest of those, unless it has one set."""
    ranges = _by_area(areas)
    if not ranges:
        return dict(networks)
    found: dict[Prefix, Path] = {}
    costs: dict[tuple[int, AreaRange], int] = {}
    for prefix, path in networks.items():
        covering = _covering(ranges, prefix, path)
        if covering is None:
            found[prefix] = path
        else:
            key = path.area, covering
            costs[key] = max(costs.get(key, 0), path.cost)
    for (area, each), cost in costs.items():
        if each.advertise:
            found[_prefix(each)] = Path(INTRA, each.cost if each.cost is not None else cost, NO_HOPS, area)
    return found


def discarded(networks: Mapping[Prefix, Path], areas: Iterable[AreaConfig]) -> set[IPv4Network]:
    """The active ranges, less those that are networks themselves."""
    ranges = _by_area(areas)
    active = {_covering(ranges, prefix, path) for prefix, path in networks.items()} if ranges else set()
    return {each.prefix for each in active if each is not None and _prefix(each) not in networks}


def _by_area(areas: Iterable[AreaConfig]) -> dict[int, list[AreaRange]]:
    """The longest first: the most specific one counts."""
    return {
        int(each.area): sorted(each.ranges, key=lambda each: -each.prefix.prefixlen) for each in areas if each.ranges
    }


def _covering(ranges: Mapping[int, list[AreaRange]], prefix: Prefix, path: Path) -> AreaRange | None:
    if path.kind != INTRA:
        return None
    for each in ranges.get(path.area, ()):
        address, mask = _prefix(each)
        if prefix[0] & mask == address and prefix[1] & mask == mask:
            return each
    return None


def _prefix(each: AreaRange) -> Prefix:
    return int(each.prefix.network_address), int(each.prefix.netmask)
