"""Services, endpoints and endpoint slices. Source: kubernetes core and discovery validation."""

import ipaddress
from typing import Any

from weft.api import names
from weft.api.validation.containers import PROTOCOLS, check_port_or_name
from weft.api.validation.errors import Errors, Object
from weft.api.validation.metadata import check_labels

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def service_spec(spec: Object, path: str, errors: Errors) -> None:
    kind = spec.get("type", "ClusterIP")
    errors.one_of(spec, "type", path, TYPES)
    errors.one_of(spec, "sessionAffinity", path, ("ClientIP", "None"))
    errors.one_of(spec, "internalTrafficPolicy", path, ("Cluster", "Local"))
    check_labels(spec.get("selector"), f"{path}.selector", errors)
    headless = spec.get("clusterIP") == "None"
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        errors.required(f"{path}.ports")
    if kind == "ExternalName":
        name = spec.get("externalName")
        if not name:
            errors.required(f"{path}.externalName")
        else:
            errors.check(f"{path}.externalName", name, names.subdomain(name.removesuffix(".")))
    if headless and kind in ("NodePort", "LoadBalancer"):
        errors.invalid(f"{path}.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if "externalTrafficPolicy" in spec:
        if kind in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
            errors.one_of(spec, "externalTrafficPolicy", path, ("Cluster", "Local"))
        else:
            errors.invalid(
                f"{path}.externalTrafficPolicy",
                spec["externalTrafficPolicy"],
                "may only be set for externally-accessible services",
            )
    for index, address in enumerate(spec.get("externalIPs") or ()):
        _check_address(address, f"{path}.externalIPs[{index}]", errors)
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= 86400:
        errors.invalid(
            f"{path}.sessionAffinityConfig.clientIP.timeoutSeconds",
            seconds,
            "must be greater than 0 and less than 86400",
        )
    _check_ports(ports, kind, f"{path}.ports", errors)


def _check_ports(ports: list[Object], kind: str, path: str, errors: Errors) -> None:
    errors.unique(ports, "name", path)
    numbers: set[tuple[Any, Any]] = set()
    nodes: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        protocol = port.get("protocol", "TCP")
        if name := port.get("name"):
            errors.check(f"{where}.name", name, names.label(name))
        elif len(ports) > 1:
            errors.required(f"{where}.name")
        errors.port(f"{where}.port", port.get("port", 0))
        errors.one_of(port, "protocol", where, PROTOCOLS)
        if "targetPort" in port:
            check_port_or_name(port["targetPort"], f"{where}.targetPort", errors)
        if (port.get("port"), protocol) in numbers:
            errors.duplicate(where, {key: port[key] for key in ("port", "protocol") if key in port})
        numbers.add((port.get("port"), protocol))
        if node := port.get("nodePort"):
            if kind == "ClusterIP":
                errors.forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
            errors.port(f"{where}.nodePort", node)
            if (node, protocol) in nodes:
                errors.duplicate(f"{where}.nodePort", node)
            nodes.add((node, protocol))


def _check_address(address: str, path: str, errors: Errors) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        errors.invalid(path, address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def endpoint_subset(subset: Object, path: str, errors: Errors) -> None:
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        errors.required(path, "must specify `addresses` or `notReadyAddresses`")
    for key in ("addresses", "notReadyAddresses"):
        for index, each in enumerate(subset.get(key) or ()):
            _check_address(each.get("ip", ""), f"{path}.{key}[{index}].ip", errors)
    ports = subset.get("ports") or ()
    errors.unique(ports, "name", f"{path}.ports")
    for index, port in enumerate(ports):
        errors.port(f"{path}.ports[{index}].port", port.get("port", 0))
        errors.one_of(port, "protocol", f"{path}.ports[{index}]", PROTOCOLS)


def endpoint_slice(obj: Object, path: str, errors: Errors) -> None:
    kind = obj.get("addressType")
    if not kind:
        errors.required("addressType")
    errors.one_of(obj, "addressType", "", ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        where = f"endpoints[{index}].addresses"
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            errors.required(where, "must contain at least 1 address")
        for position, address in enumerate(addresses):
            if kind in ("IPv4", "IPv6"):
                _check_address(address, f"{where}[{position}]", errors)
    errors.unique(obj.get("ports"), "name", "ports")


def endpoint_slice_update(new: Object, old: Object, errors: Errors) -> None:
    errors.immutable("addressType", new.get("addressType"), old.get("addressType"))
