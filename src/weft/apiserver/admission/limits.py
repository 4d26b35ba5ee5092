"""LimitRange: what containers ask for where they do not say, and between what bounds.

In: a new pod or claim, the limit ranges of its namespace. Out: the pod with defaults, or 403.
Source: kubernetes `plugin/pkg/admission/limitranger/admission.go` (messages, the annotation).
"""

from collections.abc import Iterator
from decimal import Decimal

from weft.api import quantity
from weft.api.gvr import GVR
from weft.api.usage import Amounts, container_resources, pod_resources
from weft.apiserver.admission.webhooks import forbidden
from weft.apiserver.api import Attributes, Object

LIMITRANGES = GVR("", "v1", "limitranges")
_ANNOTATION = "kubernetes.io/limit-ranger"


def keep_within_limits(attributes: Attributes) -> None:
    if attributes.operation != "CREATE" or attributes.request.subresource:
        return
    if attributes.which not in (("", "pods"), ("", "persistentvolumeclaims")):
        return
    ranges = list(_ranges(attributes))
    if not ranges or not isinstance(attributes.obj.get("spec"), dict):
        return
    if attributes.which == ("", "pods"):
        for each in ranges:
            _fill_in(attributes.obj, each)
    try:
        wrong = [text for each in ranges for text in _complaints(attributes, each)]
    except (ValueError, AttributeError):
        return  # validation will say so
    if wrong:
        raise forbidden(attributes, wrong[0] if len(wrong) == 1 else f"[{', '.join(dict.fromkeys(wrong))}]")


def _ranges(attributes: Attributes) -> Iterator[Object]:
    api = attributes.api
    rtype = api.kinds.by_gvr(LIMITRANGES)
    if rtype is not None and api.objects.hub(rtype).entries:
        yield from api.objects.each(rtype, attributes.request.namespace)


def _items(limit_range: Object, kind: str) -> list[Object]:
    return [item for item in (limit_range.get("spec") or {}).get("limits") or () if item.get("type") == kind]


def _fill_in(pod: Object, limit_range: Object) -> None:
    requests: Object = {}
    limits: Object = {}
    for item in _items(limit_range, "Container"):
        requests.update(item.get("defaultRequest") or {})
        limits.update(item.get("default") or {})
    said = []
    for key, word in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(key) or ():
            resources = container.setdefault("resources", {})
            for kind, defaults in (("requests", requests), ("limits", limits)):
                mine = resources.get(kind) or {}
                added = sorted(name for name in defaults if name not in mine)
                if added:
                    resources[kind] = {**mine, **{name: defaults[name] for name in added}}
                    said.append(f"{', '.join(added)} {kind[:-1]} for {word} {container.get('name')}")
    if said:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(said)


def _complaints(attributes: Attributes, limit_range: Object) -> Iterator[str]:
    spec = attributes.obj["spec"]
    if attributes.which == ("", "persistentvolumeclaims"):
        requests = container_resources(spec, "requests")
        for item in _items(limit_range, "PersistentVolumeClaim"):
            yield from _bounds(item, "PersistentVolumeClaim", requests, requests, word="request")
        return
    for item in _items(limit_range, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            requests, limits = (container_resources(container, kind) for kind in ("requests", "limits"))
            yield from _bounds(item, "Container", requests, limits)
            yield from _ratios(item, "Container", requests, limits)
    for item in _items(limit_range, "Pod"):
        requests, limits = (pod_resources(spec, kind) for kind in ("requests", "limits"))
        yield from _bounds(item, "Pod", requests, limits)
        yield from _ratios(item, "Pod", requests, limits)


def _bounds(item: Object, kind: str, requests: Amounts, limits: Amounts, word: str = "limit") -> Iterator[str]:
    for name, text in sorted((item.get("min") or {}).items()):
        low, begins = quantity.parse(text), f"minimum {name} usage per {kind} is {text}"
        if name not in requests:
            yield f"{begins}.  No request is specified"
        elif requests[name] < low:
            yield f"{begins}, but request is {_shown(requests[name], text)}"
        elif name in limits and limits[name] < low:
            yield f"{begins}, but limit is {_shown(limits[name], text)}"
    for name, text in sorted((item.get("max") or {}).items()):
        high, begins = quantity.parse(text), f"maximum {name} usage per {kind} is {text}"
        if name not in limits:
            yield f"{begins}.  No {word} is specified"
        elif limits[name] > high:
            yield f"{begins}, but {word} is {_shown(limits[name], text)}"
        elif requests.get(name, Decimal(0)) > high:
            yield f"{begins}, but request is {_shown(requests[name], text)}"


def _ratios(item: Object, kind: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, text in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        begins = f"{name} max limit to request ratio per {kind} is {text}"
        if not requests.get(name):
            yield f"{begins}, but no request is specified or request is 0"
        elif name not in limits:
            yield f"{begins}, but no limit is specified"
        elif limits[name] / requests[name] > quantity.parse(text):
            yield f"{begins}, but provided ratio is {limits[name] / requests[name]:.6f}"


def _shown(value: Decimal, like: str) -> str:
    """In the family of suffixes of the limit that it is held against."""
    if like.endswith("i") and value % 1024 == 0:
        return quantity.canonical(f"{int(value) // 1024}Ki")
    return quantity.canonical(format(value, "f"))
