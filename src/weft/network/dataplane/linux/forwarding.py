"""Makes the routes of one namespace agree with what it should have: next-hop objects first, then the routes, and last
away with objects that nobody needs. What changes is sent in two batches at most.

In: a node's routes and segment ids, and which of its links can carry packets. Out: requests to the kernel. Where it has
no next-hop objects (`View.objects` is None), routes bring their own next hops.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Network

from weft.core.errors import NotFoundError, WeftError
from weft.network.dataplane.linux import objects
from weft.network.dataplane.linux.state import Hop, Namespace, NodeRoute
from weft.network.dataplane.linux.view import RouteKey, View, key
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.monitor import Part
from weft.network.southbound.nexthops import NextHopObject, Object, delete_object, replace_object
from weft.network.southbound.routes import DEFAULT_METRIC_6
from weft.network.southbound.segments import LocalAction

# Added to a route's metric for its backup; what other programs install stays below.
BACKUP_METRIC = 1_000_000
_BadHops = dict[rt.NextHop, WeftError]


PlanKey = tuple[int, tuple[Hop, ...], tuple[Hop, ...]]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The hops and the backup of many routes, those that can be used now, by the indexes of their links."""

    hops: tuple[rt.NextHop, ...]
    backup: tuple[rt.NextHop, ...]


def ensure_routes(view: View, namespace: Namespace, usable: dict[str, int]) -> tuple[int, str]:
    """How many requests it took, and the first thing that went wrong, if any. `usable`: index by interface."""
    view.read_routes()
    if view.done == (namespace, usable):
        return 0, ""
    view.done = None
    wanted: dict[RouteKey, rt.Route] = {}
    movable: dict[PlanKey, list[NodeRoute]] = {}
    for route in namespace.routes:
        if view.objects is not None and _moves(namespace, route):
            movable.setdefault((route.destination.version, route.hops, route.backup), []).append(route)
        else:
            _want(wanted, plain(route, usable))
    plans, bad, changes = _plan(view, movable, usable)
    for plan_key, routes in movable.items():
        active, backup = plans.ids[plan_key]
        for route in routes:
            _want(wanted, by(route, active, backup))
    _want(wanted, local_routes(namespace, usable))
    more, problem = _install(view, wanted, plans)
    for plan_key, routes in movable.items():
        if reason := next((reason for hop, reason in bad.items() if _mentions(plan_key, hop, usable)), None):
            problem = f"cannot set up route {routes[0].destination}: {reason}"
            break
    if not problem:
        view.assigned = plans.assigned
        view.done = (namespace, dict(usable))
    return changes + more, problem


def _plan(
    view: View, movable: dict[PlanKey, list[NodeRoute]], usable: dict[str, int]
) -> tuple[objects.Plans, _BadHops, int]:
    """The objects, with those of single hops already in the kernel; hops that it refused; and how many it took."""
    plans, bad, changes = objects.Plans(), _BadHops(), 0
    resolved = {each: Resolved(_hops(each[1], usable), _hops(each[2], usable)) for each in movable}
    votes = {plan_key: _current(view, routes) for plan_key, routes in movable.items()}
    while movable:
        wishes = [
            objects.Wish(plan_key, each.hops, each.backup, plan_key[0], votes[plan_key])
            for plan_key, each in resolved.items()
        ]
        plans = objects.plan(wishes, _every(view), view.assigned)
        refused, done = _install_leaves(view, plans)
        changes += done
        if not refused:
            break
        bad |= refused
        resolved = {plan_key: _without(each, bad) for plan_key, each in resolved.items()}
    return plans, bad, changes


def _want(wanted: dict[RouteKey, rt.Route], routes: Iterable[rt.Route]) -> None:
    for route in routes:
        wanted[key(route.destination, route.metric)] = route


def _hops(hops: Iterable[Hop], usable: dict[str, int]) -> tuple[rt.NextHop, ...]:
    """A link that is down has no place in a route: routes are computed anew when a link changes."""
    return tuple(
        rt.NextHop(usable[hop.interface], hop.via, hop.weight, hop.segments) for hop in hops if hop.interface in usable
    )


def _same(hop: rt.NextHop, other: rt.NextHop) -> bool:
    return (hop.index, hop.gateway, hop.segments) == (other.index, other.gateway, other.segments)


def _without(each: Resolved, bad: _BadHops) -> Resolved:
    def good(hops: tuple[rt.NextHop, ...]) -> tuple[rt.NextHop, ...]:
        return tuple(hop for hop in hops if not any(_same(hop, other) for other in bad))

    return Resolved(good(each.hops), good(each.backup))


def _mentions(plan_key: PlanKey, bad: rt.NextHop, usable: dict[str, int]) -> bool:
    return any(_same(hop, bad) for hop in _hops((*plan_key[1], *plan_key[2]), usable))


