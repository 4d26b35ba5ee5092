"""The rules of each kind, by tables of one change to a valid object and the error that it must cause."""

import copy
from typing import Any

import pytest

from weft.api.defaults import apply_defaults
from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, ENDPOINTSLICES, GVR, NAMESPACES, PODS, SECRETS, SERVICES
from weft.api.kinds import Kinds, ResourceType
from weft.api.validation import invalid, validate, validate_update

KINDS = Kinds.builtin()


def kind(gvr: GVR) -> ResourceType:
    found = KINDS.by_gvr(gvr)
    assert found is not None
    return found


def valid(gvr: GVR, obj: dict[str, Any]) -> dict[str, Any]:
    obj = {"metadata": {"name": "x"}, **copy.deepcopy(obj)}
    apply_defaults(obj, kind(gvr))
    assert validate(obj, kind(gvr)) == []
    return obj


CONTAINER = {"name": "c", "image": "i:1", "ports": [{"containerPort": 80, "name": "http"}]}
POD = valid(PODS, {"spec": {"containers": [CONTAINER]}})
DEPLOYMENT = valid(
    DEPLOYMENTS,
    {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}},
        }
    },
)
SERVICE = valid(SERVICES, {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}})
CONFIGMAP = valid(CONFIGMAPS, {"data": {"a": "b"}})
SECRET = valid(SECRETS, {"data": {"a": "Yg=="}})
NAMESPACE = valid(NAMESPACES, {})
SLICE = valid(ENDPOINTSLICES, {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]})

DELETE = object()


