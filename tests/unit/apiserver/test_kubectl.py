"""The real kubectl against the server, as people use it; no controllers and no nodes are needed for any of it."""

import asyncio
import json
from typing import Any

from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, PODS, REPLICASETS, SERVICES
from weft.testing.apiserver import RunningServer

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        ports: [{containerPort: 80}]
      - name: side
        image: busybox:1
"""

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              color: {type: string, default: red}
          status:
            type: object
            properties: {size: {type: integer}}
"""


async def out(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    return (await server.kubectl(*arguments, stdin=stdin)).stdout.decode()


async def err(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    output = await server.kubectl(*arguments, stdin=stdin, check=False)
    assert output.code != 0, output.stdout.decode()
    return output.stderr.decode()


async def get(server: RunningServer, what: str) -> dict[str, Any]:
    return dict(json.loads(await out(server, "get", what, "-o", "json")))


async def test_apply(server: RunningServer) -> None:
    assert await out(server, "apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert await out(server, "apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    changed = DEPLOYMENT.replace("nginx:1", "nginx:2").replace("replicas: 2\n", "replicas: 3\n")
    changed = changed.replace("      - name: side\n        image: busybox:1\n", "")
    assert "image: nginx:2" in (await server.kubectl("diff", "-f", "-", stdin=changed, check=False)).stdout.decode()
    assert await out(server, "apply", "-f", "-", stdin=changed) == "deployment.apps/web configured\n"
    found = await get(server, "deploy/web")
    assert [c["image"] for c in found["spec"]["template"]["spec"]["containers"]] == ["nginx:2"]
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["generation"] == 2
    assert await out(server, "delete", "-f", "-", "--wait=false", stdin=changed) == 'deployment.apps "web" deleted\n'


async def test_server_side_apply(server: RunningServer) -> None:
    command = ("apply", "--server-side", "-f", "-")
    assert await out(server, *command, stdin=DEPLOYMENT) == "deployment.apps/web serverside-applied\n"
    before = (await get(server, "deploy/web"))["metadata"]["resourceVersion"]
    await out(server, *command, stdin=DEPLOYMENT)
    assert (await get(server, "deploy/web"))["metadata"]["resourceVersion"] == before
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 5")
    message = await err(server, *command, "--field-manager=other", stdin=changed)
    assert 'conflict with "kubectl": .spec.replicas' in message
    await out(server, *command, "--field-manager=other", "--force-conflicts", stdin=changed)
    assert (await get(server, "deploy/web"))["spec"]["replicas"] == 5
    # From client-side to server-side: kubectl migrates the managed fields of the former.
    await out(server, "create", "configmap", "mine", "--from-literal=a=1", "--save-config")
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {b: '2'}\n"
    await out(server, *command, stdin=config)
    assert "b" in (await get(server, "cm/mine"))["data"]


async def test_outputs(server: RunningServer) -> None:
    await out(server, "apply", "-f", "-", stdin=DEPLOYMENT)
    header, row = (await out(server, "get", "deploy")).splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:2] == ["web", "0/2"]
    wide = (await out(server, "get", "deploy", "-o", "wide")).splitlines()[0]
    assert "IMAGES" in wide
    assert await out(server, "get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert await out(server, "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "kind: Deployment" in await out(server, "get", "deploy", "web", "-o", "yaml")
    assert "web" in await out(server, "get", "deploy", "--sort-by=.metadata.name")
    assert "app=web" in await out(server, "get", "deploy", "--show-labels")
    columns = await out(server, "get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")
    assert columns.splitlines()[1].split() == ["web", "2"]
    assert "web" in await out(server, "get", "all", "-A")
    assert "No resources found" in (await server.kubectl("get", "deploy", "-l", "app=none")).stderr.decode()
    described = await out(server, "describe", "deploy", "web")
    assert "StrategyType:           RollingUpdate" in described
    assert 'deployments.apps "none" not found' in await err(server, "get", "deploy", "none")
    assert 'the server doesn\'t have a resource type "gadgets"' in await err(server, "get", "gadgets")


async def test_watching(server: RunningServer) -> None:
    await out(server, "create", "cm", "a")
    watching = asyncio.create_task(server.kubectl("get", "cm", "-w", "--request-timeout=4s", check=False))
    await asyncio.sleep(1.0)
    await out(server, "create", "cm", "b")
    await out(server, "delete", "cm", "a")
    lines = [line.split() for line in (await watching).stdout.decode().splitlines()]
    assert [line[0] for line in lines] == ["NAME", "a", "b", "a"]


async def test_patches(server: RunningServer) -> None:
    await out(server, "apply", "-f", "-", stdin=DEPLOYMENT)
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox:2"}]}}}}'
    await out(server, "patch", "deploy", "web", "-p", strategic)
    merge = '{"spec":{"replicas":4}}'
    await out(server, "patch", "deploy", "web", "--type=merge", "-p", merge)
    json_patch = '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"nginx:9"}]'
    await out(server, "patch", "deploy", "web", "--type=json", "-p", json_patch)
    spec = (await get(server, "deploy/web"))["spec"]
    assert [c["image"] for c in spec["template"]["spec"]["containers"]] == ["nginx:9", "busybox:2"]
    assert spec["replicas"] == 4
    assert "patched (no change)" in await out(server, "patch", "deploy", "web", "--type=merge", "-p", merge)
    status = ("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":3}}')
    await out(server, *status)
    assert (await get(server, "deploy/web"))["status"]["replicas"] == 3


async def test_everyday_verbs(server: RunningServer) -> None:
    await out(server, "apply", "-f", "-", stdin=DEPLOYMENT)
    assert await out(server, "scale", "deploy/web", "--replicas=7") == "deployment.apps/web scaled\n"
    message = await err(server, "scale", "deploy/web", "--current-replicas=1", "--replicas=2")
    assert "Expected replicas to be 1, was 7" in message
    assert await out(server, "label", "deploy/web", "tier=front") == "deployment.apps/web labeled\n"
    assert await out(server, "annotate", "deploy/web", "note=hello") == "deployment.apps/web annotated\n"
    await out(server, "set", "image", "deploy/web", "main=nginx:3")
    await out(server, "set", "env", "deploy/web", "A=b")
    found = await get(server, "deploy/web")
    assert found["spec"]["replicas"] == 7
    assert found["metadata"]["labels"]["tier"] == "front"
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"
    await out(server, "expose", "deploy/web", "--port=80")
    assert (await server.local.get(SERVICES, "web", "default"))["spec"]["selector"] == {"app": "web"}
    edited = (await out(server, "get", "deploy/web", "-o", "yaml")).replace("replicas: 7", "replicas: 1")
    assert await out(server, "replace", "-f", "-", stdin=edited) == "deployment.apps/web replaced\n"
    assert "the object has been modified" in await err(server, "replace", "-f", "-", stdin=edited)


async def test_rollouts_as_far_as_they_are_the_api(server: RunningServer) -> None:
    await out(server, "apply", "-f", "-", stdin=DEPLOYMENT)
    waiting = asyncio.create_task(server.kubectl("rollout", "status", "deploy/web", "--timeout=10s"))
    await asyncio.sleep(0.5)
    deployment = await server.local.get(DEPLOYMENTS, "web", "default")
    done = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    await server.local.update(DEPLOYMENTS, {**deployment, "status": done}, subresource="status")
    assert b'deployment "web" successfully rolled out' in (await waiting).stdout
    deployment = await server.local.get(DEPLOYMENTS, "web", "default")
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": deployment["metadata"]["uid"],
        "controller": True,
    }
    for number, image in (("1", "nginx:0"), ("2", "nginx:1")):
        template = json.loads(json.dumps(deployment["spec"]["template"]))
        template["spec"]["containers"][0]["image"] = image
        template["metadata"]["labels"]["pod-template-hash"] = number
        metadata = {
            "name": f"web-{number}",
            "labels": template["metadata"]["labels"],
            "annotations": {"deployment.kubernetes.io/revision": number},
            "ownerReferences": [owner],
        }
        spec = {"selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}
        await server.local.create(REPLICASETS, {"metadata": metadata, "spec": spec}, "default")
    assert [line.split()[0] for line in (await out(server, "rollout", "history", "deploy/web")).splitlines()[2:4]] == [
        "1",
        "2",
    ]
    await out(server, "rollout", "undo", "deploy/web", "--to-revision=1")
    assert (await get(server, "deploy/web"))["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:0"
    await out(server, "rollout", "restart", "deploy/web")
    assert await out(server, "rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"


async def test_waiting(server: RunningServer) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await server.local.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "default")
    waiting = asyncio.create_task(out(server, "wait", "--for=condition=Ready", "pod/p", "--timeout=10s"))
    await asyncio.sleep(0.5)
    pod = await server.local.get(PODS, "p", "default")
    ready = {**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await server.local.update(PODS, ready, subresource="status")
    assert await waiting == "pod/p condition met\n"
    gone = asyncio.create_task(out(server, "wait", "--for=delete", "pod/p", "--timeout=10s"))
    await asyncio.sleep(0.3)
    await server.local.delete(PODS, "p", "default")
    await gone


async def test_deleting_waits_for_finalizers(server: RunningServer) -> None:
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    await server.local.create(CONFIGMAPS, held, "default")
    deleting = asyncio.create_task(out(server, "delete", "cm", "held", "--timeout=10s"))
    await asyncio.sleep(0.5)
    assert not deleting.done()
    free = [{"op": "remove", "path": "/metadata/finalizers"}]
    await server.local.patch(CONFIGMAPS, "held", free, "application/json-patch+json", "default")
    assert await deleting == 'configmap "held" deleted\n'
    for cascade in ("background", "foreground", "orphan"):
        await out(server, "apply", "-f", "-", stdin=DEPLOYMENT)
        await out(server, "delete", "deploy", "web", f"--cascade={cascade}", "--wait=false")
        if cascade != "background":
            finalizers = (await get(server, "deploy/web"))["metadata"]["finalizers"]
            assert finalizers == ["foregroundDeletion" if cascade == "foreground" else "orphan"]
            clear = '{"metadata":{"finalizers":null}}'
            await out(server, "patch", "deploy", "web", "--type=merge", "-p", clear)
        assert "not found" in await err(server, "get", "deploy", "web")


async def test_errors_as_kubernetes_words_them(server: RunningServer) -> None:
    message = await err(server, "create", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 2\n  foo: 1"))
    assert "Error from server (BadRequest): error when creating" in message
    assert 'strict decoding error: unknown field "spec.foo"' in message
    message = await err(server, "apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: -1"))
    assert 'The Deployment "web" is invalid: spec.replicas: Invalid value: -1' in message
    message = await err(
        server, "apply", "-f", "-", stdin=DEPLOYMENT.replace("app: web}}\n  template", "app: other}}\n  template")
    )
    assert "`selector` does not match template `labels`" in message
    message = await err(server, "create", "cm", "a", "-n", "nowhere")
    assert 'namespaces "nowhere" not found' in message
    message = await err(server, "apply", "-f", "-", stdin="apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n")
    assert 'no matches for kind "Gadget" in version "v1"' in message
    await out(server, "create", "cm", "twice")
    assert 'configmaps "twice" already exists' in await err(server, "create", "cm", "twice")


async def test_creators_that_send_protobuf(server: RunningServer) -> None:
    await out(server, "create", "namespace", "shop")
    await out(server, "create", "configmap", "c", "--from-literal=a=1", "-n", "shop")
    await out(server, "create", "secret", "generic", "s", "--from-literal=a=1", "-n", "shop")
    await out(server, "create", "serviceaccount", "sa", "-n", "shop")
    await out(server, "create", "deployment", "d", "--image=nginx", "--replicas=3", "--port=80", "-n", "shop")
    await out(server, "create", "service", "nodeport", "n", "--tcp=80:8080", "-n", "shop")
    found = json.loads(await out(server, "get", "deploy,cm,secret,svc", "-n", "shop", "-o", "json"))["items"]
    assert [item["kind"] for item in found] == ["Deployment", "ConfigMap", "Secret", "Service"]
    assert found[0]["spec"]["replicas"] == 3
    assert found[1]["data"] == {"a": "1"}
    assert found[2]["data"] == {"a": "MQ=="}
    assert found[3]["spec"]["ports"][0]["targetPort"] == 8080


async def test_explain_and_resources(server: RunningServer) -> None:
    explained = await out(server, "explain", "deployment.spec.replicas")
    assert "FIELD: replicas <integer>" in explained
    listed = await out(server, "api-resources", "--namespaced=true", "-o", "name")
    assert {"pods", "deployments.apps"} <= set(listed.split())
    assert "apps/v1" in await out(server, "api-versions")
    assert "Server Version: v1.32" in await out(server, "version")


async def test_custom_resources(server: RunningServer) -> None:
    await out(server, "apply", "-f", "-", stdin=WIDGETS)
    await out(server, "wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s")
    widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 2}\n"
    assert await out(server, "apply", "-f", "-", stdin=widget) == "widget.example.com/w created\n"
    header, row = (await out(server, "get", "wd")).splitlines()
    assert (header.split()[:2], row.split()[:2]) == (["NAME", "SIZE"], ["w", "2"])
    assert await out(server, "get", "wd", "w", "-o", "jsonpath={.spec.color}") == "red"
    await out(server, "scale", "wd/w", "--replicas=5")
    await out(server, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=widget.replace("2}", "4}"))
    assert await out(server, "get", "wd", "w", "-o", "jsonpath={.spec.size} {.metadata.generation}") == "4 3"
    assert "spec.size" in await err(server, "apply", "-f", "-", stdin=widget.replace("2}", "0}"))
    message = await err(server, "apply", "-f", "-", stdin=widget.replace("size: 2", "size: 2, weight: 1"))
    assert 'unknown field "spec.weight"' in message
    assert "FIELD: color <string>" in await out(server, "explain", "widget.spec.color")
    await out(server, "delete", "crd", "widgets.example.com", "--timeout=10s")
    message = await err(server, "get", "widgets.v1.example.com")
    assert "could not find the requested resource" in message or "doesn't have a resource type" in message
    await out(server, "apply", "-f", "-", stdin=WIDGETS)
    assert await out(server, "get", "wd", "-o", "name") == ""


async def test_a_broken_definition_is_refused(server: RunningServer) -> None:
    broken = WIDGETS.replace("{type: integer, minimum: 1}", "{type: number-ish}")
    message = await err(server, "apply", "-f", "-", stdin=broken)
    assert "is invalid" in message
    assert "not found" in await err(server, "get", "crd", "widgets.example.com")
