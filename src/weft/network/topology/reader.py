"""From a `Topology` object, as JSON, to the model; with everything that is wrong with it.

In: any JSON value, also one that no schema has checked (the CLI reads files before it sends them). Out: a `Topology`,
or `FieldError`s by path. The API server calls `validate_topology` and answers 422; `weft lab up` prints the first.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TypeVar

from weft.api.validation import FieldError
from weft.core.errors import InvalidError
from weft.network.topology.addresses import Addresses, allocate
from weft.network.topology.fields import Fields, Object
from weft.network.topology.model import Endpoint, Host, Link, Router, State, Switch, SwitchDataplane, Topology
from weft.network.topology.routing_reader import read_bfd, read_defaults, read_own, read_static
from weft.network.topology.schedule_reader import read_schedule
from weft.network.topology.units import parse_delay, parse_loss, parse_rate

V = TypeVar("V")

_STATES: tuple[State, ...] = ("up", "down")
_SWITCHES: tuple[SwitchDataplane, ...] = ("linux", "openflow")
_MAX_COST = 65535
# What IPv4 must be able to send (RFC 791, 3.1), and what Linux lets an interface send.
_MIN_MTU, _MAX_MTU = 68, 65535
MAX_NODES, MAX_LINKS = 1000, 4000


def validate_topology(obj: Object) -> list[FieldError]:
    """Everything that is wrong with a Topology; empty where it can be built."""
    reader = _Reader()
    reader.read(obj)
    return reader.errors


def read_topology(obj: Object) -> Topology:
    """Raises InvalidError with the first thing that is wrong, by its path."""
    reader = _Reader()
    topology = reader.read(obj)
    if topology is None:
        raise InvalidError(str(reader.errors[0]))
    return topology


class _Reader(Fields):
    def read(self, obj: Object) -> Topology | None:
        metadata = self.typed("metadata", obj.get("metadata"), dict, {})
        name = self.name("metadata.name", metadata.get("name"))
        spec = self.typed("spec", obj.get("spec"), dict, {})
        self.routing = read_defaults(self, "spec.routing", spec.get("routing"))
        switching = self.typed("spec.switching", spec.get("switching"), dict, {})
        self.switching = self.choice("spec.switching.dataplane", switching.get("dataplane"), _SWITCHES, "linux")
        self.places: dict[str, tuple[float, float]] = {}
        taken: set[str] = set()
        routers = tuple(self._nodes(spec, "routers", self._router, taken))
        switches = tuple(self._nodes(spec, "switches", self._switch, taken))
        hosts = tuple(self._nodes(spec, "hosts", lambda path, raw, node: Host(node), taken))
        if not taken and not self.errors:
            self.required("spec.routers", "a lab needs at least one router, switch or host")
        if len(taken) > MAX_NODES:
            self.invalid("spec", len(taken), f"must have at most {MAX_NODES} routers, switches and hosts")
        links = tuple(self._links(spec, taken))
        if self.errors:
            return None
        topology = Topology(name, routers, switches, hosts, links, self.routing, places=self.places)
        topology = replace(topology, schedule=read_schedule(self, "spec.schedule", spec.get("schedule"), topology))
        self._check_switches(topology)
        if not self.errors:
            addresses = allocate(topology)
            for path, why in addresses.problems:
                self.errors.append(FieldError("FieldValueInvalid", path, f"Invalid value: {why}"))
            self._check_areas(topology)
            if not addresses.problems:
                self._check_static(topology, addresses)
        return None if self.errors else topology

    def _nodes(self, spec: Object, field: str, make: Callable[[str, Object, str], V], taken: set[str]) -> list[V]:
        found = []
        for index, raw in enumerate(self.typed(f"spec.{field}", spec.get(field), list, [])):
            path = f"spec.{field}[{index}]"
            entry = self.typed(path, raw, dict, {})
            if raw is not entry:
                if raw is None:
                    self.required(path)
                continue
            name = self.name(f"{path}.name", entry.get("name"))
            if name in taken:
                self.duplicate(f"{path}.name", name)
            elif name:
                taken.add(name)
                self._place(f"{path}.location", entry.get("location"), name)
                found.append(make(path, entry, name))
        return found

    def _router(self, path: str, raw: Object, name: str) -> Router:
        loopback = self.text(f"{path}.loopback", raw.get("loopback"), _loopback, None)
        settings = read_own(self, path, raw, self.routing)
        return Router(name, loopback, settings, read_static(self, f"{path}.static", raw.get("static")))

    def _switch(self, path: str, raw: Object, name: str) -> Switch:
        return Switch(name, self.choice(f"{path}.dataplane", raw.get("dataplane"), _SWITCHES, self.switching))

    def _place(self, path: str, raw: object, name: str) -> None:
        if raw is None:
            return
        entry = self.typed(path, raw, dict, {})
        for key in ("longitude", "latitude"):
            if entry.get(key) is None:
                self.required(f"{path}.{key}", "degrees, east and north positive")
        longitude = self.number(f"{path}.longitude", entry.get("longitude"), 0.0, -180, 180)
        self.places[name] = (longitude, self.number(f"{path}.latitude", entry.get("latitude"), 0.0, -90, 90))

    def _links(self, spec: Object, nodes: set[str]) -> list[Link]:
        found: list[Link] = []
        taken: set[str] = set()
        entries = self.typed("spec.links", spec.get("links"), list, [])
        if len(entries) > MAX_LINKS:
            self.invalid("spec.links", len(entries), f"must be at most {MAX_LINKS} links")
            return []
        for index, raw in enumerate(entries):
            path = f"spec.links[{index}]"
            entry = self.typed(path, raw, dict, {})
            if raw is not entry:
                if raw is None:
                    self.required(path)
                continue
            before = len(self.errors)
            link = self._link(path, entry, nodes)
            if link is None or len(self.errors) > before:
                continue
            if link.name in taken:
                self.duplicate(f"{path}.name", link.name)
            taken.add(link.name)
            found.append(link)
        return found

    def _link(self, path: str, raw: Object, nodes: set[str]) -> Link | None:
        ends = self.typed(f"{path}.endpoints", raw.get("endpoints"), list, [])
        if len(ends) != 2:
            if not raw.get("endpoints"):
                self.required(f"{path}.endpoints", "the two nodes that the link joins")
            elif isinstance(raw["endpoints"], list):
                self.invalid(f"{path}.endpoints", len(ends), "must be exactly two nodes")
            return None
        a, b = (self._endpoint(f"{path}.endpoints[{index}]", end, nodes) for index, end in enumerate(ends))
        if a is None or b is None:
            return None
        if a.node == b.node:
            self.invalid(f"{path}.endpoints", a.node, "a link must join two different nodes")
            return None
        default = f"{a.node}-{b.node}"
        name = self.name(f"{path}.name", raw.get("name", default))
        cost = self.integer(f"{path}.cost", raw.get("cost"), 1, 1, _MAX_COST)
        state: State = self.choice(f"{path}.state", raw.get("state"), _STATES, "up")
        delay = self.text(f"{path}.delay", raw.get("delay"), parse_delay, 0)
        jitter = self.text(f"{path}.jitter", raw.get("jitter"), parse_delay, 0)
        if jitter > delay:
            self.invalid(f"{path}.jitter", raw.get("jitter"), "must not be more than the delay")
        mtu = None
        if raw.get("mtu") is not None:
            mtu = self.integer(f"{path}.mtu", raw["mtu"], _MIN_MTU, _MIN_MTU, _MAX_MTU)
        return Link(
            name,
            a,
            b,
            capacity=self.text(f"{path}.capacity", raw.get("capacity"), parse_rate, 0),
            delay=delay,
            loss=self.text(f"{path}.loss", raw.get("loss"), parse_loss, 0.0),
            cost=cost,
            state=state,
            jitter=jitter,
            mtu=mtu,
            area=self.area(f"{path}.area", raw.get("area"), None),
            shared_risk_groups=self.labels(f"{path}.sharedRiskGroups", raw.get("sharedRiskGroups")),
            bfd=read_bfd(self, f"{path}.bfd", raw.get("bfd"), None),
        )

    def _endpoint(self, path: str, raw: object, nodes: set[str]) -> Endpoint | None:
        """A node's name, or an object with `node` and `address`."""
        if isinstance(raw, dict):
            node = self.typed(f"{path}.node", raw.get("node"), str, "")
            address = self.text(f"{path}.address", raw.get("address"), _address, None)
            if unknown := sorted(set(raw) - {"node", "address"}):
                self.invalid(path, unknown[0], "unknown field; an endpoint has node and address")
            path += ".node"
        else:
            node, address = self.typed(path, raw, str, ""), None
            if raw is not None and not isinstance(raw, str):
                return None
        if not node:
            self.required(path, "the name of a router, switch or host")
            return None
        if node not in nodes:
            self.invalid(path, node, "no such router, switch or host")
            return None
        return Endpoint(node, address)

    def _check_switches(self, topology: Topology) -> None:
        """Frames on a ring of switches would go round for ever, but where a controller says how they go."""
        parent = {name: name for name in topology.switch_names}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        links = [(f"spec.links[{index}]", link) for index, link in enumerate(topology.links)]
        controlled = {switch.name for switch in topology.switches if switch.dataplane == "openflow"}
        fabric = [each for each in links if {each[1].a.node, each[1].b.node} <= controlled]
        for _, link in fabric:
            parent[find(link.a.node)] = find(link.b.node)
        for path, link in links:
            on_switch = [end for end in (link.a, link.b) if end.node in topology.switch_names]
            for end in on_switch:
                if end.address is not None:
                    self.invalid(f"{path}.endpoints", str(end.address), f"{end.node} is a switch and has no address")
            if len(on_switch) == 2 and (path, link) not in fabric:
                a, b = find(link.a.node), find(link.b.node)
                if a == b:
                    self.invalid(f"{path}.endpoints", link.name, "this link closes a ring of switches")
                parent[a] = b

    def _check_areas(self, topology: Topology) -> None:
        """OSPF routers of one segment must be in one area, or they never meet (RFC 2328, 8.2)."""
        index = {link.name: index for index, link in enumerate(topology.links)}
        for segment in topology.segments():
            areas = {
                (link.name, end.node): topology.area_of(link, end.node)
                for link, end in segment.ends
                if end.node in topology.router_names and topology.router_by_name[end.node].routing == "ospf"
            }
            if len(set(areas.values())) > 1:
                (_, one), first = next(iter(areas.items()))[0], next(iter(areas.values()))
                name, other = next(key for key, area in areas.items() if area != first)
                why = f"{one} is in area {first} here and {other} in area {areas[name, other]}"
                self.invalid(f"spec.links[{index[name]}].area", name, why)

    def _check_static(self, topology: Topology, addresses: Addresses) -> None:
        """The kernel takes no gateway that is not on a link of the router."""
        for index, router in enumerate(topology.routers):
            if not router.static:
                continue
            own = [found for (_, node), found in addresses.interfaces.items() if node == router.name]
            for position, route in enumerate(router.static):
                path = f"spec.routers[{index}].static[{position}].via"
                if route.via is not None and not any(route.via in found.network for found in own):
                    self.invalid(path, str(route.via), f"is on no link of {router.name}")
                if any(route.via == found.ip for found in own):
                    self.invalid(path, str(route.via), f"is an address of {router.name} itself")


def _loopback(text: str) -> IPv4Address | None:
    message = "must be an IPv4 address such as 10.255.0.1"
    try:
        interface = IPv4Interface(text)
    except ValueError:
        raise ValueError(message) from None
    if interface.network.prefixlen != 32 or not _usable(interface.ip):
        raise ValueError(message)
    return interface.ip


def _address(text: str) -> IPv4Interface | None:
    try:
        interface = IPv4Interface(text)
    except ValueError:
        raise ValueError("must be an IPv4 address with its prefix length, such as 10.0.0.1/24") from None
    if "/" not in text or not 8 <= interface.network.prefixlen <= 31 or not _usable(interface.ip):
        raise ValueError("must be a unicast IPv4 address with a prefix length of 8 to 31, such as 10.0.0.1/24")
    network = interface.network
    if network.prefixlen < 31 and interface.ip in (network.network_address, network.broadcast_address):
        raise ValueError(f"is the network or broadcast address of {network}")
    return interface


def _usable(address: IPv4Address) -> bool:
    return not (address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved)
