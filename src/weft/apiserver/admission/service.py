"""Services: cluster addresses and node ports, each given to one service only.

An allocation is a key of its own, created and deleted in the same transaction as the service it belongs to, so that
two services can never hold the same one, however many are created at once.
"""

import ipaddress
import random
from typing import Any

from weft.api.validation import FieldError, invalid
from weft.apiserver.api import Attributes
from weft.apiserver.cache import ROOT
from weft.apiserver.objects import Write
from weft.store.base import Compare

ADDRESSES = f"{ROOT}ranges/serviceips/"
PORTS = f"{ROOT}ranges/nodeports/"
Object = dict[str, Any]

# Types that are reached from outside the cluster, by node ports.
_OUTSIDE = ("NodePort", "LoadBalancer")

# The lower part of the range is for addresses that people choose, such as that of the DNS service (KEP-3070).
_RESERVED = 256


def allocate_service(attributes: Attributes) -> None:
    if attributes.which != ("", "services"):
        return
    if attributes.operation == "DELETE":
        if not _only_marked(attributes):
            _release(attributes.write, attributes.obj)
        return
    spec = attributes.obj.get("spec")
    if not isinstance(spec, dict) or attributes.request.subresource == "status":
        return
    old = (attributes.old or {}).get("spec") or {}
    if old.get("type") != spec.get("type"):
        _drop_what_belongs_to_the_old_type(spec, old)
    allocation = _Allocation(attributes, spec, old)
    allocation.address()
    allocation.ports()


def _only_marked(attributes: Attributes) -> bool:
    """Whether the deletion waits for finalizers: then the service keeps what it holds."""
    return bool(attributes.write.puts)


def _release(write: Write, service: Object) -> None:
    spec = service.get("spec") or {}
    write.deletes += [ADDRESSES + address for address in _addresses(spec)]
    write.deletes += [PORTS + key for key in sorted({_port_key(port) for port in _node_ports(spec)})]


def _drop_what_belongs_to_the_old_type(spec: Object, old: Object) -> None:
    """A client that changes the type alone need not clear the fields that the server had filled in for the old one."""
    if spec.get("type") not in _OUTSIDE and old.get("type") in _OUTSIDE:
        before = {port["nodePort"] for port in _node_ports(old)}
        for port in _node_ports(spec):
            if port["nodePort"] in before:
                del port["nodePort"]
        if spec.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
    if spec.get("type") != "LoadBalancer" and old.get("type") == "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == old.get(field):
                spec.pop(field, None)


