"""kubectl get in every output, describe, explain, events, discovery, proxy, by the real kubectl."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from verbs import Kubectl

from weft.testing.cluster import Cluster

pytest_plugins = ["weft.testing.pytest_plugin"]


@pytest.fixture(scope="module")
def kubectl(weft_shared_cluster: Cluster) -> Iterator[Kubectl]:
    """A namespace with a deployment of three pods, that nobody changes."""
    found = Kubectl(weft_shared_cluster, "reading")
    found("create", "namespace", "reading")
    found("create", "deployment", "web", "--image=web:1", "--replicas=3", "--port=80")
    found("expose", "deployment", "web", "--port=80")
    found("rollout", "status", "deployment/web")
    yield found
    found("delete", "namespace", "reading", "--wait=false")


PODS = ("get", "pods", "-l", "app=web")


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (PODS, r"NAME +READY +STATUS +RESTARTS +AGE\n(web-\S+ +1/1 +Running +0 +\d+s\n){3}"),
        ((*PODS, "-o", "wide"),
         r"NAME .*NODE +NOMINATED NODE +READINESS GATES\n(web-\S+ .* node-0 +<none> +<none>\n){3}"),
        ((*PODS, "-o", "name"), r"(pod/web-\S+\n){3}"),
        ((*PODS, "-o", "jsonpath={.items[*].spec.nodeName}"), r"node-0 node-0 node-0"),
        ((*PODS, "-o", "jsonpath-as-json={.items[0].kind}"), r'\[\n +"Pod"\n\]\n'),
        ((*PODS, "-o", "go-template={{range .items}}{{.status.phase}},{{end}}"), r"Running,Running,Running,"),
        ((*PODS, "-o", "custom-columns=N:.metadata.name,I:.spec.containers[0].image"), r"N +I\n(web-\S+ +web:1\n){3}"),
        ((*PODS, "--no-headers"), r"(web-\S+ +1/1 .*\n){3}"),
        ((*PODS, "-L", "app,none"), r"NAME .*APP +NONE\n(web-\S+ .* web +\n){3}"),
        ((*PODS, "--show-labels"), r"NAME .*LABELS\n(web-\S+ .*app=web,pod-template-hash=\S+\n){3}"),
        ((*PODS, "--show-kind"), r"NAME .*\n(pod/web-\S+ .*\n){3}"),
        ((*PODS, "--chunk-size=1"), r"NAME .*\n(web-\S+ .*\n){3}"),
        (("get", "pods", "-A", "--field-selector=metadata.namespace=reading"),
         r"NAMESPACE +NAME .*\n(reading +web-\S+ .*\n){3}"),
        (("get", "pods", "--field-selector=status.phase!=Running"), r""),
        (("get", "pods", "-l", "app in (web),pod-template-hash", "-o", "name"), r"(pod/web-\S+\n){3}"),
        (("get", "deploy,svc"),
         r"NAME +READY .*\ndeployment.apps/web +3/3 .*\n\nNAME +TYPE .*\nservice/web +ClusterIP .*\n"),
        (("get", "deploy/web", "svc/web", "-o", "name"), r"deployment.apps/web\nservice/web\n"),
        (("get", "deploy", "web", "--subresource=scale"), r"NAME +DESIRED +AVAILABLE +AGE\nweb +3 +3 +\d+s\n"),
        (("get", "deploy", "web", "--subresource=status", "-o", "jsonpath={.status.replicas}"), r"3"),
        (("get", "all"), r"(?s)NAME .*pod/web-.*service/web.*deployment.apps/web.*replicaset.apps/web-.*"),
        (("get", "ev", "-o", "name"), r"(event/\S+\n)+"),
        (("get", "events.events.k8s.io", "-o", "name"), r"(event.events.k8s.io/\S+\n)+"),
    ],
)  # fmt: skip
def test_get(kubectl: Kubectl, arguments: tuple[str, ...], pattern: str) -> None:
    said = kubectl(*arguments)
    assert re.fullmatch(pattern, said), said


def test_get_sorted(kubectl: Kubectl) -> None:
    names = kubectl(*PODS, "--sort-by=.metadata.name", "-o", "name").split()
    assert names == sorted(names)
    by_table = kubectl(*PODS, "--sort-by=.metadata.name", "--no-headers").splitlines()
    assert [f"pod/{line.split()[0]}" for line in by_table] == names


def test_get_json_and_yaml(kubectl: Kubectl) -> None:
    import yaml

    found = json.loads(kubectl("get", "deploy", "web", "-o", "json"))
    assert (found["kind"], found["metadata"]["name"]) == ("Deployment", "web")
    assert yaml.safe_load(kubectl("get", "deploy", "web", "-o", "yaml")) == found
    raw = json.loads(kubectl("get", "--raw", "/api/v1/namespaces/reading/pods?limit=2"))
    assert (raw["kind"], len(raw["items"]), raw["metadata"]["remainingItemCount"]) == ("PodList", 2, 1)
    assert not {"kind", "apiVersion"} & set(raw["items"][0])


def test_get_and_watch(kubectl: Kubectl) -> None:
    command = ["kubectl", "-n", "reading", "get", "cm", "-w", "--output-watch-events", "-l", "watched"]
    environment = kubectl.cluster.environment
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kubectl("create", "cm", "watched", "--from-literal=a=b", "--dry-run=none")
        kubectl("label", "cm", "watched", "watched=1")
        lines = [process.stdout.readline(), process.stdout.readline()]
        kubectl("patch", "cm", "watched", "-p", '{"data":{"c":"d"}}')
        lines.append(process.stdout.readline())
        kubectl("delete", "cm", "watched")
        lines.append(process.stdout.readline())
        process.terminate()
    assert [line.split()[:3] for line in lines] == [
        ["EVENT", "NAME", "DATA"], ["ADDED", "watched", "1"], ["MODIFIED", "watched", "2"], ["DELETED", "watched", "2"],
    ]  # fmt: skip


def test_what_is_not_there(kubectl: Kubectl) -> None:
    assert kubectl.fails("get", "pod", "none") == 'Error from server (NotFound): pods "none" not found\n'
    assert kubectl.fails("get", "nothing") == 'error: the server doesn\'t have a resource type "nothing"\n'
    assert kubectl("get", "pod", "none", "--ignore-not-found") == ""
    assert "unable to parse" in kubectl.fails("get", "pods", "-l", "a in")
    assert "field label not supported" in kubectl.fails("get", "pods", "--field-selector=spec.none=1")


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("deploy/web", ["Replicas: +3 desired | 3 updated", "NewReplicaSet: +web-", "ScalingReplicaSet"]),
        ("rs", ["Controlled By: +Deployment/web", "3 Running", "SuccessfulCreate"]),
        ("pods", ["Controlled By: +ReplicaSet/web-", "QoS Class: +BestEffort", "Scheduled"]),
        ("svc/web", ["Type: +ClusterIP", "Endpoints: +10.0.0."]),
        ("ns/reading", ["Status: +Active"]),
        ("node/node-0", ["HolderIdentity: +node-0", "KubeletReady", "Non-terminated Pods:", "web-"]),
        ("sa/default", ["Name: +default"]),
    ],
)
def test_describe(kubectl: Kubectl, what: str, parts: list[str]) -> None:
    said = kubectl("describe", what)
    for part in parts:
        assert re.search(part, said), said


def test_events(kubectl: Kubectl) -> None:
    assert re.search(r"Normal +ScalingReplicaSet +Deployment/web", kubectl("events", "--for=deployment/web"))
    assert "Successfully assigned" in kubectl("events")
    assert "No events found" in kubectl.run("events", "--types=Warning").stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("explain", "pods"), ["KIND: +Pod", "spec\t<PodSpec>"]),
        (("explain", "deployment.spec.strategy.rollingUpdate"), ["maxSurge\t<IntOrString>"]),
        (("explain", "cronjobs", "--recursive"), ["jobTemplate\t<JobTemplateSpec> -required-"]),
        (("explain", "events", "--api-version=events.k8s.io/v1"), ["regarding\t<ObjectReference>"]),
        (("explain", "pods.spec.containers", "--output=plaintext-openapiv2"), ["image\t<string>"]),
        (("api-resources",), [r"deployments +deploy +apps/v1 +true +Deployment"]),
        (("api-resources", "--verbs=list", "--namespaced=false", "-o", "name"), ["nodes\n", "storageclasses.storage"]),
        (("api-resources", "--api-group=networking.k8s.io"), ["ingresses +ing ", "networkpolicies +netpol "]),
        (("api-versions",), ["apps/v1\n", "events.k8s.io/v1\n"]),
        (("version",), [r"Server Version: v1\.\d+"]),
        (("version", "-o", "json"), ['"gitVersion": "v1']),
        (("cluster-info",), ["control plane.* is running at"]),
        (("cluster-info", "dump", "--namespaces=none"), ['"kind": "NodeList"', '"kind": "PodList"']),
        (("get", "--raw", "/healthz"), ["ok"]),
        (("get", "--raw", "/version"), ["gitVersion"]),
    ],
)
def test_discovery(kubectl: Kubectl, arguments: tuple[str, ...], parts: list[str]) -> None:
    said = kubectl(*arguments)
    for part in parts:
        assert re.search(part, said), said


def test_proxy(kubectl: Kubectl) -> None:
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(command, env=kubectl.cluster.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        with urllib.request.urlopen(f"http://{found[0]}/api/v1/namespaces/reading") as answer:
            assert json.load(answer)["metadata"]["name"] == "reading"
        process.terminate()