def _every(view: View) -> dict[int, Object]:
    """With the ids of others taken."""
    return {**{id: NextHopObject(id, 0, 0, protocol=0) for id in view.foreign}, **(view.objects or {})}


def _moves(namespace: Namespace, route: NodeRoute) -> bool:
    """Whether a route refers to objects: a router's do, so that they move together, and all with more than one way. A
    host's few others bring their own next hop, and a blackhole needs none."""
    if not route.hops and not route.backup:
        return False
    return namespace.forward or len(route.hops) > 1 or bool(route.backup)


def _current(view: View, routes: list[NodeRoute]) -> Counter[int]:
    """How many of the routes have which plan now."""
    found: Counter[int] = Counter()
    for route in routes:
        present = view.routes.get(key(route.destination, _metric(route)))
        if present is not None and present.object:
            found[present.object - objects.ACTIVE] += 1
    return found


def _metric(route: NodeRoute) -> int:
    return route.metric or (DEFAULT_METRIC_6 if route.destination.version == 6 else 0)


def by(route: NodeRoute, active: int, backup: int) -> list[rt.Route]:
    """The routes that refer to objects: the active one, and the one that waits."""
    made = [rt.Route(route.destination, (), _metric(route), object=active)] if active else []
    if backup:
        made.append(rt.Route(route.destination, (), _metric(route) + BACKUP_METRIC, object=backup))
    return made


def plain(route: NodeRoute, usable: dict[str, int]) -> list[rt.Route]:
    """The same without objects; and blackholes."""
    if not route.hops and not route.backup:
        return [rt.Route(route.destination, (), _metric(route))]
    made = []
    for wanted, metric in ((route.hops, _metric(route)), (route.backup, _metric(route) + BACKUP_METRIC)):
        if hops := _hops(wanted, usable):
            one = (rt.NextHop(hops[0].index, hops[0].gateway, 1, hops[0].segments),)  # one alone has no weight
            made.append(rt.Route(route.destination, hops if len(hops) > 1 else one, metric))
    return made


def local_routes(namespace: Namespace, usable: dict[str, int]) -> list[rt.Route]:
    """The kernel ties a segment id to a link and forgets it with that, so it is tied to each that serves."""
    made = []
    for segment in namespace.local_segments:
        interfaces = [segment.interface] if segment.interface else sorted(usable)
        for order, name in enumerate(interfaces):
            if name in usable:
                hops, action = (rt.NextHop(usable[name]),), LocalAction(segment.action, segment.via)
                destination = IPv6Network(segment.sid)
                made.append(rt.Route(destination, hops, DEFAULT_METRIC_6 + order, local=action))
    return made


def _install_leaves(view: View, plans: objects.Plans) -> tuple[_BadHops, int]:
    """Those that the kernel refused, with its reason, and how many it took."""
    if view.objects is None:
        return {}, 0
    fresh = [each for id, each in plans.objects.items() if isinstance(each, NextHopObject) and id not in view.objects]
    refused: _BadHops = {}
    for leaf, error in zip(fresh, view.netlink.results([replace_object(leaf) for leaf in fresh]), strict=True):
        if error is None:
            view.objects[leaf.id] = leaf
        else:
            refused[rt.NextHop(leaf.index, leaf.gateway, 1, leaf.segments)] = error
    return refused, len(fresh) - len(refused)


def _install(view: View, wanted: dict[RouteKey, rt.Route], plans: objects.Plans) -> tuple[int, str]:
    present = view.objects or {}
    groups = [
        each for id, each in plans.objects.items() if not isinstance(each, NextHopObject) and present.get(id) != each
    ]
    gone_routes = {at: route for at, route in view.routes.items() if at not in wanted}
    routes = {at: route for at, route in wanted.items() if not _agrees(view.routes.get(at), route)}
    # Groups hold other objects, so they go first.
    unused = sorted((each for id, each in present.items() if id not in plans.objects), key=lambda each: -each.id)
    requests = [replace_object(each) for each in groups]
    requests += [rt.replace_route(route) for route in routes.values()]
    removed = len(requests)
    requests += [rt.delete_route(route) for route in gone_routes.values()]
    requests += [delete_object(each) for each in unused]
    problem = ""
    for index, error in enumerate(view.netlink.results(requests)):
        if error is None or (index >= removed and isinstance(error, NotFoundError)):
            continue
        problem = problem or str(error)
    if problem:
        view.stale |= Part.ROUTES
        return len(requests), problem
    for at in gone_routes:
        del view.routes[at]
    view.routes.update(routes)
    if view.objects is not None:
        view.objects.update((each.id, each) for each in groups)
        for each in unused:
            del view.objects[each.id]
    return len(requests), ""


def _agrees(present: rt.Route | None, wanted: rt.Route) -> bool:
    """What a dump says of an object's route besides the object only repeats the object."""
    if present is None or present.object != wanted.object:
        return False
    return bool(wanted.object) or present == wanted
