"""From a `Topology` object, as JSON, to the model; with everything that is wrong with it.

In: any JSON value, also one that no schema has checked (the CLI reads files before it sends them). Out: a `Topology`,
or `FieldError`s by path. The API server calls `validate_topology` and answers 422; `weft lab up` prints the first.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, TypeVar

from weft.api.validation import FieldError
from weft.core.errors import InvalidError
from weft.network.topology.addresses import allocate
from weft.network.topology.model import Endpoint, Host, Link, Router, State, Switch, Topology
from weft.network.topology.units import parse_delay, parse_loss, parse_rate

Object = dict[str, Any]
V = TypeVar("V")

# RFC 1123 labels: names become parts of objects' names, of namespaces and of interfaces.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_LENGTH = 63
_MAX_COST = 65535
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


class _Reader:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def invalid(self, path: str, value: object, why: str) -> None:
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        self.errors.append(FieldError("FieldValueInvalid", path, f"Invalid value: {shown}: {why}"))

    def required(self, path: str, why: str = "") -> None:
        self.errors.append(
            FieldError("FieldValueRequired", path, f"Required value: {why}" if why else "Required value")
        )

    def duplicate(self, path: str, value: str) -> None:
        self.errors.append(FieldError("FieldValueDuplicate", path, f'Duplicate value: "{value}"'))

    def typed(self, path: str, value: object, kind: type[V], default: V) -> V:
        """`value`, or `default` where it is absent or of another type; the latter is an error."""
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            names = {dict: "an object", list: "a list", str: "a string", int: "an integer"}
            self.errors.append(
                FieldError("FieldValueTypeInvalid", path, f"Invalid value: {value!r}: must be {names[kind]}")
            )
            return default
        return value

    def name(self, path: str, value: object) -> str:
        if value is None or value == "":
            self.required(path)
            return ""
        name = self.typed(path, value, str, "")
        if not name:
            return ""
        if len(name) > _NAME_LENGTH:
            self.invalid(path, name, f"must be no more than {_NAME_LENGTH} characters")
        elif not _LABEL.fullmatch(name):
            self.invalid(
                path, name, "must be lower case letters, digits and '-', and start and end with a letter or digit"
            )
        else:
            return name
        return ""

    def text(self, path: str, value: object, parse: Callable[[str], V], default: V) -> V:
        """A text with a syntax of its own; empty means the default."""
        text = self.typed(path, value, str, "")
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.invalid(path, text, str(error))
            return default

    def read(self, obj: Object) -> Topology | None:
        metadata = self.typed("metadata", obj.get("metadata"), dict, {})
        name = self.name("metadata.name", metadata.get("name"))
        spec = self.typed("spec", obj.get("spec"), dict, {})
        taken: set[str] = set()
        routers = tuple(self._nodes(spec, "routers", self._router, taken))
        switches = tuple(self._nodes(spec, "switches", lambda path, raw, node: Switch(node), taken))
        hosts = tuple(self._nodes(spec, "hosts", lambda path, raw, node: Host(node), taken))
        if not taken and not self.errors:
            self.required("spec.routers", "a lab needs at least one router, switch or host")
        if len(taken) > MAX_NODES:
            self.invalid("spec", len(taken), f"must have at most {MAX_NODES} routers, switches and hosts")
        links = tuple(self._links(spec, taken))
        if self.errors:
            return None
        topology = Topology(name, routers, switches, hosts, links)
        self._check_switches(topology)
        if not self.errors:
            for path, why in allocate(topology).problems:
                self.errors.append(FieldError("FieldValueInvalid", path, f"Invalid value: {why}"))
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
                found.append(make(path, entry, name))
        return found

    def _router(self, path: str, raw: Object, name: str) -> Router:
        loopback = self.text(f"{path}.loopback", raw.get("loopback"), _loopback, None)
        routing = self.typed(f"{path}.routing", raw.get("routing"), str, "spf")
        if routing not in ("spf", "none"):
            self.errors.append(
                FieldError(
                    "FieldValueNotSupported",
                    f"{path}.routing",
                    f'Unsupported value: "{routing}": supported values: "spf", "none"',
                )
            )
        return Router(name, loopback, "none" if routing == "none" else "spf")

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
        cost = self.typed(f"{path}.cost", raw.get("cost"), int, 1)
        if not 1 <= cost <= _MAX_COST:
            self.invalid(f"{path}.cost", cost, f"must be between 1 and {_MAX_COST}")
        state = self.typed(f"{path}.state", raw.get("state"), str, "up")
        if state not in ("up", "down"):
            self.errors.append(
                FieldError(
                    "FieldValueNotSupported",
                    f"{path}.state",
                    f'Unsupported value: "{state}": supported values: "up", "down"',
                )
            )
        wish: State = "down" if state == "down" else "up"
        return Link(
            name,
            a,
            b,
            capacity=self.text(f"{path}.capacity", raw.get("capacity"), parse_rate, 0),
            delay=self.text(f"{path}.delay", raw.get("delay"), parse_delay, 0),
            loss=self.text(f"{path}.loss", raw.get("loss"), parse_loss, 0.0),
            cost=cost,
            state=wish,
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
        """Frames on a ring of switches would go round for ever."""
        parent = {name: name for name in topology.switch_names}

        def find(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        for index, link in enumerate(topology.links):
            path = f"spec.links[{index}]"
            on_switch = [end for end in (link.a, link.b) if end.node in topology.switch_names]
            for end in on_switch:
                if end.address is not None:
                    self.invalid(f"{path}.endpoints", str(end.address), f"{end.node} is a switch and has no address")
            if len(on_switch) == 2:
                a, b = find(link.a.node), find(link.b.node)
                if a == b:
                    self.invalid(f"{path}.endpoints", link.name, "this link closes a ring of switches")
                parent[a] = b


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
