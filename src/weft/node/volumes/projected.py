"""projected: several sources in one directory."""

from collections.abc import Mapping
from typing import Any

from weft.node.volumes import config_map, downward_api, secret
from weft.node.volumes.payload import Payload, Source, VolumeError

_KINDS = {"configMap": config_map.payload, "secret": secret.payload, "downwardAPI": downward_api.payload}


def payload(volume: Mapping[str, Any], source: Source, default_mode: int) -> Payload:
    found: Payload = {}
    for each in volume.get("sources") or []:
        for kind, value in each.items():
            if kind in _KINDS:
                found |= _KINDS[kind](value, source, default_mode)
            else:
                raise VolumeError(f"projected source {kind} is not supported")
    return found
