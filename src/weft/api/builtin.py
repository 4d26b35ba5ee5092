"""The built-in kinds that Weft serves, and the subresources that there can be. Data: a new kind is one row.

Who is next: `weft.api.kinds`. A kind's fields come from the shipped schema; its defaults, rules and printed columns,
where it has any beyond NAME and AGE, are rows of `weft.api.defaults`, `weft.api.validation` and `weft.api.table`.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One built-in resource."""

    group: str
    version: str
    kind: str
    resource: str
    namespaced: bool = True
    short_names: str = ""
    categories: str = ""
    subresources: str = ""
    verbs: str = ""  # empty: all


ROWS = (
    Row("", "v1", "Namespace", "namespaces", False, "ns", subresources="status finalize"),
    Row("", "v1", "Node", "nodes", False, "no", subresources="status"),
    Row("", "v1", "Pod", "pods", True, "po", "all", "status log exec attach portforward binding eviction"),
    Row("", "v1", "Service", "services", True, "svc", "all", "status"),
    Row("", "v1", "Endpoints", "endpoints", True, "ep"),
    Row("", "v1", "ConfigMap", "configmaps", True, "cm"),
    Row("", "v1", "Secret", "secrets"),
    Row("", "v1", "ServiceAccount", "serviceaccounts", True, "sa"),
    Row("", "v1", "Event", "events", True, "ev"),
    Row("", "v1", "ReplicationController", "replicationcontrollers", True, "rc", "all", "status scale"),
    Row("", "v1", "PodTemplate", "podtemplates"),
    Row("", "v1", "PersistentVolume", "persistentvolumes", False, "pv", subresources="status"),
    Row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, "pvc", subresources="status"),
    Row("apps", "v1", "ReplicaSet", "replicasets", True, "rs", "all", "status scale"),
    Row("apps", "v1", "Deployment", "deployments", True, "deploy", "all", "status scale"),
    Row("apps", "v1", "StatefulSet", "statefulsets", True, "sts", "all", "status scale"),
    Row("apps", "v1", "DaemonSet", "daemonsets", True, "ds", "all", "status"),
    Row("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Row("batch", "v1", "Job", "jobs", True, "", "all", "status"),
    Row("batch", "v1", "CronJob", "cronjobs", True, "cj", "all", "status"),
    Row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, "pdb", "", "status"),
    Row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Row("coordination.k8s.io", "v1", "Lease", "leases"),
    Row("events.k8s.io", "v1", "Event", "events", True, "ev"),
    Row("networking.k8s.io", "v1", "Ingress", "ingresses", True, "ing", "", "status"),
    Row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    Row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, "netpol"),
    Row("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, "sc"),
    Row("", "v1", "ResourceQuota", "resourcequotas", True, "quota", subresources="status"),
    Row("", "v1", "LimitRange", "limitranges", True, "limits"),
    Row("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    Row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    # Questions, which are answered and not kept.
    Row("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False, verbs="create"),
    Row("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", False, verbs="create"),
    Row("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs="create"),
    Row("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False, verbs="create"),
    Row("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False, verbs="create"),
    Row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, "pc"),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        False,
        "",
        "api-extensions",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        False,
        "",
        "api-extensions",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        False,
        "",
        "api-extensions",
        "status",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        False,
        "",
        "api-extensions",
    ),
    Row(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        False,
        "crd crds",
        "api-extensions",
        "status",
    ),
)


class Subresource(NamedTuple):
    """What discovery says of a subresource; an empty kind is that of the resource itself."""

    verbs: tuple[str, ...]
    kind: str = ""
    group: str = ""
    version: str = ""


SUBRESOURCES = {
    "status": Subresource(("get", "patch", "update")),
    "scale": Subresource(("get", "patch", "update"), "Scale", "autoscaling", "v1"),
    "finalize": Subresource(("update",)),
    "log": Subresource(("get",)),
    "exec": Subresource(("create", "get"), "PodExecOptions"),
    "attach": Subresource(("create", "get"), "PodAttachOptions"),
    "portforward": Subresource(("create", "get"), "PodPortForwardOptions"),
    "binding": Subresource(("create",), "Binding"),
    "eviction": Subresource(("create",), "Eviction", "policy", "v1"),
}
