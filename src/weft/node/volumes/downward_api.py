"""downwardAPI: what the pod may know of itself, as files."""

from collections.abc import Mapping
from typing import Any

from weft.node.fields import ConfigError, field_value, resource_value
from weft.node.volumes.payload import File, Payload, Source, VolumeError, checked_path


def payload(volume: Mapping[str, Any], source: Source, default_mode: int) -> Payload:
    found: Payload = {}
    spec = source.pod["spec"]
    containers = {each["name"]: each for each in [*(spec.get("initContainers") or []), *spec["containers"]]}
    for item in volume.get("items") or []:
        try:
            if reference := item.get("resourceFieldRef"):
                name = reference.get("containerName", "")
                if name not in containers:
                    raise VolumeError(f"container {name} not found")
                value = resource_value(containers[name], reference, source.facts)
            else:
                value = field_value(source.pod, (item.get("fieldRef") or {}).get("fieldPath", ""), source.facts)
        except ConfigError as error:
            raise VolumeError(str(error)) from error
        mode = item.get("mode")
        found[checked_path(item["path"])] = File(value.encode(), default_mode if mode is None else mode)
    return found