def change(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    obj = copy.deepcopy(obj)
    *parents, last = path.split("/")
    node: Any = obj
    for step in parents:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if value is DELETE:
        del node[int(last) if isinstance(node, list) else last]
    else:
        node[last] = value
    return obj


C = "spec/containers/0"
P = "spec.containers[0]"
ENV = [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "f"}}}]
TABLE: list[tuple[GVR, dict[str, Any], str, Any, str]] = [
    (PODS, POD, "metadata/name", "A_b", 'metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must'),
    (PODS, POD, "metadata/name", "a" * 254, "must be no more than 253 characters"),
    (PODS, POD, "metadata/name", DELETE, "metadata.name: Required value: name or generateName is required"),
    (PODS, POD, "metadata/generateName", "A-", 'metadata.generateName: Invalid value: "A-"'),
    (PODS, POD, "metadata/labels", {"a b": ""}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
    (PODS, POD, "metadata/labels", {"a": "-"}, 'metadata.labels: Invalid value: "-": a valid label must be an empty'),
    (PODS, POD, "metadata/labels", {"x/y/z": ""}, "a qualified name must consist of"),
    (
        PODS,
        POD,
        "metadata/annotations",
        {"a": "b" * 262145},
        "metadata.annotations: Too long: may not be more than 262144",
    ),
    (PODS, POD, "metadata/ownerReferences", [{"kind": "K"}], "metadata.ownerReferences[0].uid: Invalid value"),
    (PODS, POD, "spec", DELETE, "spec: Required value"),
    (PODS, POD, "spec/containers", [], "spec.containers: Required value"),
    (PODS, POD, f"{C}/name", DELETE, f"{P}.name: Required value"),
    (PODS, POD, f"{C}/name", "", f"{P}.name: Required value"),
    (PODS, POD, f"{C}/name", "A", f'{P}.name: Invalid value: "A": a lowercase RFC 1123 label must consist of'),
    (PODS, POD, "spec/initContainers", [CONTAINER], 'spec.containers[0].name: Duplicate value: "c"'),
    (PODS, POD, f"{C}/image", DELETE, f"{P}.image: Required value"),
    (PODS, POD, f"{C}/image", " i", f'{P}.image: Invalid value: " i": must not have leading or trailing whitespace'),
    (
        PODS,
        POD,
        f"{C}/imagePullPolicy",
        "No",
        f'{P}.imagePullPolicy: Unsupported value: "No": supported values: "Always"',
    ),
    (PODS, POD, f"{C}/ports/0/containerPort", 65536, "must be between 1 and 65535, inclusive"),
    (PODS, POD, f"{C}/ports/0/name", "8080", "must contain at least one letter (a-z)"),
    (PODS, POD, f"{C}/ports/0/protocol", "ICMP", 'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
    (PODS, POD, f"{C}/env", [{"name": "A=B"}], f'{P}.env[0].name: Invalid value: "A=B"'),
    (PODS, POD, f"{C}/env", ENV, f'{P}.env[0].valueFrom: Invalid value: "": may not be specified when `value`'),
    (PODS, POD, f"{C}/volumeMounts", [{"name": "v", "mountPath": "/"}], f'{P}.volumeMounts[0].name: Not found: "v"'),
    (
        PODS,
        POD,
        f"{C}/resources",
        {"limits": {"cpu": "-1"}},
        f'{P}.resources.limits.cpu: Invalid value: "-1": must be gr',
    ),
    (
        PODS,
        POD,
        f"{C}/resources",
        {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}},
        f'{P}.resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1',
    ),
    (PODS, POD, f"{C}/resources", {"limits": {"gpu": "1"}}, "must be a standard resource type or fully qualified"),
    (PODS, POD, f"{C}/livenessProbe", {}, f"{P}.livenessProbe: Required value: must specify a handler type"),
    (PODS, POD, f"{C}/livenessProbe", {"exec": {"command": ["x"]}, "successThreshold": 2}, "must be 1"),
    (
        PODS,
        POD,
        "spec/restartPolicy",
        "No",
        'spec.restartPolicy: Unsupported value: "No": supported values: "Always", "OnF',
    ),
    (PODS, POD, "spec/volumes", [{"name": "v"}, {"name": "v"}], 'spec.volumes[1].name: Duplicate value: "v"'),
    (
        PODS,
        POD,
        "spec/volumes",
        [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}],
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    ),
    (PODS, POD, "spec/terminationGracePeriodSeconds", -1, "must be greater than or equal to 0"),
    (
        DEPLOYMENTS,
        DEPLOYMENT,
        "spec/replicas",
        -1,
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (DEPLOYMENTS, DEPLOYMENT, "spec/selector", DELETE, "spec.selector: Required value"),
    (DEPLOYMENTS, DEPLOYMENT, "spec/selector", {}, "empty selector is invalid for deployment"),
    (
        DEPLOYMENTS,
        DEPLOYMENT,
        "spec/template/metadata/labels",
        {"a": "c"},
        'spec.template.metadata.labels: Invalid value: map[string]string{"a":"c"}: '
        "`selector` does not match template `labels`",
    ),
    (DEPLOYMENTS, DEPLOYMENT, "spec/template", DELETE, "spec.template: Required value"),
    (
        DEPLOYMENTS,
        DEPLOYMENT,
        "spec/template/spec/restartPolicy",
        "Never",
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (DEPLOYMENTS, DEPLOYMENT, "spec/strategy/type", "Blue", 'spec.strategy.type: Unsupported value: "Blue"'),
    (
        DEPLOYMENTS,
        DEPLOYMENT,
        "spec/strategy/type",
        "Recreate",
        "may not be specified when strategy `type` is 'Recreate'",
    ),
    (DEPLOYMENTS, DEPLOYMENT, "spec/strategy/rollingUpdate", {"maxSurge": 0}, "may not be 0 when `maxSurge` is 0"),
    (DEPLOYMENTS, DEPLOYMENT, "spec/strategy/rollingUpdate/maxSurge", "x%", "a valid percent string must be a numeric"),
    (DEPLOYMENTS, DEPLOYMENT, "spec/strategy/rollingUpdate/maxUnavailable", "101%", "must not be greater than 100%"),
    (DEPLOYMENTS, DEPLOYMENT, "spec/minReadySeconds", 600, "must be greater than minReadySeconds"),
    (SERVICES, SERVICE, "metadata/name", "1a", "a DNS-1035 label must consist of lower case"),
    (SERVICES, SERVICE, "spec/ports", [], "spec.ports: Required value"),
    (
        SERVICES,
        SERVICE,
        "spec/ports/0/port",
        0,
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclu",
    ),
    (SERVICES, SERVICE, "spec/ports/0/targetPort", "UPPER", "must contain only alpha-numeric characters (a-z, 0-9)"),
    (SERVICES, SERVICE, "spec/ports", [{"port": 1}, {"port": 2, "name": "b"}], "spec.ports[0].name: Required value"),
    (
        SERVICES,
        SERVICE,
        "spec/ports",
        [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}],
        "spec.ports[1]: Duplicate value",
    ),
    (SERVICES, SERVICE, "spec/ports/0/nodePort", 30000, "may not be used when `type` is 'ClusterIP'"),
    (
        SERVICES,
        SERVICE,
        "spec/type",
        "X",
        'spec.type: Unsupported value: "X": supported values: "ClusterIP", "External',
    ),
    (SERVICES, SERVICE, "spec/type", "ExternalName", "spec.externalName: Required value"),
    (CONFIGMAPS, CONFIGMAP, "data", {"a b": ""}, "a valid config key must consist of"),
    (CONFIGMAPS, CONFIGMAP, "binaryData", {"a": ""}, "duplicate of key present in binaryData"),
    (CONFIGMAPS, CONFIGMAP, "data", {"a": "x" * (2**20 + 1)}, "Too long: may not be more than 1048576 bytes"),
    (SECRETS, SECRET, "type", "kubernetes.io/tls", "data[tls.crt]: Required value"),
    (NAMESPACES, NAMESPACE, "metadata/name", "a.b", "a lowercase RFC 1123 label must consist of"),
    (ENDPOINTSLICES, SLICE, "addressType", "IPX", 'addressType: Unsupported value: "IPX"'),
    (ENDPOINTSLICES, SLICE, "endpoints", [{"addresses": ["x"]}], "must be a valid IP address"),
]


@pytest.mark.parametrize(("gvr", "obj", "path", "value", "message"), TABLE, ids=[f"{r[0]}-{r[2]}" for r in TABLE])
def test_rules(gvr: GVR, obj: dict[str, Any], path: str, value: Any, message: str) -> None:
    errors = validate(change(obj, path, value), kind(gvr))
    assert any(message in str(error) for error in errors), [str(error) for error in errors]


UPDATES: list[tuple[GVR, dict[str, Any], str, Any, str]] = [
    (DEPLOYMENTS, DEPLOYMENT, "spec/replicas", 5, ""),
    (PODS, POD, f"{C}/image", "other:2", ""),
    (PODS, POD, "spec/activeDeadlineSeconds", 5, ""),
    (PODS, POD, "spec/tolerations", [{"operator": "Exists"}], ""),
    (PODS, POD, "metadata/labels", {"a": "b"}, ""),
    (PODS, POD, f"{C}/command", ["x"], "spec: Forbidden: pod updates may not change fields other than"),
    (PODS, POD, "spec/nodeName", "n", "spec: Forbidden: pod updates may not change fields other than"),
    (PODS, POD, "spec/containers", [CONTAINER, CONTAINER | {"name": "d"}], "may not add or remove containers"),
    (PODS, POD, "metadata/name", "y", "metadata.name: Invalid value"),
    (SECRETS, SECRET, "type", "other", 'type: Invalid value: "other": field is immutable'),
    (ENDPOINTSLICES, SLICE, "addressType", "FQDN", "field is immutable"),
]


@pytest.mark.parametrize(("gvr", "old", "path", "value", "message"), UPDATES, ids=[f"{r[0]}-{r[2]}" for r in UPDATES])
def test_updates(gvr: GVR, old: dict[str, Any], path: str, value: Any, message: str) -> None:
    errors = validate_update(change(old, path, value), old, kind(gvr))
    if message:
        assert any(message in str(error) for error in errors), [str(error) for error in errors]
    else:
        assert not errors


def test_selector_cannot_change() -> None:
    new = change(DEPLOYMENT, "spec/selector/matchLabels", {"z": "y"})
    new = change(new, "spec/template/metadata/labels", {"z": "y"})
    (error,) = validate_update(new, DEPLOYMENT, kind(DEPLOYMENTS))
    assert error.field == "spec.selector"
    assert error.message.endswith("field is immutable")


def test_immutable_config_map() -> None:
    frozen = change(CONFIGMAP, "immutable", True)
    texts = [str(error) for error in validate_update(change(CONFIGMAP, "data", {}), frozen, kind(CONFIGMAPS))]
    assert texts == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_invalid_is_a_status_with_causes() -> None:
    rtype = kind(DEPLOYMENTS)
    error = invalid(validate(change(DEPLOYMENT, "spec/replicas", -1), rtype), rtype, "x")
    assert error.to_json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: '
        "must be greater than or equal to 0",
        "reason": "Invalid",
        "code": 422,
        "details": {
            "name": "x",
            "group": "apps",
            "kind": "Deployment",
            "causes": [
                {
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: -1: must be greater than or equal to 0",
                    "field": "spec.replicas",
                }
            ],
        },
    }
    broken = change(change(DEPLOYMENT, "spec/replicas", -1), "spec/minReadySeconds", -1)
    assert invalid(validate(broken, rtype), rtype, "x").message.startswith('Deployment.apps "x" is invalid: [spec.')
