"""Who may do what: role-based access control over the roles and bindings that the API holds.

In: a user and what is wanted. Out: yes or no, the rules that somebody has, 403 in Kubernetes's words. The groups
system:masters (the cluster's administrators and Weft's own parts) and system:nodes may do everything, as ever.
"""

from collections.abc import Iterator

from weft.api.gvr import GVR
from weft.api.rbac import GROUP, Attributes, Rule, allows, covers, is_subject
from weft.api.status import ApiError
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request, User

ROLES, CLUSTERROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS = (
    GVR(GROUP, "v1", name) for name in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
)
_ALL: Rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ALL_PATHS: Rule = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_UNLIMITED = frozenset({"system:masters", "system:nodes"})
_NOUNS = {"roles": "Role", "clusterroles": "ClusterRole", "rolebindings": "RoleBinding",
          "clusterrolebindings": "ClusterRoleBinding"}  # fmt: skip


class Authorizer:
    """Looks the roles up anew each time: they are in memory, and few."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def may(self, user: User, wanted: Attributes) -> bool:
        if not _UNLIMITED.isdisjoint(user.groups):
            return True
        return any(allows(rule, wanted) for rule in self.rules(user, wanted.namespace))

    def rules(self, user: User, namespace: str = "") -> Iterator[Rule]:
        """Of the whole cluster and of one namespace."""
        if not _UNLIMITED.isdisjoint(user.groups):
            yield from (_ALL, _ALL_PATHS)
            return
        for binding in self._each(CLUSTERROLEBINDINGS):
            if _binds(binding, user, ""):
                yield from self._of(binding["roleRef"], "")
        if namespace:
            for binding in self._each(ROLEBINDINGS, namespace):
                if _binds(binding, user, namespace):
                    yield from self._of(binding["roleRef"], namespace)

    def check_grant(self, request: Request, obj: Object) -> None:
        """Nobody gives away what he has not: raises ApiError 403 (for roles unless he may `escalate`, for bindings
        unless he may `bind`)."""
        user, kind = request.user, request.resource
        if request.group != GROUP or not _UNLIMITED.isdisjoint(user.groups):
            return
        namespace = request.namespace or ""
        own = list(self.rules(user, namespace))
        if kind in ("roles", "clusterroles"):
            given: list[Rule] = list(obj.get("rules") or ())
            wanted = Attributes("escalate", GROUP, kind, namespace=namespace, name=obj["metadata"].get("name", ""))
        else:
            reference = obj.get("roleRef") or {}
            given = list(self._of(reference, namespace))
            plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
            wanted = Attributes("bind", GROUP, plural, namespace=namespace, name=str(reference.get("name", "")))
        if covers(own, given) or any(allows(rule, wanted) for rule in own):
            return
        name = obj["metadata"].get("name", "")
        raise ApiError(
            "Forbidden",
            f'{kind}.{GROUP} "{name}" is forbidden: user "{user.name}" (groups={_quoted(user.groups)}) is attempting '
            "to grant RBAC permissions not currently held",
            kind=kind, group=GROUP, name=name,
        )  # fmt: skip

    def _of(self, reference: Object, namespace: str) -> list[Rule]:
        cluster = reference.get("kind") == "ClusterRole"
        rtype = self._api.kinds.by_gvr(CLUSTERROLES if cluster else ROLES)
        if rtype is None:
            return []
        role = self._api.objects.get(rtype, None if cluster else namespace, str(reference.get("name", "")))
        return list((role or {}).get("rules") or ())

    def _each(self, gvr: GVR, namespace: str | None = None) -> Iterator[Object]:
        rtype = self._api.kinds.by_gvr(gvr)
        return self._api.objects.each(rtype, namespace) if rtype is not None else iter(())


def _binds(binding: Object, user: User, namespace: str) -> bool:
    return any(is_subject(each, user.name, user.groups, namespace) for each in binding.get("subjects") or ())


def _quoted(groups: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{group}"' for group in groups) + "]"
