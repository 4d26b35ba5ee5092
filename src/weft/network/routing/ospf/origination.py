"""Our own LSAs (RFC 2328, 12.4): what they should say is computed anew; what differs is originated, what is no longer
wanted is flushed.

In: circuits, the routing table, redistributed routes. Out: new instances into `flooding`, no faster than the throttle.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network

from weft.network.routing.ospf.database import Entry
from weft.network.routing.ospf.flooding import Flooding
from weft.network.routing.ospf.lsa import (
    ASBR_SUMMARY,
    EXTERNAL,
    FLAG_B,
    FLAG_E,
    INITIAL_SEQUENCE,
    LS_INFINITY,
    MAX_AGE,
    MAX_SEQUENCE,
    NETWORK,
    OPTION_E,
    POINT_TO_POINT,
    REFRESH_TIME,
    ROUTER,
    STUB,
    SUMMARY,
    TRANSIT,
    Body,
    ExternalBody,
    Key,
    NetworkBody,
    RouterBody,
    RouterLink,
    SummaryBody,
    make_lsa,
)
from weft.network.routing.ospf.ranges import condense
from weft.network.routing.ospf.routes import INTER, INTRA, Path, Prefix, Table, active_areas, is_border
from weft.network.routing.ospf.state import Circuit, Instance, InterfaceState, NeighborState, Pace
from weft.network.routing.rib.routes import Route

HOST_MASK = 0xFFFFFFFF
Own = tuple[int, Key]  # area (-1 for external LSAs) and key


class Origination:
    def __init__(self, instance: Instance, flooding: Flooding) -> None:
        self._instance = instance
        self._flooding = flooding
        self._paces: dict[Own, Pace] = {}
        self._originated: dict[Own, float] = {}
        self._forced: set[Own] = set()
        self.external: dict[IPv4Network, Route] = {}
        self.table = Table()
        self.is_dirty = False

    def returned(self, area: int, entry: Entry) -> None:
        """13.4: an LSA of ours has come back that is newer than what we said."""
        if entry.lsa.router != self._instance.router:
            self._flooding.flush(area, entry)  # of a former router ID
            return
        self._forced.add((-1 if entry.lsa.type == EXTERNAL else area, entry.lsa.key))
        self.is_dirty = True

    def refresh(self) -> None:
        """LSRefreshTime: what has stood for half an hour is said again."""
        oldest = self._instance.now - REFRESH_TIME + 1  # those of about the same time go together
        self._forced |= {own for own, when in self._originated.items() if when <= oldest}
        self.is_dirty = True

    def sync(self) -> None:
        instance = self._instance
        self.is_dirty = False
        wanted = {} if instance.is_stopping else self._wanted()
        for own, body in wanted.items():
            self._ensure(own, body)
        for own in [own for own in self._originated if own not in wanted]:
            entry = self._entry(own)
            del self._originated[own]
            if entry is not None and entry.age_at(instance.now) < MAX_AGE:
                self._flooding.flush(own[0], entry)
        for own in self._forced - set(wanted):  # of an earlier life, and not wanted any more
            entry = self._entry(own)
            if entry is not None and entry.age_at(instance.now) < MAX_AGE:
                self._flooding.flush(own[0], entry)
        self._forced &= set(wanted)
        if self._originated:
            instance.timers.set(("refresh", "", 0), min(self._originated.values()) + REFRESH_TIME)

    def _entry(self, own: Own) -> Entry | None:
        return self._instance.database(own[0], own[1][0]).get(own[1])

    def _ensure(self, own: Own, body: Body) -> None:
        instance, (area, key) = self._instance, own
        entry = self._entry(own)
        is_forced = own in self._forced
        if entry is not None:
            dead = entry.age_at(instance.now) >= MAX_AGE
            if not is_forced and not dead and entry.lsa.body == body and entry.lsa.options == self._options(area):
                return
            if entry.lsa.sequence == MAX_SEQUENCE:  # 12.1.6: it must be gone from everywhere first
                if not dead:
                    self._flooding.flush(area, entry)
                return
        pace = self._paces.get(own)
        if pace is None:
            pace = self._paces[own] = Pace(instance.config.lsa_throttle)
        due = pace.due(instance.now)
        if entry is not None:
            # A neighbour that asked for it passes it on, and those beyond take no other for a while.
            due = max(due, entry.told + instance.config.lsa_throttle.hold)
        if due > instance.now and not is_forced:
            timer = ("originate", "", 0)
            if instance.timers.running(timer):
                return
            instance.timers.set(timer, due)
            return
        if _is_heard(instance):
            pace.ran(instance.now)
        self._forced.discard(own)
        sequence = entry.lsa.sequence + 1 if entry is not None else INITIAL_SEQUENCE
        lsa = make_lsa(self._options(area), key[0], key[1], key[2], sequence, body)
        self._originated[own] = instance.now
        self._flooding.originate(area, lsa)

    def _options(self, area: int) -> int:
        return OPTION_E if area < 0 else self._instance.area(area).options

    def _wanted(self) -> dict[Own, Body]:
        instance = self._instance
        wanted: dict[Own, Body] = {}
        me = instance.router
        areas = active_areas(instance)
        for area in areas:
            wanted[area, (ROUTER, me, me)] = self._router_body(area)
        for circuit in instance.circuits.values():
            if circuit.state is InterfaceState.DR and (full := _full(circuit)):
                body = NetworkBody(int(circuit.address.network.netmask), (me, *sorted(full)))
                wanted[circuit.area, (NETWORK, int(circuit.address.ip), me)] = body
        if is_border(instance):
            for area in areas:
                for key, summary in self._summaries(area):
                    wanted[area, key] = summary
        for lsid, mask, route in self._externals():
            metric = min(route.metric or instance.config.metric, LS_INFINITY - 1)
            kind = route.metric_type or instance.config.metric_type
            external = ExternalBody(mask, kind == 2, metric, 0, route.tag)
            wanted[-1, (EXTERNAL, lsid, me)] = external
        return wanted

    def _router_body(self, area: int) -> RouterBody:
        flags = FLAG_B if is_border(self._instance) else 0
        if self._instance.area(area).config.type == "normal" and self._is_boundary():
            flags |= FLAG_E
        links: list[RouterLink] = []
        for circuit in self._instance.circuits.values():
            if circuit.area == area and circuit.state is not InterfaceState.DOWN:
                links += _links(circuit)
        return RouterBody(flags, tuple(links))

    def _is_boundary(self) -> bool:
        return bool(self.external) or self._instance.config.default_originate

    def _externals(self) -> list[tuple[int, int, Route]]:
        routes = dict(self.external)
        if self._instance.config.default_originate:
            default = IPv4Network("0.0.0.0/0")
            routes.setdefault(default, Route(default, (), "static", 1, 1))
        prefixes = {(int(each.network_address), int(each.netmask)): route for each, route in routes.items()}
        return [(lsid, prefix[1], prefixes[prefix]) for prefix, lsid in link_state_ids(prefixes).items()]

    def _summaries(self, area: int) -> list[tuple[Key, SummaryBody]]:
        """12.4.3, for one area that we announce into."""
        me = self._instance.router
        config = self._instance.area(area).config
        found: list[tuple[Key, SummaryBody]] = []
        if config.type != "normal":
            found.append(((SUMMARY, 0, me), SummaryBody(0, config.default_cost)))
        if config.type != "totally-stub":
            paths = {
                prefix: path
                for prefix, path in condense(self.table.networks, self._instance.config.areas).items()
                if self._is_told(path, area) and not (prefix == (0, 0) and config.type != "normal")
            }
            for prefix, lsid in link_state_ids(paths).items():
                found.append(((SUMMARY, lsid, me), SummaryBody(prefix[1], paths[prefix].cost)))
        if config.type == "normal":
            for router, path in self.table.boundary.items():
                if router != me and self._is_told(path, area):
                    found.append(((ASBR_SUMMARY, router, me), SummaryBody(0, path.cost)))
        return found

    def _is_told(self, path: Path, area: int) -> bool:
        """Intra-area paths go to all other areas, inter-area ones from the backbone to the rest; never back."""
        if path.area == area or path.cost >= LS_INFINITY:
            return False
        return path.kind == INTRA or (path.kind == INTER and area != 0)


def _is_heard(instance: Instance) -> bool:
    """Whether anyone gets what we originate now."""
    return any(
        neighbor.state >= NeighborState.EXCHANGE
        for circuit in instance.circuits.values()
        for neighbor in circuit.neighbors.values()
    )


def _full(circuit: Circuit) -> list[int]:
    return [each.router for each in circuit.neighbors.values() if each.state is NeighborState.FULL]


def _links(circuit: Circuit) -> list[RouterLink]:
    """12.4.1: what a router-LSA says of one interface."""
    address, network, cost = int(circuit.address.ip), circuit.address.network, circuit.config.cost
    stub = RouterLink(STUB, int(network.network_address), int(network.netmask), cost)
    if circuit.state is InterfaceState.LOOPBACK:
        return [RouterLink(STUB, address, HOST_MASK, 0)]
    if circuit.is_point_to_point:
        return [*(RouterLink(POINT_TO_POINT, router, address, cost) for router in sorted(_full(circuit))), stub]
    if circuit.state <= InterfaceState.WAITING or not circuit.designated:
        return [stub]
    if circuit.state is InterfaceState.DR:
        is_joined = bool(_full(circuit))
    else:
        is_joined = any(
            int(each.address) == circuit.designated and each.state is NeighborState.FULL
            for each in circuit.neighbors.values()
        )
    return [RouterLink(TRANSIT, circuit.designated, address, cost)] if is_joined else [stub]


def link_state_ids(prefixes: Iterable[Prefix]) -> dict[Prefix, int]:
    """A link state ID for each prefix (Appendix E): of several with one network address, the longest has just that,
    the others with all their host bits set."""
    found: dict[Prefix, int] = {}
    taken: set[int] = set()
    for prefix in sorted(prefixes, key=lambda each: (each[0], -each[1])):
        lsid = prefix[0] if prefix[0] not in taken else prefix[0] | prefix[1] ^ HOST_MASK
        taken.add(lsid)
        found[prefix] = lsid
    return found
