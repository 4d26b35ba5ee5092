"""Redistribution: the best routes of the other sources, as a policy lets them through, for a protocol to announce.

In: `Changes` of a `Rib`, or another policy. Out: the `Redistribute` event for a protocol's core.

Two routers that redistribute between the same two protocols in both directions could hand a protocol its own routes
back, and each would believe the other. A route that is redistributed without a tag therefore gets the tag of its
origin, and no route with the tag of a protocol goes (back) into that protocol. Tags travel in OSPF external LSAs (RFC
2328, A.4.5) and in RIPv2 (RFC 2453, 5.2: 16 bits, so ours fit in those). A tag that a route brought or that a policy
sets is kept: who sets another tag has to see to loops with statements that match it. BGP carries no tags.
"""

from collections.abc import Iterable
from dataclasses import replace

from weft.network.routing.policy.policy import Policy
from weft.network.routing.protocol import Redistribute
from weft.network.routing.rib.changes import Changes
from weft.network.routing.rib.routes import SOURCES, Route, Source

# "W" and the source's number: the order of SOURCES is on the wire, so new sources go to its end.
_ORIGIN = 0x5700


def origin_tag(source: Source) -> int:
    """The tag of routes that came from a source."""
    return _ORIGIN | SOURCES.index(source) + 1


def redistribute(changes: Changes, into: Source, policy: Policy) -> Redistribute:
    """What `into` must hear so that it announces what the policy permits; nothing where that stayed the same."""
    routes: list[Route] = []
    withdrawn = [route.prefix for route in changes.removed if _pass(route, into, policy)]
    for route in changes.added:
        if passed := _pass(route, into, policy):
            routes.append(passed)
    for each in changes.replaced:
        before, after = _pass(each.old, into, policy), _pass(each.new, into, policy)
        if after is None:
            if before is not None:
                withdrawn.append(before.prefix)
        elif after != before:
            routes.append(after)
    return Redistribute(tuple(routes), tuple(withdrawn))


def change_policy(routes: Iterable[Route], into: Source, old: Policy | None, new: Policy | None) -> Redistribute:
    """What `into` must hear of the best routes that there are when another policy takes the place of `old`."""
    announced: list[Route] = []
    withdrawn = []
    for route in routes:
        before = _pass(route, into, old) if old is not None else None
        after = _pass(route, into, new) if new is not None else None
        if after is None:
            if before is not None:
                withdrawn.append(before.prefix)
        elif after != before:
            announced.append(after)
    return Redistribute(tuple(announced), tuple(withdrawn))


def _pass(route: Route, into: Source, policy: Policy) -> Route | None:
    if route.source == into or route.tag == origin_tag(into):
        return None
    passed = policy.apply(route)
    if passed is None or passed.tag:
        return passed
    return replace(passed, tag=origin_tag(route.source))
