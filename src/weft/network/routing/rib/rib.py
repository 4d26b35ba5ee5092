"""The routing information base: the routes of all sources, and which of them is the best for each prefix.

In: what each source (a protocol, the operator, the interfaces) has to say, as differences or as a whole. Out: `Changes`
of the best routes, the smallest there are; the driver of a data plane carries them out, `policy` redistributes them.

Best is the lowest preference, then the lowest metric, of the routes that can be used. A route of BGP or a static one
may name a next hop without an interface; the longest match for that address says where it is (RFC 4271, 9.1.2.1). So
that the outcome depends on the routes alone and not on the order in which they came, and never goes in circles, such a
route is looked up only among what is more solid: a static one among routes with interfaces, one of BGP also among
static ones. A default route does not count unless asked for, as in FRR.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import replace

from weft.core.errors import InvalidError
from weft.network.routing.protocol import Address, Prefix, RouteUpdate
from weft.network.routing.rib.changes import Changes, Replacement
from weft.network.routing.rib.nexthops import Hops, expand
from weft.network.routing.rib.prefixes import PrefixMap
from weft.network.routing.rib.routes import Route, Source

# What a recursive route may rest on: routes of lower levels. Those with interfaces are of level 0.
_LEVELS: dict[Source, int] = {"static": 1, "bgp": 2}
_ALL = max(_LEVELS.values()) + 1


class _Entry:
    """All that is known of one prefix: a route of each source at most, and the best with its next hops resolved."""

    __slots__ = ("best", "routes")

    def __init__(self) -> None:
        self.routes: tuple[Route, ...] = ()
        self.best: Route | None = None


class _Tracked:
    """An address that recursive routes of one level need: the prefixes that do, and what it comes down to."""

    __slots__ = ("hops", "users")

    def __init__(self) -> None:
        self.users: dict[Prefix, None] = {}
        self.hops: Hops | None = None


class Rib:
    """`update` and `replace` return what changed among the best routes; `lookup` and iteration give those."""

    def __init__(self, *, resolve_via_default: bool = False) -> None:
        self._maps: dict[int, PrefixMap[_Entry]] = {4: PrefixMap(32), 6: PrefixMap(128)}
        self._prefixes: dict[Source, dict[Prefix, None]] = {}
        self._tracked: dict[tuple[int, Address], _Tracked] = {}
        # The same addresses in order, by level and family: those within a prefix lie side by side.
        self._order: dict[tuple[int, int], list[int]] = {(n, v): [] for n in _LEVELS.values() for v in (4, 6)}
        self._shortest = 0 if resolve_via_default else 1

    def update(self, source: Source, changes: RouteUpdate) -> Changes:
        """What a source has anew or in place of its own (the last one of a prefix counts), and what it withdraws."""
        return self._change(source, changes.routes, changes.withdrawn)

    def replace(self, source: Source, routes: Iterable[Route]) -> Changes:
        """All that a source has; what it had besides is gone."""
        wanted = {route.prefix: route for route in routes}
        gone = [prefix for prefix in self._prefixes.get(source, ()) if prefix not in wanted]
        return self._change(source, wanted.values(), gone)

    def best(self, prefix: Prefix) -> Route | None:
        """The best route of exactly this prefix, its next hops resolved."""
        entry = self._entry(prefix)
        return entry.best if entry else None

    def candidates(self, prefix: Prefix) -> tuple[Route, ...]:
        """What all sources say of exactly this prefix, the most preferred first, as they gave it."""
        entry = self._entry(prefix)
        return tuple(sorted(entry.routes, key=_rank)) if entry else ()

    def lookup(self, address: Address) -> Route | None:
        """The best route of the longest prefix that covers an address and has a route to use."""
        entry = self._maps[address.version].match(int(address))
        if entry is None or entry.best is not None:
            return entry.best if entry else None
        for _, shorter in self._maps[address.version].matches(int(address), address.max_prefixlen):
            if shorter.best is not None:
                return shorter.best
        return None

    def __iter__(self) -> Iterator[Route]:
        """The best routes."""
        for entries in self._maps.values():
            for _, _, entry in entries:
                if entry.best is not None:
                    yield entry.best

    def _change(self, source: Source, routes: Iterable[Route], withdrawn: Iterable[Prefix]) -> Changes:
        routes = list(routes)
        for route in routes:
            if route.source != source:
                raise InvalidError(f"cannot take a route of {route.source} to {route.prefix} from {source}")
            if source not in _LEVELS and _level(route):
                raise InvalidError(f"cannot take the route of {source} to {route.prefix}: a next hop has no interface")
        touched: dict[Prefix, None] = {}
        for prefix in withdrawn:
            if prefix in self._prefixes.get(source, ()):
                self._put(source, prefix, None)
                touched[prefix] = None
        for route in routes:
            self._put(source, route.prefix, route)
            touched[route.prefix] = None
        for level in sorted(_LEVELS.values()):
            self._resolve(level, touched)
        return self._select(touched)

    def _put(self, source: Source, prefix: Prefix, route: Route | None) -> None:
        network, length = int(prefix.network_address), prefix.prefixlen
        entries = self._maps[prefix.version]
        entry = entries.get(network, length)
        if entry is None:
            entry = _Entry()
            entries.insert(network, length, entry)
        old = next((each for each in entry.routes if each.source == source), None)
        if old is not None:
            self._track(old, False)
        others = tuple(each for each in entry.routes if each.source != source)
        if route is None:
            entry.routes = others
            self._prefixes[source].pop(prefix, None)
        else:
            entry.routes = (*others, route)
            self._prefixes.setdefault(source, {})[prefix] = None
            self._track(route, True)

    def _track(self, route: Route, wanted: bool) -> None:
        level = _level(route)
        if not level:
            return
        for via in {hop.via for hop in route.next_hops if not hop.interface}:
            if via is None:
                continue
            key = level, via
            order = self._order[level, via.version]
            if wanted:
                tracked = self._tracked.get(key)
                if tracked is None:
                    tracked = self._tracked[key] = _Tracked()
                    tracked.hops = self._cover(level, via)
                    insort(order, int(via))
                tracked.users[route.prefix] = None
                continue
            tracked = self._tracked[key]
            tracked.users.pop(route.prefix, None)
            if not tracked.users:
                del self._tracked[key]
                del order[bisect_left(order, int(via))]

    def _resolve(self, level: int, touched: dict[Prefix, None]) -> None:
        """Looks again for addresses within what was touched; who rests on one that moved is touched as well."""
        for via in self._concerned(level, touched):
            tracked = self._tracked[level, via]
            hops = self._cover(level, via)
            if hops != tracked.hops:
                tracked.hops = hops
                touched.update(tracked.users)

    def _concerned(self, level: int, touched: dict[Prefix, None]) -> list[Address]:
        tracked = [via for number, via in self._tracked if number == level]
        if len(tracked) <= len(touched):
            return tracked
        found: dict[Address, None] = {}
        for prefix in touched:
            order = self._order[level, prefix.version]
            kind = type(prefix.network_address)
            start = bisect_left(order, int(prefix.network_address))
            last = int(prefix.broadcast_address)
            while start < len(order) and order[start] <= last:
                found[kind(order[start])] = None
                start += 1
        return list(found)

    def _cover(self, level: int, via: Address) -> Hops | None:
        """The next hops of the longest match among routes below a level."""
        for length, entry in self._maps[via.version].matches(int(via), via.max_prefixlen):
            if length >= self._shortest and (route := self._choose(entry, level)) is not None:
                return route.next_hops
        return None

    def _choose(self, entry: _Entry, below: int = _ALL) -> Route | None:
        """The best usable route of an entry, of levels below one."""
        routes = entry.routes
        for route in routes if len(routes) < 2 else sorted(routes, key=_rank):
            level = _level(route)
            if level >= below:
                continue
            if not level:
                return route
            hops = self._expand(route, level)
            if hops is not None:
                return replace(route, next_hops=hops)
        return None

    def _expand(self, route: Route, level: int) -> Hops | None:
        return expand(route.next_hops, lambda via: self._tracked[level, via].hops)

    def _select(self, touched: Iterable[Prefix]) -> Changes:
        added, replaced, removed = [], [], []
        for prefix in touched:
            entries = self._maps[prefix.version]
            network, length = int(prefix.network_address), prefix.prefixlen
            entry = entries.get(network, length)
            if entry is None:
                continue
            old, new = entry.best, self._choose(entry)
            entry.best = new
            if not entry.routes:
                entries.remove(network, length)
            if old is None:
                if new is not None:
                    added.append(new)
            elif new is None:
                removed.append(old)
            elif old != new:
                replaced.append(Replacement(old, new))
        return Changes(tuple(added), tuple(replaced), tuple(removed))

    def _entry(self, prefix: Prefix) -> _Entry | None:
        return self._maps[prefix.version].get(int(prefix.network_address), prefix.prefixlen)


def _rank(route: Route) -> tuple[int, int, str]:
    return route.preference, route.metric, route.source


def _level(route: Route) -> int:
    """0 where all next hops have interfaces."""
    for hop in route.next_hops:
        if not hop.interface:
            return _LEVELS.get(route.source, _ALL)
    return 0
