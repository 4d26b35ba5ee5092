"""The Kubernetes project's own client for Python against the server."""

import asyncio
import warnings
from typing import Any

import kubernetes
import kubernetes.client
import kubernetes.config

from weft.testing.apiserver import RunningServer


def use(kubeconfig: str) -> dict[str, Any]:
    """What a script does, step by step; blocking, so it runs in a thread."""
    seen: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own
        api_client = kubernetes.config.new_client_from_config(kubeconfig)
    with api_client:
        core, apps = kubernetes.client.CoreV1Api(api_client), kubernetes.client.AppsV1Api(api_client)
        core.create_namespace({"metadata": {"name": "py"}})
        core.create_namespaced_config_map("py", {"metadata": {"name": "a"}, "data": {"x": "1"}})
        template = {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        }
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}, "template": template}
        made = apps.create_namespaced_deployment("py", {"metadata": {"name": "d"}, "spec": spec})
        seen["replicas"] = made.spec.replicas
        apps.patch_namespaced_deployment("d", "py", {"spec": {"replicas": 3}})
        scale = apps.read_namespaced_deployment_scale("d", "py")
        seen["scale"] = scale.spec.replicas
        scale.spec.replicas = 4
        apps.replace_namespaced_deployment_scale("d", "py", scale)
        seen["list"] = [d.spec.replicas for d in apps.list_deployment_for_all_namespaces().items]
        seen["pages"] = []
        token = None
        while token != "":
            page = core.list_namespace(limit=2, _continue=token)
            seen["pages"].append(len(page.items))
            token = page.metadata._continue or ""
        watch = kubernetes.watch.Watch()
        core.patch_namespaced_config_map("a", "py", {"data": {"x": "2"}})
        core.delete_namespaced_config_map("a", "py")
        version = page.metadata.resource_version
        core.create_namespaced_config_map("py", {"metadata": {"name": "b"}})
        stream = watch.stream(core.list_namespaced_config_map, "py", resource_version=version, timeout_seconds=1)
        seen["events"] = [(event["type"], event["object"].metadata.name) for event in stream]
        try:
            core.read_namespaced_config_map("a", "py")
        except kubernetes.client.ApiException as error:
            seen["error"] = (error.status, error.reason)
        seen["deleted"] = core.delete_namespaced_config_map("b", "py")["status"]
        dynamic = kubernetes.dynamic.DynamicClient(api_client)
        resource = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
        seen["dynamic"] = resource.get(name="d", namespace="py").spec.replicas
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"paused": True}}
        seen["applied"] = dynamic.server_side_apply(
            resource, body=body, name="d", namespace="py", field_manager="py"
        ).spec.paused
    return seen


async def test_a_script(server: RunningServer) -> None:
    seen = await asyncio.to_thread(use, str(server.kubeconfig))
    assert seen == {
        "replicas": 2,
        "scale": 3,
        "list": [4],
        "pages": [2, 2, 1],
        "events": [("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")],
        "error": (404, "Not Found"),
        "dynamic": 4,
        "applied": True,
        "deleted": "Success",
    }
