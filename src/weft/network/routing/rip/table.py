"""The table of a RIP router (RFC 2453, 3.4 to 3.8): for each destination its metric and the ways of that metric.

In: what neighbours announce, connected and redistributed networks, losses, time. Out: by `take_changes`, the
destinations that are another than before, once for the neighbours and once for the router's own use.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from weft.network.routing.rip.packet import INFINITY

Way = tuple[str, IPv4Address]  # interface and gateway


@dataclass(slots=True, eq=False)
class Destination:
    """`ways` are by deadline; none for a network that is ours or that we announce for others (`is_own`)."""

    prefix: IPv4Network
    metric: int
    tag: int = 0
    is_own: bool = False
    ways: dict[Way, float] = field(default_factory=dict)
    forget_at: float | None = None  # set while it is unreachable (3.8, garbage collection)


class Table:
    def __init__(self, timeout: float, garbage: float, max_paths: int) -> None:
        self._timeout = timeout
        self._garbage = garbage
        self._max_paths = max_paths
        self._destinations: dict[IPv4Network, Destination] = {}
        self._own: dict[IPv4Network, dict[str, tuple[int, int]]] = {}
        self._news: dict[IPv4Network, None] = {}
        self._moves: dict[IPv4Network, None] = {}

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._destinations.values())

    def get(self, prefix: IPv4Network) -> Destination | None:
        return self._destinations.get(prefix)

    def take_news(self) -> list[IPv4Network]:
        """What neighbours must hear: metrics or tags that changed."""
        news, self._news = list(self._news), {}
        return news

    def take_moves(self) -> list[IPv4Network]:
        """What the router itself must use otherwise than before."""
        moves, self._moves = list(self._moves), {}
        return moves

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def announce(self, prefix: IPv4Network, origin: str, metric: int, tag: int, now: float) -> None:
        """A network of our own, or of another protocol, from now on; `origin` names whose it is."""
        self._own.setdefault(prefix, {})[origin] = (metric, tag)
        self._settle_own(prefix, now)

    def withdraw(self, prefix: IPv4Network, origin: str, now: float) -> None:
        origins = self._own.get(prefix, {})
        if origins.pop(origin, None) is not None:
            if not origins:
                del self._own[prefix]
            self._settle_own(prefix, now)

    def _settle_own(self, prefix: IPv4Network, now: float) -> None:
        known = self._destinations.get(prefix)
        origins = self._own.get(prefix)
        if origins:
            metric, tag = min(origins.values())
            if known is None or not known.is_own or (known.metric, known.tag) != (metric, tag):
                self._destinations[prefix] = Destination(prefix, metric, tag, is_own=True)
                self._news[prefix] = self._moves[prefix] = None
        elif known is not None and known.is_own:
            known.is_own = False
            self._lose(known, now)

    def learn(self, prefix: IPv4Network, metric: int, tag: int, way: Way, now: float) -> None:
        """3.9.2: what a neighbour says, its metric with the interface's cost in it."""
        known = self._destinations.get(prefix)
        if known is None:
            if metric < INFINITY:
                self._replace(prefix, metric, tag, way, now)
            return
        if known.is_own:
            return
        if way in known.ways:
            if metric == known.metric and tag == known.tag:
                known.ways[way] = now + self._timeout
            elif metric < known.metric or (metric < INFINITY and len(known.ways) == 1):
                self._replace(prefix, metric, tag, way, now)
            else:
                self._drop_way(known, way, now)
        elif metric < known.metric:
            self._replace(prefix, metric, tag, way, now)
        elif metric == known.metric < INFINITY and tag == known.tag and len(known.ways) < self._max_paths:
            known.ways[way] = now + self._timeout
            self._moves[prefix] = None

    def _replace(self, prefix: IPv4Network, metric: int, tag: int, way: Way, now: float) -> None:
        self._destinations[prefix] = Destination(prefix, metric, tag, ways={way: now + self._timeout})
        self._news[prefix] = self._moves[prefix] = None

    def _drop_way(self, known: Destination, way: Way, now: float) -> None:
        del known.ways[way]
        self._moves[known.prefix] = None
        if not known.ways:
            self._lose(known, now)

    def _lose(self, known: Destination, now: float) -> None:
        known.ways.clear()
        if known.metric < INFINITY:
            known.metric = INFINITY
            known.forget_at = now + self._garbage
            self._news[known.prefix] = self._moves[known.prefix] = None

    def lose_interface(self, interface: str, now: float) -> None:
        self._lose_ways(lambda way: way[0] == interface, now)

    def lose_gateway(self, interface: str, gateway: object, now: float) -> None:
        self._lose_ways(lambda way: way == (interface, gateway), now)

    def _lose_ways(self, is_lost: Callable[[Way], bool], now: float) -> None:
        for known in list(self._destinations.values()):
            for way in [way for way in known.ways if is_lost(way)]:
                self._drop_way(known, way, now)

    def expire(self, now: float) -> None:
        for known in list(self._destinations.values()):
            for way in [way for way, deadline in known.ways.items() if deadline <= now]:
                self._drop_way(known, way, now)
            if known.forget_at is not None and known.forget_at <= now and known.metric >= INFINITY:
                del self._destinations[known.prefix]

    def next_deadline(self) -> float | None:
        deadlines = [deadline for known in self._destinations.values() for deadline in known.ways.values()]
        deadlines += [known.forget_at for known in self._destinations.values() if known.forget_at is not None]
        return min(deadlines, default=None)
