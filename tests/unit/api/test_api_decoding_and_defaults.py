"""From what the client sent to what is stored: types, unknown fields, nulls, quantities, defaults."""

import copy
import time
from typing import Any

import pytest

from weft.api import validation
from weft.api.decoding import check_types, prune, strict_decoding_error, unknown_fields
from weft.api.defaults import apply_defaults
from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, GVR, NAMESPACES, PODS, SECRETS, SERVICES
from weft.api.kinds import Kinds, ResourceType
from weft.api.status import ApiError

KINDS = Kinds.builtin()


def kind(gvr: GVR) -> ResourceType:
    found = KINDS.by_gvr(gvr)
    assert found is not None
    return found


DEPLOYMENT = kind(DEPLOYMENTS)
NGINX: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "nginx:1",
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "b"}],
                        "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
                        "livenessProbe": {"httpGet": {"port": "http"}},
                    }
                ]
            },
        },
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    obj = copy.deepcopy(NGINX)
    *parents, last = path.split(".")
    node: Any = obj
    for step in parents:
        node = node[int(step) if step.isdigit() else step]
    node[last] = value
    return obj


CONTAINER = "spec.template.spec.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.replicas",
            "2",
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ("spec.replicas", 2**31, "cannot unmarshal number 2147483648 into"),
        ("spec.replicas", 1.5, "cannot unmarshal number 1.5 into"),
        ("spec.replicas", True, "cannot unmarshal bool into"),
        ("spec.paused", 1, "of type bool"),
        (
            "spec.template",
            [],
            "cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodT",
        ),
        ("spec.template.spec.containers", {}, "of type []v1.Container"),
        (f"{CONTAINER}.name", 3, "Go struct field Container.spec.template.spec.containers.name of type string"),
        (f"{CONTAINER}.resources.limits", {"cpu": "lots"}, "quantities must match the regular expression"),
        (f"{CONTAINER}.livenessProbe.httpGet.port", [], "intstr.IntOrString"),
        (
            "metadata.labels",
            {"a": 1},
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type str",
        ),
        ("metadata.labels", [], "of type map[string]string"),
        ("metadata.creationTimestamp", "yesterday", 'parsing time "yesterday"'),
        ("metadata", "x", "cannot unmarshal string into Go struct field Deployment.metadata of type v1.ObjectMeta"),
        ("kind", 5, "cannot unmarshal number into"),
    ],
)
def test_wrong_types(path: str, value: Any, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_types(changed(path, value), DEPLOYMENT)
    assert message in caught.value.message
    assert caught.value.message.startswith('Deployment in version "v1" cannot be handled as a Deployment: ')
    assert caught.value.code == 400


def test_right_types() -> None:
    check_types(NGINX, DEPLOYMENT)
    check_types(changed("spec.replicas", None), DEPLOYMENT)
    check_types(changed("metadata.creationTimestamp", "2024-01-01T00:00:00+02:00"), DEPLOYMENT)
    check_types({"data": {"a": "aGk="}}, kind(SECRETS))
    with pytest.raises(ApiError, match="illegal base64 data at input byte 2"):
        check_types({"data": {"a": "aG#="}}, kind(SECRETS))


def test_unknown_fields() -> None:
    obj = changed(f"{CONTAINER}.imag", "x")
    obj["metadata"]["lable"] = obj["spec"]["replicaz"] = {}
    assert unknown_fields(obj, DEPLOYMENT) == [
        'unknown field "metadata.lable"',
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.replicaz"',
    ]
    assert unknown_fields(NGINX, DEPLOYMENT) == []
    error = strict_decoding_error(['unknown field "spec.replicaz"'], DEPLOYMENT)
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: '
        'strict decoding error: unknown field "spec.replicaz"'
    )
    free_form = {"metadata": {"managedFields": [{"fieldsV1": {"f:anything": {}}}]}}
    assert unknown_fields(free_form, DEPLOYMENT) == []


