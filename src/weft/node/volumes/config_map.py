"""configMap: its keys as files."""

from collections.abc import Mapping
from typing import Any

from weft.api.gvr import CONFIGMAPS
from weft.node.environment import data_of
from weft.node.references import Reference
from weft.node.volumes.payload import Payload, Source, VolumeError, select


def payload(volume: Mapping[str, Any], source: Source, default_mode: int) -> Payload:
    name, optional = volume.get("name", ""), bool(volume.get("optional"))
    found = source.lookup(Reference(CONFIGMAPS, source.pod["metadata"]["namespace"], name))
    if found is None:
        if optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    return select(data_of(found), volume, default_mode, what="config", optional=optional)