class _Allocation:
    """One service's wishes against what others hold."""

    def __init__(self, attributes: Attributes, spec: Object, old: Object) -> None:
        self.attributes = attributes
        self.settings = attributes.api.settings
        self.spec = spec
        self.old = old

    def address(self) -> None:
        spec, old = self.spec, self.old
        held = _addresses(old)
        if spec.get("type") == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
            self._drop(ADDRESSES, held)
            return
        asked = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
        was = old.get("clusterIP", "")
        if not asked:
            asked = was
        if was and asked != was and old.get("type") != "ExternalName":
            raise self._invalid("spec.clusterIPs[0]", f'Invalid value: []string{{"{asked}"}}: may not change once set')
        if asked == "None":
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
        elif asked in held:
            spec["clusterIP"], spec["clusterIPs"] = asked, [asked]
        else:
            address = self._check_address(asked) if asked else self._free_address()
            self._take(ADDRESSES, address)
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _check_address(self, asked: str) -> str:
        network = ipaddress.ip_network(self.settings.service_subnet)
        try:
            address = ipaddress.ip_address(asked)
        except ValueError:
            raise self._invalid(
                "spec.clusterIPs[0]",
                f'Invalid value: "{asked}": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
            ) from None
        failed = f'Invalid value: []string{{"{asked}"}}: failed to allocate IP {asked}: '
        if address not in network or address in (network[0], network[-1]):
            raise self._invalid(
                "spec.clusterIPs",
                f"{failed}the provided IP ({asked}) is not in the valid range. The range of valid IPs is {network}",
            )
        if self._taken(ADDRESSES, asked):
            raise self._invalid("spec.clusterIPs", f"{failed}provided IP is already allocated")
        return asked

    def _free_address(self) -> str:
        network = ipaddress.ip_network(self.settings.service_subnet)
        reserved = min(_RESERVED, network.num_addresses // 16)
        for low, high in ((reserved, network.num_addresses - 1), (1, reserved)):
            begin = random.randrange(low, high)
            for index in (*range(begin, high), *range(low, begin)):
                address = str(network[index])
                if address != self.settings.dns_service_address and not self._taken(ADDRESSES, address):
                    return address
        raise self._invalid(
            "spec.clusterIPs", "Invalid value: []string(nil): failed to allocate a serviceIP: range is full"
        )

    def ports(self) -> None:
        """Node ports for NodePort and LoadBalancer services."""
        spec, old = self.spec, self.old
        ports = [port for port in spec.get("ports") or [] if isinstance(port, dict)]
        held = {_port_key(port) for port in _node_ports(old)}
        wanted: set[str] = set()
        if spec.get("type") in _OUTSIDE:
            if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
                ports = [port for port in ports if port.get("nodePort")]
            before = {(p.get("port"), p.get("protocol", "TCP")): p["nodePort"] for p in _node_ports(old)}
            for port in ports:
                if not port.get("nodePort"):
                    kept = before.get((port.get("port"), port.get("protocol", "TCP")))
                    if kept is not None:
                        port["nodePort"] = kept
            for index, port in enumerate(ports):
                if port.get("nodePort"):
                    self._ask_port(index, port, held, wanted)
            for port in ports:
                if not port.get("nodePort"):
                    self._give_port(port, wanted)
        for key in sorted(wanted - held):
            self._take(PORTS, key)
        self._drop(PORTS, sorted(held - wanted))

    def _ask_port(self, index: int, port: Object, held: set[str], wanted: set[str]) -> None:
        number, field = port["nodePort"], f"spec.ports[{index}].nodePort"
        low, high = self.settings.node_port_min, self.settings.node_port_max
        if not isinstance(number, int) or not low <= number <= high:
            raise self._invalid(
                field,
                f"Invalid value: {number}: provided port is not in the valid range. "
                f"The range of valid ports is {low}-{high}",
            )
        key = _port_key(port)
        if key in wanted or (key not in held and self._taken(PORTS, key)):
            raise self._invalid(field, f"Invalid value: {number}: provided port is already allocated")
        wanted.add(key)

    def _give_port(self, port: Object, wanted: set[str]) -> None:
        low, high = self.settings.node_port_min, self.settings.node_port_max
        begin = random.randint(low, high)
        for number in (*range(begin, high + 1), *range(low, begin)):
            key = _port_key({**port, "nodePort": number})
            if key not in wanted and not self._taken(PORTS, key):
                port["nodePort"] = number
                wanted.add(key)
                return
        raise self._invalid("spec.ports[0].nodePort", "Invalid value: 0: failed to allocate a nodePort: range is full")

    def _taken(self, prefix: str, key: str) -> bool:
        return prefix + key in self.attributes.api.cache.hub(prefix).entries

    def _take(self, prefix: str, key: str) -> None:
        self.attributes.write.compares.append(Compare(prefix + key, 0))
        self.attributes.write.puts.append((prefix + key, {"service": _owner(self.attributes.obj)}))

    def _drop(self, prefix: str, keys: list[str]) -> None:
        self.attributes.write.deletes += [prefix + key for key in keys]

    def _invalid(self, field: str, message: str) -> Exception:
        metadata = self.attributes.obj["metadata"]
        error = FieldError("FieldValueInvalid", field, message)
        return invalid([error], self.attributes.request.rtype, str(metadata.get("name", "")))


def _owner(service: Object) -> str:
    metadata = service["metadata"]
    return f"{metadata.get('namespace')}/{metadata.get('name')}"


def _addresses(spec: Object) -> list[str]:
    return [address for address in spec.get("clusterIPs") or [] if address and address != "None"]


def _node_ports(spec: Object) -> list[Object]:
    return [port for port in spec.get("ports") or [] if isinstance(port, dict) and port.get("nodePort")]


def _port_key(port: Object) -> str:
    return f"{port.get('protocol', 'TCP')}-{port['nodePort']}"
