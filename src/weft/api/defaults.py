"""The values that Kubernetes fills in where the user said nothing.

In: a decoded, pruned object. Out: the same object with defaults, in place. Rules are data, by the schema's definition
that they belong to; those that depend on other fields are functions. Custom resources get the `default:` of their
schemas. Source: kubernetes `pkg/apis/*/v1/defaults.go`; for CRDs, apiextensions "Defaulting".
Who is next: admission in the API server, then `weft.api.validation`.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from weft.api import admission_defaults, workload_defaults
from weft.api.kinds import ResourceType
from weft.api.schema import Schema

Object = dict[str, Any]

# Plain values: definition -> field -> value. Maps and lists are copied.
VALUES: dict[str, Object] = {
    **workload_defaults.VALUES,
    **admission_defaults.VALUES,
    "PodSpec": {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
    },
    "Container": {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    },
    "EphemeralContainer": {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    },
    "ContainerPort": {"protocol": "TCP"},
    "LocalObjectReference": {"name": ""},
    "Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "GRPCAction": {"service": ""},
    "ObjectFieldSelector": {"apiVersion": "v1"},
    "SecretVolumeSource": {"defaultMode": 420},
    "ConfigMapVolumeSource": {"defaultMode": 420},
    "DownwardAPIVolumeSource": {"defaultMode": 420},
    "ProjectedVolumeSource": {"defaultMode": 420},
    "ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "HostPathVolumeSource": {"type": ""},
    "DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "DeploymentStrategy": {"type": "RollingUpdate"},
    "ReplicaSetSpec": {"replicas": 1},
    "ReplicaSetStatus": {"replicas": 0},
    "ServiceSpec": {"type": "ClusterIP", "sessionAffinity": "None"},
    "ServicePort": {"protocol": "TCP"},
    "ServiceStatus": {"loadBalancer": {}},
    "EndpointPort": {"protocol": "TCP"},
    "CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
    "RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
    # Not defaults but fields that Go always writes; strict clients (kubernetes for Python) refuse objects without them.
    "ContainerStatus": {"image": "", "imageID": "", "ready": False, "restartCount": 0},
}


def _container(container: Object) -> None:
    if "imagePullPolicy" not in container:
        image = str(container.get("image", ""))
        name, _, tag = image.rpartition("/")[2].partition(":")
        latest = "@" not in name and tag in ("", "latest")
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"


def _volume(volume: Object) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}


def _pod_spec(spec: Object) -> None:
    if "serviceAccountName" in spec or "serviceAccount" in spec:
        name = spec.get("serviceAccountName") or spec.get("serviceAccount")
        spec["serviceAccountName"] = spec["serviceAccount"] = name
    if spec.get("hostNetwork"):
        for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
            for port in container.get("ports") or ():
                if not port.get("hostPort") and "containerPort" in port:
                    port["hostPort"] = port["containerPort"]


def _deployment_spec(spec: Object) -> None:
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _service_spec(spec: Object) -> None:
    kind = spec["type"]
    if spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10800)
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("ipFamilies", ["IPv4"])
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _service_port(port: Object) -> None:
    if port.get("targetPort") in (None, "", 0) and "port" in port:
        port["targetPort"] = port["port"]


def _subject(subject: Object) -> None:
    """Of a role binding; the schema's name is `Subject`."""
    if subject.get("kind") in ("User", "Group"):
        subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _pod(pod: Object) -> None:
    spec = pod.get("spec")
    if spec is None:
        return
    spec.setdefault("enableServiceLinks", True)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        if limits := resources.get("limits"):
            requests = resources.setdefault("requests", {})
            for name, amount in limits.items():
                requests.setdefault(name, amount)


def _namespace(namespace: Object) -> None:
    metadata = namespace.setdefault("metadata", {})
    if name := metadata.get("name"):
        if not metadata.get("labels"):
            metadata["labels"] = {}
        metadata["labels"].setdefault("kubernetes.io/metadata.name", name)
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace.setdefault("status", {}).setdefault("phase", "Active")


def _secret(secret: Object) -> None:
    secret.setdefault("type", "Opaque")
    if "stringData" in secret:
        from base64 import b64encode

        data = secret.setdefault("data", {})
        for key, text in (secret.pop("stringData") or {}).items():
            data[key] = b64encode(text.encode()).decode()


def _node_status(status: Object) -> None:
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _crd_spec(spec: Object) -> None:
    names = spec.get("names")
    if names and "kind" in names:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")


# Values that depend on others; run after VALUES of the same definition, before anything below it.
RULES: dict[str, Callable[[Object], None]] = {
    **workload_defaults.RULES,
    **admission_defaults.RULES,
    "Subject": _subject,
    "PodSpec": _pod_spec,
    "Container": _container,
    "EphemeralContainer": _container,
    "Volume": _volume,
    "DeploymentSpec": _deployment_spec,
    "ServiceSpec": _service_spec,
    "ServicePort": _service_port,
    "Pod": _pod,
    "Namespace": _namespace,
    "Secret": _secret,
    "NodeStatus": _node_status,
    "CustomResourceDefinitionSpec": _crd_spec,
}

# Kinds that always show a status and a spec.
_STATUS = frozenset({"Deployment", "ReplicaSet", "Service", "Node", "Pod"}) | workload_defaults.KINDS
_SPEC = frozenset({"Service", "Deployment", "ReplicaSet", "Pod", "Node", "Lease"}) | workload_defaults.KINDS


def apply_defaults(obj: Object, rtype: ResourceType) -> None:
    """Fills in `obj`, in place; doing it twice changes nothing more."""
    if rtype.is_custom:
        if rtype.schema.has_defaults:
            _custom(obj, rtype.schema)
        return
    if rtype.kind in _SPEC:
        obj.setdefault("spec", {})
    if rtype.kind in _STATUS:
        obj.setdefault("status", {})
    _fill(obj, rtype.schema)


def _fill(value: Object, schema: Schema) -> None:
    name = schema.name
    if (plain := VALUES.get(name)) is not None:
        for key, default in plain.items():
            if key not in value:
                value[key] = default.copy() if type(default) is dict else default
    if (rule := RULES.get(name)) is not None:
        rule(value)
    get = schema.properties.get
    for key, each in value.items():
        kind = type(each)
        if kind is dict:
            if (child := get(key)) is not None and child.properties:
                _fill(each, child)
        elif kind is list and (child := get(key)) is not None and (items := child.items) and items.properties:
            for element in each:
                _fill(element, items)


def _custom(value: Any, schema: Schema) -> None:
    """Structural defaulting: a default is copied in, and then filled in below by its own schema's defaults."""
    if isinstance(value, dict):
        for key, child in schema.properties.items():
            if child.custom and key not in value and "default" in child.raw:
                value[key] = deepcopy(child.raw["default"])
        for key, each in value.items():
            child_schema = schema.properties.get(key) or schema.values
            if child_schema is not None and child_schema.custom:
                _custom(each, child_schema)
    elif isinstance(value, list) and schema.items is not None:
        for each in value:
            _custom(each, schema.items)
