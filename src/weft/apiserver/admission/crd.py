"""CustomResourceDefinitions: names, status and finalizer; a schema that cannot be used is refused.

Kubernetes establishes a CRD a moment after its creation; here it is established when the creation returns.
"""

from typing import Any

from weft.api.gvr import CRDS
from weft.api.kinds import Kinds
from weft.api.status import ApiError
from weft.apiserver.api import Api, Attributes
from weft.core.clock import rfc3339

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
Object = dict[str, Any]


def define_custom_resource(attributes: Attributes) -> None:
    if attributes.which != ("apiextensions.k8s.io", "customresourcedefinitions"):
        return
    crd = attributes.obj
    if attributes.operation == "DELETE" or "deletionTimestamp" in crd["metadata"]:
        return
    spec = crd.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("names"), dict):
        return  # validation will say so
    names = spec["names"]
    if isinstance(names.get("kind"), str):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    Kinds().add_crd(crd)  # raises what is wrong with it
    crd["status"] = _status(attributes, crd, names)
    if attributes.old is None:
        finalizers = crd["metadata"].setdefault("finalizers", [])
        if CLEANUP not in finalizers:
            finalizers.append(CLEANUP)


def no_new_instances_of_the_dying(attributes: Attributes) -> None:
    rtype = attributes.request.rtype
    if not rtype.is_custom or attributes.operation != "CREATE":
        return
    definitions = attributes.api.kinds.by_gvr(CRDS)
    assert definitions is not None
    crd = attributes.api.objects.get(definitions, None, str(rtype.gvr))
    if crd is not None and "deletionTimestamp" in crd["metadata"]:
        raise ApiError("MethodNotAllowed", "create not allowed while custom resource definition is terminating")


def _status(attributes: Attributes, crd: Object, names: Object) -> Object:
    clash = _clash(attributes.api, crd)
    now = rfc3339(attributes.api.clock.now())
    before = ((attributes.old or {}).get("status") or {}).get("conditions") or []
    if clash:
        accepted = _condition("NamesAccepted", "False", "NameConflict", clash, now)
        established = _condition("Established", "False", "NotAccepted", "not all names are accepted", now)
    else:
        accepted = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        established = _condition(
            "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now
        )
    conditions = []
    for condition in (accepted, established):
        same = [old for old in before if old["type"] == condition["type"] and old["status"] == condition["status"]]
        conditions.append(same[0] if same else condition)
    ours = {condition["type"] for condition in conditions}
    wished = (crd.get("status") or {}).get("conditions") or []
    conditions += [condition for condition in wished if condition["type"] not in ours]
    stored = ((attributes.old or {}).get("status") or {}).get("storedVersions") or []
    storage = [v["name"] for v in crd["spec"].get("versions") or [] if v.get("storage")]
    return {
        "acceptedNames": {} if clash else names,
        "conditions": conditions,
        "storedVersions": [*stored, *(name for name in storage if name not in stored)],
    }


def established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def _condition(type_: str, status: str, reason: str, message: str, now: str) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def _clash(api: Api, crd: Object) -> str:
    """Why the names cannot be had: within one group every plural, singular, short name and kind is one type's."""
    spec = crd["spec"]
    names = spec["names"]
    mine = {names.get("plural"), names.get("singular"), *(names.get("shortNames") or [])}
    for rtype in api.kinds.all():
        if rtype.gvr.group != spec.get("group") or (rtype.is_custom and rtype.gvr.resource == names.get("plural")):
            continue
        taken = mine & {rtype.gvr.resource, rtype.singular, *rtype.short_names}
        if taken:
            return f'"{sorted(taken)[0]}" is already in use'
        if rtype.kind == names.get("kind"):
            return f'"{rtype.kind}" is already in use'
    return ""
