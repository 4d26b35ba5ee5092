"""What becomes of metadata, spec and status when an object is created or updated, the same for all kinds.

In: the object as the client sent it and, for updates, the one in the store. Out: the object as it may be stored:
system fields are the server's, status is written only through /status, generation counts changes of the wish.
Kubernetes's own: apiserver `registry/rest` (BeforeCreate, BeforeUpdate) and the strategies of `pkg/registry`.
"""

from typing import Any

from weft.api.kinds import ResourceType
from weft.api.status import bad_request, conflict
from weft.api.validation import FieldError, invalid
from weft.apiserver.request import Request
from weft.core.clock import rfc3339
from weft.core.ids import name_suffix, uid

Object = dict[str, Any]

# Kinds of these groups bear metadata.generation, and so do all custom resources.
_GENERATION_GROUPS = frozenset(
    {"apps", "batch", "networking.k8s.io", "policy", "apiextensions.k8s.io", "admissionregistration.k8s.io"}
)
_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEEPS_STATUS = frozenset({"nodes"})  # kubelets register with their status, as Kubernetes lets them
_FIRST_STATUS: dict[tuple[str, str], Object] = {
    ("", "pods"): {"phase": "Pending"},
    ("", "namespaces"): {"phase": "Active"},
    ("", "persistentvolumeclaims"): {"phase": "Pending"},
    ("", "persistentvolumes"): {"phase": "Pending"},
    ("", "services"): {"loadBalancer": {}},
}

_MAX_GENERATED_BASE = 58  # 63 less a suffix of 5


def check_body(request: Request, obj: Object) -> None:
    """The body must be of the kind, namespace and name that the URL says; fills in what it leaves out."""
    rtype = request.rtype
    version, kind = obj.setdefault("apiVersion", rtype.gvr.api_version), obj.setdefault("kind", rtype.kind)
    if version != rtype.gvr.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({rtype.gvr.api_version})"
        )
    if kind != rtype.kind:
        raise bad_request(f"the kind in the data ({kind}) does not match the expected kind ({rtype.kind})")
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if rtype.namespaced:
        if not request.namespace:
            request.namespace = metadata.get("namespace") or "default"
        if metadata.setdefault("namespace", request.namespace) != request.namespace:
            if metadata["namespace"]:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = request.namespace
    elif metadata.get("namespace"):
        metadata.pop("namespace")
    if request.name and metadata.setdefault("name", request.name) != request.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})"
        )


def generate_name(metadata: Object) -> bool:
    """Gives an object with generateName its name; whether it did."""
    base = metadata.get("generateName")
    if metadata.get("name") or not isinstance(base, str) or not base:
        return False
    metadata["name"] = base[:_MAX_GENERATED_BASE] + name_suffix()
    return True


def has_generation(rtype: ResourceType) -> bool:
    return rtype.gvr.group in _GENERATION_GROUPS or rtype.is_custom or rtype.gvr.resource == "replicationcontrollers"


def prepare_create(rtype: ResourceType, obj: Object, now: float) -> None:
    """System fields of a new object; drops what only the server may say."""
    metadata = obj["metadata"]
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
        metadata.pop(field, None)
    metadata["uid"] = uid()
    metadata["creationTimestamp"] = rfc3339(now)
    if has_generation(rtype):
        metadata["generation"] = 1
    if "status" in rtype.subresources and rtype.gvr.resource not in _KEEPS_STATUS:
        obj.pop("status", None)
    first = _FIRST_STATUS.get((rtype.gvr.group, rtype.gvr.resource))
    if first is not None and not obj.get("status"):
        obj["status"] = dict(first)


def prepare_update(request: Request, new: Object, old: Object) -> None:
    """Keeps what this kind of update may not touch; raises ApiError 409 where the uid is another's."""
    rtype = request.rtype
    metadata, before = new["metadata"], old["metadata"]
    if metadata.get("uid", before["uid"]) != before["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise conflict(request.resource, before["name"], request.group, why)
    if request.subresource == "status":
        _only_status(new, old)
    elif "status" in rtype.subresources and request.subresource != "binding":
        _copy_field(new, old, "status")
    for field in _SYSTEM:
        _copy_field(metadata, before, field)
    _copy_field(metadata, before, "namespace")
    metadata["name"] = before["name"]
    metadata.pop("selfLink", None)
    if "generateName" in before:
        metadata.setdefault("generateName", before["generateName"])


def count_generation(rtype: ResourceType, new: Object, old: Object) -> None:
    """Counts up where the wish changed; after defaults, so that what they filled in is no change."""
    if has_generation(rtype) and _wish(new) != _wish(old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _only_status(new: Object, old: Object) -> None:
    """A status update changes status alone (and managed fields, which record who did it)."""
    metadata = {**old["metadata"]}
    if "managedFields" in new["metadata"]:
        metadata["managedFields"] = new["metadata"]["managedFields"]
    if old["kind"] in ("Node", "Pod"):  # these two let kubelets write labels and annotations along with it
        for field in ("labels", "annotations"):
            if field in new["metadata"]:
                metadata[field] = new["metadata"][field]
    status = new.get("status")
    new.clear()
    new.update(old)
    new["metadata"] = metadata
    if status is None:
        new.pop("status", None)
    else:
        new["status"] = status


def _copy_field(to: Object, source: Object, field: str) -> None:
    if field in source:
        to[field] = source[field]
    else:
        to.pop(field, None)


def _wish(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}


def check_version(request: Request, new: Object, old: Object) -> bool:
    """Whether the update named a resourceVersion; raises ApiError 409 where it is not the present one."""
    asked = new["metadata"].get("resourceVersion")
    if not asked:
        return False
    if asked != old["metadata"]["resourceVersion"]:
        raise conflict(request.resource, old["metadata"]["name"], request.group)
    return True


def unchanged(new: Object, old: Object) -> bool:
    """Whether an update changes nothing but, at most, the times of managed fields."""
    if {k: v for k, v in new.items() if k != "metadata"} != {k: v for k, v in old.items() if k != "metadata"}:
        return False
    ignored = ("managedFields", "resourceVersion")
    a, b = ({k: v for k, v in o["metadata"].items() if k not in ignored and v not in ({}, [])} for o in (new, old))
    return a == b and _timeless(new) == _timeless(old)


def _timeless(obj: Object) -> list[Object]:
    fields = obj["metadata"].get("managedFields") or []
    return [{key: value for key, value in entry.items() if key != "time"} for entry in fields]


def check_finalizers(request: Request, new: Object, old: Object) -> None:
    """While an object is being deleted no finalizer may be added."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    before = old["metadata"].get("finalizers") or []
    added = [name for name in new["metadata"].get("finalizers") or [] if name not in before]
    if added:
        listed = ", ".join(f'"{name}"' for name in added)
        message = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{listed}}}"
        )
        error = FieldError("FieldValueForbidden", "metadata.finalizers", message)
        raise invalid([error], request.rtype, old["metadata"]["name"])


def is_gone(obj: Object) -> bool:
    """Whether nothing holds back an object that is being deleted any longer."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return obj["kind"] != "Namespace" or not obj.get("spec", {}).get("finalizers")
