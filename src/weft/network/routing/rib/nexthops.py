"""Recursive next hops (RFC 4271, 5.1.3 and 9.1.2.1): what a next hop without an interface comes down to.

In: next hops of a route, and for each address the next hops of the route that covers it. Out: next hops with
interfaces, equal ones put together, with weights in the same proportion as the paths have.
"""

from collections.abc import Callable
from math import gcd, lcm

from weft.network.routing.protocol import Address
from weft.network.routing.rib.routes import MAX_WEIGHT, NextHop

Hops = tuple[NextHop, ...]


def expand(hops: Hops, cover: Callable[[Address], Hops | None]) -> Hops | None:
    """None where no next hop can be reached. A cover without next hops drops, and so does what goes over it alone."""
    ways: list[tuple[int, Hops]] = []
    reachable = False
    for hop in hops:
        if hop.interface or hop.via is None:
            ways.append((hop.weight, (NextHop(hop.interface, hop.via),)))
            continue
        below = cover(hop.via)
        if below is None:
            continue
        reachable = True
        if below:
            # On the link of a connected route, the next hop itself is the neighbour.
            ways.append((hop.weight, tuple(NextHop(b.interface, b.via or hop.via, b.weight) for b in below)))
    if not ways:
        return () if reachable else None
    return _merge(ways)


def _merge(ways: list[tuple[int, Hops]]) -> Hops:
    common = lcm(*(sum(hop.weight for hop in below) for _, below in ways))
    weights: dict[tuple[str, Address | None], int] = {}
    for weight, below in ways:
        share = weight * common // sum(hop.weight for hop in below)
        for hop in below:
            key = hop.interface, hop.via
            weights[key] = weights.get(key, 0) + share * hop.weight
    if len(weights) == 1:
        [(interface, via)] = weights
        return (NextHop(interface, via),)
    divisor = gcd(*weights.values())
    largest = max(weights.values()) // divisor
    return tuple(
        NextHop(interface, via, _fit(weight // divisor, largest)) for (interface, via), weight in weights.items()
    )


def _fit(weight: int, largest: int) -> int:
    return weight if largest <= MAX_WEIGHT else max(1, round(weight * MAX_WEIGHT / largest))