def test_prune() -> None:
    obj = changed(f"{CONTAINER}.imag", "x")
    obj["spec"] |= {"paused": None, "replicaz": 1}
    prune(obj, DEPLOYMENT)
    expected = copy.deepcopy(NGINX)
    limits = expected["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    limits |= {"cpu": "500m", "memory": "1Gi"}
    assert obj == expected
    data = {"data": {"a": None, "b": "c"}}
    prune(data, kind(CONFIGMAPS))
    assert data == {"data": {"a": "", "b": "c"}}


def filled(gvr: GVR, obj: dict[str, Any]) -> dict[str, Any]:
    once = copy.deepcopy(obj)
    apply_defaults(once, kind(gvr))
    twice = copy.deepcopy(once)
    apply_defaults(twice, kind(gvr))
    assert twice == once
    return once


def test_defaults_of_a_deployment() -> None:
    spec = filled(DEPLOYMENTS, NGINX)["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    pod = spec["template"]["spec"]
    assert {key: value for key, value in pod.items() if key != "containers"} == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
    }
    (container,) = pod["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["livenessProbe"] == {
        "httpGet": {"port": "http", "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert (
        "rollingUpdate" not in filled(DEPLOYMENTS, changed("spec.strategy", {"type": "Recreate"}))["spec"]["strategy"]
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_pull_policy_goes_by_the_tag(image: str, policy: str) -> None:
    pod = filled(PODS, {"spec": {"containers": [{"name": "a", "image": image}]}})
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_defaults_of_a_pod() -> None:
    volumes = [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "hostPath": {"path": "/x"}}]
    container = {"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]}
    pod = filled(PODS, {"spec": {"volumes": volumes, "containers": [container], "hostNetwork": True}})
    spec = pod["spec"]
    assert spec["enableServiceLinks"] is True
    assert spec["volumes"][0] == {"name": "a", "emptyDir": {}}
    assert spec["volumes"][1]["secret"]["defaultMode"] == 420
    assert spec["volumes"][2]["hostPath"]["type"] == ""
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert spec["containers"][0]["ports"][0]["hostPort"] == 80


def test_defaults_of_services() -> None:
    spec = filled(SERVICES, {"spec": {"ports": [{"port": 80}]}})["spec"]
    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    assert filled(SERVICES, {"spec": {"type": "NodePort"}})["spec"]["externalTrafficPolicy"] == "Cluster"
    assert filled(SERVICES, {"spec": {"type": "LoadBalancer"}})["spec"]["allocateLoadBalancerNodePorts"] is True
    external = filled(SERVICES, {"spec": {"type": "ExternalName", "externalName": "x"}})["spec"]
    assert external == {"type": "ExternalName", "externalName": "x", "sessionAffinity": "None"}
    sticky = filled(SERVICES, {"spec": {"sessionAffinity": "ClientIP"}})["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_defaults_of_secrets_and_namespaces() -> None:
    secret = filled(SECRETS, {"data": {"b": "Yg=="}, "stringData": {"a": "a"}})
    assert secret == {"type": "Opaque", "data": {"a": "YQ==", "b": "Yg=="}}
    namespace = filled(NAMESPACES, {"metadata": {"name": "n"}})
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert namespace["spec"] == {"finalizers": ["kubernetes"]}


def test_reading_defaulting_and_checking_a_deployment_takes_less_than_a_millisecond() -> None:
    best = 1.0
    for _ in range(20):
        obj = copy.deepcopy(NGINX)
        start = time.perf_counter()
        check_types(obj, DEPLOYMENT)
        unknown_fields(obj, DEPLOYMENT)
        prune(obj, DEPLOYMENT)
        apply_defaults(obj, DEPLOYMENT)
        assert not validation.validate(obj, DEPLOYMENT)
        best = min(best, time.perf_counter() - start)
    assert best < 0.001
