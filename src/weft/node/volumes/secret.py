"""secret: its keys as files, in memory only. Its name is `secretName`, in a projected volume `name`."""

from collections.abc import Mapping
from typing import Any

from weft.api.gvr import SECRETS
from weft.node.environment import data_of
from weft.node.references import Reference
from weft.node.volumes.payload import Payload, Source, VolumeError, select


def payload(volume: Mapping[str, Any], source: Source, default_mode: int) -> Payload:
    name = volume.get("secretName") or volume.get("name", "")
    optional = bool(volume.get("optional"))
    found = source.lookup(Reference(SECRETS, source.pod["metadata"]["namespace"], name))
    if found is None:
        if optional:
            return {}
        raise VolumeError(f'secret "{name}" not found')
    return select(data_of(found), volume, default_mode, what="secret", optional=optional)
