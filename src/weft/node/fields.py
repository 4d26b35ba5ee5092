"""What a pod may ask about itself: `fieldRef` and `resourceFieldRef`, for variables and files.

In: a reference and the pod as it is. Out: text, or ConfigError in Kubernetes's words.
Source: kubernetes `pkg/fieldpath/fieldpath.go`, `pkg/api/v1/resource/helpers.go`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.api import quantity
from weft.client.base import Object
from weft.core.errors import WeftError

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['([^']*)'\]")


class ConfigError(WeftError):
    """The container cannot be configured as its pod asks: a reference leads nowhere."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the pod beyond its object; `allocatable` is the node's, as quantities."""

    host_address: str = ""
    address: str = ""
    allocatable: Mapping[str, str] | None = None


def field_value(pod: Object, path: str, facts: Facts) -> str:
    metadata, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(match[1].removeprefix("metadata.")) or {}).get(match[2], ""))
    values: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_address,
        "status.hostIPs": facts.host_address,
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
        "metadata.labels": _lines(metadata.get("labels")),
        "metadata.annotations": _lines(metadata.get("annotations")),
    }
    if path not in values:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(values[path])


def _lines(values: Mapping[str, str] | None) -> str:
    """`key="value"` a line, sorted; the value as Go's %q writes it."""
    return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted((values or {}).items()))


def resource_value(container: Mapping[str, Any], reference: Mapping[str, Any], facts: Facts) -> str:
    """A request or limit in units of its divisor, rounded up; what is not limited is limited by the node."""
    which = str(reference.get("resource", ""))
    kind, _, name = which.partition(".")
    if kind not in ("limits", "requests") or not name:
        raise ConfigError(f"unsupported container resource: {which}")
    amounts = (container.get("resources") or {}).get(kind) or {}
    amount = amounts.get(name)
    if amount is None:
        amount = (facts.allocatable or {}).get(name, "0") if kind == "limits" else "0"
    divisor = reference.get("divisor") or "1"
    if quantity.to_milli(divisor) == 0:
        divisor = "1"
    return str(-(-quantity.to_milli(amount) // quantity.to_milli(divisor)))
