"""The roles and bindings that every cluster has (Kubernetes, "Default roles and role bindings"), as far as their kinds
are served here. Made where missing; what somebody has changed stays."""

from collections.abc import Iterator
from typing import Any

from weft.api.gvr import GVR
from weft.api.rbac import GROUP
from weft.apiserver.authorization.authorizer import CLUSTERROLEBINDINGS, CLUSTERROLES

Object = dict[str, Any]
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_OPEN = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
# What namespaced users see, by group; `view` does not include secrets, nor roles.
_VIEWED: dict[str, list[str]] = {
    "": ["bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status",
         "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log", "pods/status",
         "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status", "resourcequotas",
         "resourcequotas/status", "serviceaccounts", "services", "services/status"],
    "apps": ["controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
             "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
             "statefulsets/scale", "statefulsets/status"],
    "autoscaling": ["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
    "batch": ["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "ingresses/status", "networkpolicies"],
    "policy": ["poddisruptionbudgets", "poddisruptionbudgets/status"],
}  # fmt: skip
_EDITED: dict[str, list[str]] = {
    "": ["configmaps", "events", "persistentvolumeclaims", "pods", "replicationcontrollers",
         "replicationcontrollers/scale", "secrets", "serviceaccounts", "services"],
    "apps": ["daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
             "replicasets/scale", "statefulsets", "statefulsets/scale"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}  # fmt: skip


def defaults() -> Iterator[tuple[GVR, Object]]:
    view = [_rule(_READ, group, resources) for group, resources in _VIEWED.items()]
    edit = [
        *view,
        *(_rule(_WRITE, group, resources) for group, resources in _EDITED.items()),
        _rule(_READ, "", ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"]),
        _rule(_WRITE, "", ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"]),
        _rule(["create"], "", ["pods/eviction", "serviceaccounts/token"]),
        _rule([*_READ, *_WRITE], "coordination.k8s.io", ["leases"]),
    ]
    admin = [
        *edit,
        _rule([*_READ, *_WRITE], GROUP, ["rolebindings", "roles"]),
        _rule(["create"], "authorization.k8s.io", ["localsubjectaccessreviews"]),
    ]
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    discovery = [{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_OPEN],
                  "verbs": ["get"]}]  # fmt: skip
    basic = [
        _rule(["create"], "authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        _rule(["create"], "authentication.k8s.io", ["selfsubjectreviews"]),
    ]
    public = [{"nonResourceURLs": _OPEN, "verbs": ["get"]}]
    for name, rules in (
        ("cluster-admin", everything), ("admin", admin), ("edit", edit), ("view", view),
        ("system:discovery", discovery), ("system:basic-user", basic), ("system:public-info-viewer", public),
    ):  # fmt: skip
        yield CLUSTERROLES, {"metadata": _metadata(name), "rules": rules}
    for name, groups in (
        ("cluster-admin", ["system:masters"]),
        ("system:discovery", ["system:authenticated"]),
        ("system:basic-user", ["system:authenticated"]),
        ("system:public-info-viewer", ["system:authenticated", "system:unauthenticated"]),
    ):
        subjects = [{"kind": "Group", "apiGroup": GROUP, "name": group} for group in groups]
        reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
        yield CLUSTERROLEBINDINGS, {"metadata": _metadata(name), "roleRef": reference, "subjects": subjects}


def _rule(verbs: list[str], group: str, resources: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _metadata(name: str) -> Object:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
