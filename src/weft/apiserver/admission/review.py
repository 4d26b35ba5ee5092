"""The AdmissionReview about one write: what webhooks are sent and what expressions see as `request`.

Source: k8s.io/api `admission/v1/types.go`.
"""

from typing import Any

from weft.apiserver.api import Attributes, Object
from weft.core.ids import uid

_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


def review_request(attributes: Attributes) -> Object:
    """The `request` of a review, with an identity of its own."""
    request = attributes.request
    gvr = request.rtype.gvr
    kind = {"group": gvr.group, "version": gvr.version, "kind": request.rtype.kind}
    resource = {"group": gvr.group, "version": gvr.version, "resource": gvr.resource}
    obj, old = attributes.obj, attributes.old
    deletes = attributes.operation == "DELETE"
    if request.subresource == "scale":
        from weft.apiserver.verbs.scale import scale_of

        kind = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        obj = scale_of(request.rtype, obj)
        old = scale_of(request.rtype, old) if old is not None else None
    found: Object = {
        "uid": uid(),
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": request.name or obj["metadata"].get("name", ""),
        "operation": attributes.operation,
        "userInfo": {"username": request.user.name, "groups": [*request.user.groups, "system:authenticated"]},
        "object": None if deletes else obj,
        "oldObject": old,
        "dryRun": request.dry_run,
        "options": _options(attributes),
    }
    if request.namespace:
        found["namespace"] = request.namespace
    elif gvr.group == "" and gvr.resource == "namespaces":
        found["namespace"] = found["name"]
    if request.subresource:
        found["subResource"] = found["requestSubResource"] = request.subresource
    return found


def _options(attributes: Attributes) -> Object:
    request = attributes.request
    options: dict[str, Any] = {"kind": _OPTIONS[attributes.operation], "apiVersion": "meta.k8s.io/v1"}
    if request.dry_run:
        options["dryRun"] = ["All"]
    if request.field_manager and attributes.operation != "DELETE":
        options["fieldManager"] = request.field_manager
    return options
