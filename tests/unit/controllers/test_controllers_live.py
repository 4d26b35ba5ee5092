"""The controllers and the scheduler at work, with a node and a kubelet played by the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from weft.api.gvr import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    GVR,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from weft.api.kinds import ResourceType
from weft.api.status import ApiError
from weft.client.base import Client
from weft.controllers import runner
from weft.controllers.deployment import DeploymentController
from weft.controllers.endpointslice import EndpointSliceController
from weft.controllers.garbage import GarbageCollector
from weft.controllers.namespace import NamespaceController
from weft.controllers.nodelifecycle import NodeLifecycleController
from weft.controllers.replicaset import ReplicaSetController
from weft.controllers.serviceaccount import ServiceAccountController
from weft.core.clock import rfc3339
from weft.scheduler.scheduler import Scheduler
from weft.testing.apiserver import api_server
from weft.testing.fakeclient import FakeClient

Object = dict[str, Any]


class Cluster:
    """The client, and a node whose pods run as soon as they are bound."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.run_pods = True
        self.addresses = 0

    async def add_node(self, name: str, cpu: str = "4", memory: str = "8Gi") -> None:
        await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        node = await self.client.get(NODES, name)
        status = {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(0)}],
        }
        await self.client.update(NODES, {**node, "status": status}, subresource="status")

    async def kubelet(self) -> None:
        """Makes bound pods ready, and lets deleted ones go."""
        found = await self.client.list(PODS)
        for pod in found.items:
            await self._act(pod)
        async for event in self.client.watch(PODS, resource_version=found.resource_version):
            if event.type in ("ADDED", "MODIFIED"):
                await self._act(event.object)

    async def _act(self, pod: Object) -> None:
        metadata = pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        with contextlib.suppress(ApiError):
            if metadata.get("deletionTimestamp"):
                await self.client.delete(PODS, name, namespace, grace_period_seconds=0)
            elif self.run_pods and pod["spec"].get("nodeName") and pod["status"].get("phase") == "Pending":
                self.addresses += 1
                status = {
                    "phase": "Running",
                    "podIP": f"10.0.0.{self.addresses}",
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(0)}],
                }
                await self.client.update(PODS, {**pod, "status": status}, subresource="status")


async def until(probe: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            try:
                if answer := await probe():
                    return answer
            except ApiError as error:
                if error.code != 404:
                    raise
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(client: Client, kinds: Callable[[], Iterable[ResourceType]]) -> AsyncIterator[Cluster]:
    """All controllers and the scheduler at work."""
    context = runner.Context(client)

    def served(*, namespaced: bool = False) -> list[GVR]:
        return [
            rtype.gvr
            for rtype in kinds()
            if {"list", "watch", "delete"} <= set(rtype.verbs) and (rtype.namespaced or not namespaced)
        ]

    controllers: list[runner.Controller] = [
        DeploymentController(context),
        ReplicaSetController(context),
        EndpointSliceController(context),
        NamespaceController(context, lambda: served(namespaced=True)),
        ServiceAccountController(context),
        NodeLifecycleController(context),
        GarbageCollector(context, served),
    ]
    scheduler = Scheduler(client, informers=context.informers)
    found = Cluster(client)
    tasks = [
        asyncio.create_task(runner.run_controllers(context, controllers)),
        asyncio.create_task(scheduler.run()),
        asyncio.create_task(found.kubelet()),
    ]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(params=["server", "fake"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """On the real API server, and on the client that is meant to behave as it does."""
    if request.param == "fake":
        client = FakeClient()
        async with running(client, client.kinds.all) as found:
            yield found
    else:
        async with api_server() as server, running(server.local, server.server.api.kinds.all) as found:
            yield found


def deployment(replicas: int = 3, image: str = "busybox:1", cpu: str = "100m") -> Object:
    container = {"name": "m", "image": image, "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


async def ready(cluster: Cluster, replicas: int) -> bool:
    found = await cluster.client.get(DEPLOYMENTS, "web", "default")
    status = found["status"]
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return bool(current and counts == [replicas] * 3)


async def test_a_deployment_becomes_ready_rolls_out_and_goes_with_all_that_it_owns(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("n1")
    service = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **service}, "default")
    await client.create(DEPLOYMENTS, deployment(3), "default")
    await until(lambda: ready(cluster, 3))

    async def three_endpoints() -> bool:
        found = await client.get(ENDPOINTS, "web", "default")
        return bool(found["subsets"]) and len(found["subsets"][0].get("addresses", [])) == 3

    await until(three_endpoints)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "m", "image": "busybox:2"}]}}}}
    await client.patch(DEPLOYMENTS, "web", patch, "application/strategic-merge-patch+json", "default")
    await until(lambda: ready(cluster, 3))
    sets = (await client.list(REPLICASETS, "default")).items
    assert sorted(each["spec"]["replicas"] for each in sets) == [0, 3]
    pods = (await client.list(PODS, "default")).items
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"busybox:2"}
    messages = [event["message"] for event in (await client.list(EVENTS, "default")).items]
    assert any(message.startswith("Scaled up replica set web-") for message in messages)
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Background")

    async def all_gone() -> bool:
        return not (await client.list(REPLICASETS, "default")).items and not (await client.list(PODS, "default")).items

    await until(all_gone)


