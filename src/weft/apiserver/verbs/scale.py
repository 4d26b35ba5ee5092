"""The /scale of workloads and of custom resources that declare it: read and write the number of replicas alone.

A Scale is autoscaling/v1's; where the replicas stand in the object is data of the kind.
"""

from typing import Any

from weft.api.kinds import ResourceType
from weft.api.status import bad_request
from weft.api.validation import FieldError, invalid
from weft.apiserver import codec
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.verbs.get import get
from weft.apiserver.verbs.patch import APPLY_PATCH, patcher, unsupported
from weft.apiserver.writing import mutate

_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")


def get_scale(api: Api, request: Request) -> Object:
    return scale_of(request.rtype, get(api, request))


async def update_scale(api: Api, request: Request, body: Object) -> Object:
    return await _write(api, request, lambda scale: body)


async def patch_scale(api: Api, request: Request, body: Any, media: str) -> Object:
    if media == APPLY_PATCH or media not in _TYPES:
        raise unsupported(media, _TYPES)
    # A Scale has no lists, so that a strategic merge is a merge.
    merge = media.replace("strategic-merge", "merge")
    return await _write(api, request, patcher(request, body, merge))


async def _write(api: Api, request: Request, change: Any) -> Object:
    def produce(old: Object) -> Object:
        scale = change(scale_of(request.rtype, old))
        replicas = _replicas(request, scale)
        new = codec.copied(old)
        new["metadata"].pop("resourceVersion")
        asked = (scale.get("metadata") or {}).get("resourceVersion")
        if asked:
            new["metadata"]["resourceVersion"] = asked
        _write_path(new, request.rtype.spec_replicas_path or ".spec.replicas", replicas)
        return new

    return scale_of(request.rtype, await mutate(api, request, produce))


def _replicas(request: Request, scale: Any) -> int:
    if not isinstance(scale, dict) or not isinstance(scale.get("metadata") or {}, dict):
        raise bad_request("the body of the request must be a Scale of autoscaling/v1")
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("spec.replicas of a Scale must be a number")
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid([FieldError("FieldValueInvalid", "spec.replicas", message)], request.rtype, request.name)
    return replicas


def scale_of(rtype: ResourceType, obj: Object) -> Object:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec: Object = {}
    replicas = _read_path(obj, rtype.spec_replicas_path or ".spec.replicas")
    if replicas:
        spec["replicas"] = replicas
    status: Object = {"replicas": _read_path(obj, rtype.status_replicas_path or ".status.replicas") or 0}
    selector = _read_path(obj, rtype.label_selector_path or ".spec.selector")
    if selector:
        status["selector"] = selector if isinstance(selector, str) else _selector_text(selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": spec,
        "status": status,
    }


def _selector_text(selector: Object) -> str:
    """A LabelSelector as the text that list's labelSelector takes."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or []))
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(forms.get(operator, f"!{key}"))
    return ",".join(parts)


def _read_path(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _write_path(obj: Object, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value
