"""Questions about permissions, which are created and answered and never kept: `kubectl auth can-i` and `whoami`.

In: a review as it was posted, and who posts it. Out: the review with its status. Sources: authorization.k8s.io/v1,
authentication.k8s.io/v1.
"""

from typing import Any

from weft.api.rbac import Attributes
from weft.api.status import ApiError, bad_request
from weft.apiserver.api import Object
from weft.apiserver.authorization.authorizer import Authorizer
from weft.apiserver.request import Request, User

KINDS = frozenset(
    {
        "selfsubjectaccessreviews", "subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectrulesreviews",
        "selfsubjectreviews",
    }
)  # fmt: skip


def answer(authorizer: Authorizer, request: Request, body: Object) -> Object:
    """Raises ApiError 400 or 422."""
    spec: dict[str, Any] = body.get("spec") or {}
    user = request.user
    match request.resource:
        case "selfsubjectreviews":
            status: Object = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
            return _answered(request, body, status)
        case "selfsubjectrulesreviews":
            if not spec.get("namespace"):
                raise bad_request("no namespace on request")
            return _answered(request, body, _rules(authorizer, user, spec["namespace"]))
        case "subjectaccessreviews" | "localsubjectaccessreviews":
            if not spec.get("user") and not spec.get("groups"):
                raise ApiError("Invalid", "spec.user: Invalid value: at least one of user or group must be specified")
            user = User(str(spec.get("user") or ""), tuple(str(group) for group in spec.get("groups") or ()))
    attributes = spec.get("resourceAttributes") or {}
    path = spec.get("nonResourceAttributes") or {}
    if bool(attributes) == bool(path):
        raise ApiError("Invalid", "exactly one of nonResourceAttributes or resourceAttributes must be specified")
    namespace = attributes.get("namespace") or ""
    if request.resource == "localsubjectaccessreviews" and namespace != request.namespace:
        raise ApiError("Invalid", f'spec.resourceAttributes.namespace: Invalid value: must match "{request.namespace}"')
    wanted = Attributes(
        str(attributes.get("verb") or path.get("verb") or ""),
        str(attributes.get("group") or ""),
        str(attributes.get("resource") or ""),
        str(attributes.get("subresource") or ""),
        str(namespace),
        str(attributes.get("name") or ""),
        str(path.get("path") or ""),
    )
    return _answered(request, body, {"allowed": authorizer.may(user, wanted)})


def _rules(authorizer: Authorizer, user: User, namespace: str) -> Object:
    resources, paths = [], []
    for rule in authorizer.rules(user, namespace):
        verbs = list(rule.get("verbs") or ())
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": verbs, "nonResourceURLs": list(rule["nonResourceURLs"])})
        else:
            given = {key: list(rule[key]) for key in ("apiGroups", "resources", "resourceNames") if rule.get(key)}
            resources.append({"verbs": verbs, **given})
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}


def _answered(request: Request, body: Object, status: Object) -> Object:
    gvr = request.rtype.gvr
    metadata = {"creationTimestamp": None, **(body.get("metadata") or {})}
    return {
        "kind": request.rtype.kind, "apiVersion": gvr.api_version, "metadata": metadata,
        **({"spec": body["spec"]} if "spec" in body else {}), "status": status,
    }  # fmt: skip
