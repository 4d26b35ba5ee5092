"""POST of a question that is answered and not kept: who am I, may I (`kubectl auth whoami`, `auth can-i`)."""

from weft.api.status import ApiError
from weft.apiserver.api import Object
from weft.apiserver.auth import may
from weft.apiserver.request import Request, User

_ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def review(request: Request, body: Object) -> Object:
    kind = request.rtype.kind
    spec = body.get("spec") if isinstance(body.get("spec"), dict) else {}
    assert isinstance(spec, dict)
    if kind == "SelfSubjectReview":
        return _answer(body, {"userInfo": {"username": request.user.name, "groups": list(request.user.groups)}})
    if kind in ("SelfSubjectAccessReview", "LocalSubjectAccessReview", "SubjectAccessReview"):
        user = request.user if kind.startswith("Self") else User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        return _answer(body, {"allowed": may(user)})
    if kind == "SelfSubjectRulesReview":
        rules = [_ALL] if may(request.user) else []
        others = [{"verbs": ["*"], "nonResourceURLs": ["*"]}] if rules else []
        return _answer(body, {"resourceRules": rules, "nonResourceRules": others, "incomplete": False})
    raise ApiError("MethodNotAllowed", f"{request.resource} cannot be reviewed by this server")


def _answer(body: Object, status: Object) -> Object:
    return {**body, "metadata": body.get("metadata") or {"creationTimestamp": None}, "status": status}
