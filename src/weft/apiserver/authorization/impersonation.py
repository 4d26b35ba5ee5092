"""Acting as somebody else: `kubectl --as`, by the headers Impersonate-User, -Group and -Uid (Kubernetes, "User
impersonation"). Who asks must be allowed to `impersonate` each of them."""

from typing import TYPE_CHECKING

from weft.api.rbac import Attributes
from weft.api.status import bad_request
from weft.apiserver.auth import forbidden
from weft.apiserver.authorization.authorizer import Authorizer
from weft.apiserver.request import User

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_ACCOUNT = "system:serviceaccount:"


def impersonated(authorizer: Authorizer, user: User, headers: "CIMultiDictProxy[str]") -> User:
    """The user that the headers name, `user` without such; raises ApiError 400, 403."""
    name, groups = headers.get("Impersonate-User", ""), headers.getall("Impersonate-Group", [])
    if not name:
        if groups or "Impersonate-Uid" in headers:
            raise bad_request("requested impersonation without impersonating a user")
        return user
    asked = [Attributes("impersonate", "", "users", name=name)]
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        namespace, account = name.removeprefix(_ACCOUNT).split(":")
        asked = [Attributes("impersonate", "", "serviceaccounts", namespace=namespace, name=account)]
        groups = groups or ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    asked += [Attributes("impersonate", "", "groups", name=group) for group in headers.getall("Impersonate-Group", [])]
    for each in asked:
        if not authorizer.may(user, each):
            raise forbidden(user, "impersonate", "", each.resource, each.namespace, each.name)
    if name == "system:anonymous":
        return User(name, (*groups, "system:unauthenticated"))
    return User(name, tuple(dict.fromkeys((*groups, "system:authenticated"))))
