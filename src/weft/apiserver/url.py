"""URLs of resources: `/api/v1/...` and `/apis/GROUP/VERSION/...` taken apart."""

from dataclasses import dataclass
from urllib.parse import unquote

from weft.api.gvr import GVR


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names; parts that it does not name are empty."""

    gvr: GVR
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


def parse(path: str) -> Target | None:
    """None where the path is no resource's."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace: str | None = None
    # /namespaces/NAME/RESOURCE..., but /namespaces/NAME/{status,finalize} are the namespace's own.
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 or "" in rest:
        return None
    resource, name, subresource = (*rest, "", "")[:3]
    return Target(GVR(group, version, resource), namespace, name, subresource)
