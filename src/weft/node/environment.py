"""The variables of a container, as the kubelet puts them together.

In: pod, container, what it refers to, the services around it. Out: `NAME=value` in order, or ConfigError.
Later wins: services, then envFrom, then env. Source: kubernetes `pkg/kubelet/kubelet_pods.go`
(makeEnvironmentVariables), `third_party/forked/golang/expansion`, `pkg/kubelet/envvars`.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weft.api.gvr import CONFIGMAPS, SECRETS
from weft.client.base import Object
from weft.node.fields import ConfigError, Facts, field_value, resource_value
from weft.node.references import Reference

Lookup = Callable[[Reference], Object | None]


def environment(
    pod: Object, container: Mapping[str, Any], facts: Facts, lookup: Lookup, services: Iterable[Object]
) -> dict[str, str]:
    """Raises ConfigError where a reference that is not optional leads nowhere."""
    around = service_variables(pod, services)
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        found |= _from_source(pod, source, lookup)
    for variable in container.get("env") or []:
        name = variable["name"]
        if source := variable.get("valueFrom"):
            value = _from_reference(pod, container, source, facts, lookup)
            if value is None:
                continue  # optional, and not there
        else:
            value = expand(variable.get("value") or "", around | found)
        found[name] = value
    return around | found


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` one `$`; a name that is not known stays as it stands."""
    out, index = [], 0
    while index < len(text):
        if text[index] != "$" or index + 1 >= len(text):
            out.append(text[index])
            index += 1
            continue
        following = text[index + 1]
        if following == "$":
            out.append("$")
            index += 2
        elif following == "(" and (end := text.find(")", index + 2)) >= 0:
            name = text[index + 2 : end]
            out.append(values.get(name, f"$({name})"))
            index = end + 1
        else:
            out.append("$")
            index += 1
    return "".join(out)


def data_of(obj: Object) -> dict[str, bytes]:
    """The contents of a ConfigMap or Secret by key."""
    data = obj.get("data") or {}
    if obj.get("kind") == "Secret":
        return {key: _decoded(value) for key, value in data.items()}
    found = {key: value.encode() for key, value in data.items()}
    return found | {key: _decoded(value) for key, value in (obj.get("binaryData") or {}).items()}


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error:
        return b""


def _from_source(pod: Object, source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, gvr, word in (("configMapRef", CONFIGMAPS, "configmap"), ("secretRef", SECRETS, "secret")):
        if reference := source.get(field):
            obj = lookup(Reference(gvr, pod["metadata"]["namespace"], reference.get("name", "")))
            if obj is None:
                if reference.get("optional"):
                    return {}
                raise ConfigError(f'{word} "{reference.get("name", "")}" not found')
            return {prefix + key: value.decode(errors="replace") for key, value in data_of(obj).items()}
    return {}


def _from_reference(
    pod: Object, container: Mapping[str, Any], source: Mapping[str, Any], facts: Facts, lookup: Lookup
) -> str | None:
    if reference := source.get("fieldRef"):
        return field_value(pod, reference.get("fieldPath", ""), facts)
    if reference := source.get("resourceFieldRef"):
        return resource_value(_container_of(pod, container, reference), reference, facts)
    namespace = pod["metadata"]["namespace"]
    for field, gvr, kind in (("configMapKeyRef", CONFIGMAPS, "ConfigMap"), ("secretKeyRef", SECRETS, "Secret")):
        reference = source.get(field)
        if not reference:
            continue
        name, key = reference.get("name", ""), reference.get("key", "")
        obj = lookup(Reference(gvr, namespace, name))
        if obj is None:
            if reference.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{name}" not found')
        value = data_of(obj).get(key)
        if value is None:
            if reference.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")
        return value.decode(errors="replace")
    raise ConfigError("valueFrom names no source")


def _container_of(pod: Object, container: Mapping[str, Any], reference: Mapping[str, Any]) -> Mapping[str, Any]:
    name = reference.get("containerName")
    for each in [*(pod["spec"].get("containers") or []), *(pod["spec"].get("initContainers") or [])]:
        if name and each["name"] == name:
            found: Mapping[str, Any] = each
            return found
    return container


def service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """Docker's link variables for the services of the pod's namespace; `kubernetes` is always there."""
    namespace = pod["metadata"]["namespace"]
    links = pod["spec"].get("enableServiceLinks", True)
    found: dict[str, str] = {}
    chosen: dict[str, Object] = {}
    for service in services:
        name, where = service["metadata"]["name"], service["metadata"]["namespace"]
        if where == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
        if where == namespace and links:
            chosen[name] = service
    for name in sorted(chosen):
        found |= _links(name, chosen[name]["spec"])
    return found


def _links(name: str, spec: Mapping[str, Any]) -> dict[str, str]:
    address, ports = spec.get("clusterIP"), spec.get("ports") or []
    if not address or address == "None" or not ports:
        return {}
    prefix = name.upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
        url = f"{protocol.lower()}://{address}:{number}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        key = f"{prefix}_PORT_{number}_{protocol}"
        found |= {key: url, f"{key}_PROTO": protocol.lower(), f"{key}_PORT": number, f"{key}_ADDR": address}
    return found