async def test_a_deleted_pod_is_replaced_and_never_one_too_many(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("n1")
    await client.create(DEPLOYMENTS, deployment(3), "default")
    await until(lambda: ready(cluster, 3))
    for _ in range(5):
        victim = (await client.list(PODS, "default")).items[0]["metadata"]["name"]
        await client.delete(PODS, victim, "default", grace_period_seconds=0)

        async def replaced(gone: str = victim) -> bool:
            alive = [
                pod["metadata"]["name"]
                for pod in (await client.list(PODS, "default")).items
                if not pod["metadata"].get("deletionTimestamp")
            ]
            assert len(alive) <= 3
            return len(alive) == 3 and gone not in alive

        await until(replaced)
        await until(lambda: ready(cluster, 3))


async def test_foreground_deletion_waits_for_the_dependents(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("n1")
    await client.create(DEPLOYMENTS, deployment(2), "default")
    await until(lambda: ready(cluster, 2))
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    order: list[str] = []

    async def gone() -> bool:
        pods = (await client.list(PODS, "default")).items
        try:
            await client.get(DEPLOYMENTS, "web", "default")
        except ApiError:
            order.append("deployment")
            assert not pods, "the deployment went before its pods"
            return True
        return False

    await until(gone)


async def test_orphans_stay(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("n1")
    await client.create(DEPLOYMENTS, deployment(1), "default")
    await until(lambda: ready(cluster, 1))
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Orphan")

    async def orphaned() -> bool:
        (left,) = (await client.list(REPLICASETS, "default")).items
        return not left["metadata"].get("ownerReferences")

    await until(orphaned)
    with pytest.raises(ApiError):
        await client.get(DEPLOYMENTS, "web", "default")
    assert len((await client.list(PODS, "default")).items) == 1


async def test_a_namespace_goes_with_its_content_and_gets_an_account_before(cluster: Cluster) -> None:
    client = cluster.client
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    await until(lambda: client.get(SERVICEACCOUNTS, "default", "shop"))
    await client.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "shop"}, "data": {"k": "v"}}, "shop")
    await cluster.add_node("n1")
    web = deployment(3)
    await client.create(DEPLOYMENTS, {**web, "metadata": {"name": "web", "namespace": "shop"}}, "shop")

    async def three_run() -> bool:
        return (await client.get(DEPLOYMENTS, "web", "shop"))["status"].get("availableReplicas") == 3

    await until(three_run)
    await client.delete(NAMESPACES, "shop")

    async def gone() -> bool:
        try:
            await client.get(NAMESPACES, "shop")
        except ApiError as error:
            return error.code == 404
        return False

    await until(gone)
    for gvr in (CONFIGMAPS, DEPLOYMENTS, REPLICASETS, PODS, EVENTS, SERVICEACCOUNTS):
        assert not (await client.list(gvr, "shop")).items


async def test_a_pod_that_fits_nowhere_says_why_and_runs_when_there_is_room(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("small", cpu="1")
    await client.create(DEPLOYMENTS, deployment(1, cpu="2"), "default")

    async def refused() -> Any:
        for pod in (await client.list(PODS, "default")).items:
            for entry in pod["status"].get("conditions") or []:
                if entry["type"] == "PodScheduled" and entry["status"] == "False":
                    return entry["message"]
        return None

    assert await until(refused) == "0/1 nodes are available: 1 Insufficient cpu."
    await cluster.add_node("large", cpu="8")
    await until(lambda: ready(cluster, 1))
    (pod,) = (await client.list(PODS, "default")).items
    assert pod["spec"]["nodeName"] == "large"


async def test_replicas_spread_over_nodes(cluster: Cluster) -> None:
    for name in ("n1", "n2"):
        await cluster.add_node(name)
    await cluster.client.create(DEPLOYMENTS, deployment(4), "default")
    await until(lambda: ready(cluster, 4))
    nodes = [pod["spec"]["nodeName"] for pod in (await cluster.client.list(PODS, "default")).items]
    assert sorted(nodes) == ["n1", "n1", "n2", "n2"]


async def test_what_was_orphaned_is_adopted_again(cluster: Cluster) -> None:
    client = cluster.client
    await cluster.add_node("n1")
    await client.create(DEPLOYMENTS, deployment(2), "default")
    await until(lambda: ready(cluster, 2))
    pods = {pod["metadata"]["uid"] for pod in (await client.list(PODS, "default")).items}
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Orphan")

    async def gone() -> bool:
        return not (await client.list(DEPLOYMENTS, "default")).items

    await until(gone)
    again = await client.create(DEPLOYMENTS, deployment(2), "default")
    await until(lambda: ready(cluster, 2))
    (replicaset,) = (await client.list(REPLICASETS, "default")).items
    assert [each["uid"] for each in replicaset["metadata"]["ownerReferences"]] == [again["metadata"]["uid"]]
    assert {pod["metadata"]["uid"] for pod in (await client.list(PODS, "default")).items} == pods


async def test_what_several_own_goes_with_the_last(cluster: Cluster) -> None:
    client = cluster.client

    async def config_map(name: str, *owners: Object) -> Object:
        references = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": each["metadata"]["name"], "uid": each["metadata"]["uid"]}
            for each in owners
        ]
        return await client.create(CONFIGMAPS, {"metadata": {"name": name, "ownerReferences": references}}, "default")

    async def names() -> set[str]:
        return {each["metadata"]["name"] for each in (await client.list(CONFIGMAPS, "default")).items}

    first, second = await config_map("first"), await config_map("second")
    await config_map("shared", first, second)
    await config_map("bereft", {"metadata": {"name": "first", "uid": "of-another-life"}})

    async def only_the_bereft_went() -> bool:
        return await names() == {"first", "second", "shared"}

    await until(only_the_bereft_went)
    await client.delete(CONFIGMAPS, "first", "default")

    async def one_owner_left() -> bool:
        found = await client.get(CONFIGMAPS, "shared", "default")
        return [each["name"] for each in found["metadata"]["ownerReferences"]] == ["second"]

    await until(one_owner_left)
    await client.delete(CONFIGMAPS, "second", "default")

    async def all_gone() -> bool:
        return not await names()

    await until(all_gone)
