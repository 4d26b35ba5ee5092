"""Controllers when things go wrong: caches that lag, calls that fail, nodes that fall silent, kinds that come late."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from weft.api.gvr import CONFIGMAPS, CRDS, DEPLOYMENTS, EVENTS, GVR, NODES, PODS, REPLICASETS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Informer, Key
from weft.controllers.deployment import DeploymentController
from weft.controllers.garbage import GarbageCollector
from weft.controllers.nodelifecycle import GRACE_SECONDS, LEASES, NodeLifecycleController
from weft.controllers.replicaset import ReplicaSetController
from weft.controllers.runner import Context, Controller, enqueue, run_controllers
from weft.core.clock import FakeClock, rfc3339
from weft.core.errors import UnavailableError
from weft.core.workqueue import WorkQueue
from weft.testing.fakeclient import FakeClient, eventually


@contextlib.asynccontextmanager
async def running(context: Context, *controllers: Controller) -> AsyncIterator[None]:
    task = asyncio.create_task(run_controllers(context, controllers))
    for controller in controllers:
        for informer in controller.informers:
            await informer.synced()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def workload(kind: str, replicas: int) -> Object:
    pod = {"containers": [{"name": "m", "image": "busybox"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def active(client: FakeClient) -> list[Object]:
    return [pod for pod in client.all(PODS) if "deletionTimestamp" not in pod["metadata"]]


async def turns(count: int = 100) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_cache_that_lags_makes_no_pod_twice() -> None:
    client = FakeClient()
    context = Context(client)
    controller = ReplicaSetController(context)
    async with running(context, controller):
        await client.create(REPLICASETS, workload("ReplicaSet", 3))
        await eventually(lambda: len(active(client)) == 3)
        client.hold()
        await client.patch(REPLICASETS, "web", {"spec": {"replicas": 8}}, "application/merge-patch+json", "default")
        client.release()
        client.hold()  # the new size is seen, and the pods that follow are not
        await eventually(lambda: len(active(client)) == 8)
        for _ in range(20):
            controller.queue.add(("default", "web"))
            await turns(10)
            assert len(active(client)) == 8
        client.release()
        await eventually(lambda: len(active(client)) == 8)


async def test_it_converges_under_random_deletions_and_failures() -> None:
    clock, chance = FakeClock(), random.Random(7)
    client = FakeClient(clock=clock)
    context = Context(client, clock=clock)
    async with running(context, DeploymentController(context), ReplicaSetController(context)):
        await client.create(DEPLOYMENTS, workload("Deployment", 5))
        for _ in range(60):
            match chance.randrange(6):
                case 0:
                    client.fail("create", ApiError("InternalError", "no room"), PODS)
                case 1:
                    client.fail("update", UnavailableError("away"), REPLICASETS)
                case 2:
                    client.fail("delete", ApiError("Conflict", "busy"), PODS)
                case 3:
                    client.break_watches()
                case _:
                    if pods := active(client):
                        name = chance.choice(pods)["metadata"]["name"]
                        with contextlib.suppress(ApiError):  # the failure that was meant for the controller
                            await client.delete(PODS, name, "default", grace_period_seconds=0)
            await turns(chance.randrange(20))
            await clock.advance(chance.random())
            assert len(active(client)) <= 5
        for _ in range(10):
            await clock.advance(60)  # whatever back-off there is, it ends
            await turns()
        assert len(active(client)) == len(client.all(PODS)) == 5
        assert client.all(DEPLOYMENTS)[0]["status"]["replicas"] == 5


async def test_pods_that_cannot_be_made_are_tried_one_at_a_time_and_told_of() -> None:
    client = FakeClient()
    context = Context(client)
    async with running(context, DeploymentController(context), ReplicaSetController(context)):
        client.fail("create", ApiError("Forbidden", "pods are forbidden: no quota"), PODS, times=3)
        await client.create(DEPLOYMENTS, workload("Deployment", 100))
        await eventually(lambda: [each for each in client.all(EVENTS) if each["reason"] == "FailedCreate"])
        await eventually(lambda: len(active(client)) == 100)
        failed = next(each for each in client.all(EVENTS) if each["reason"] == "FailedCreate")
        assert failed["message"] == "Error creating: pods are forbidden: no quota"

        def told() -> set[str]:
            return {each["type"] for each in client.all(DEPLOYMENTS)[0]["status"].get("conditions", [])}

        await eventually(lambda: told() == {"Available", "Progressing"})
    assert client.calls.count(("create", "pods", "")) == 103


class Flaky:
    """A controller whose reconcile fails as told."""

    name = "flaky"

    def __init__(self, context: Context, errors: Sequence[Exception]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self.informers: Sequence[Informer] = (context.informers.of(CONFIGMAPS),)
        self.informers[0].on_change(enqueue(self.queue))
        self.errors = list(errors)
        self.done: list[Key] = []

    async def reconcile(self, key: Key) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.append(key)


async def test_errors_are_retried_and_conflicts_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    context = Context(client)
    errors = [ApiError("Conflict", "late"), UnavailableError("away"), KeyError("bug"), ApiError("Invalid", "wrong")]
    controller = Flaky(context, errors)
    with caplog.at_level(logging.INFO, "weft.controllers"):
        async with running(context, controller):
            await client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
            await eventually(lambda: controller.done == [("default", "a")])
    assert [record.getMessage() for record in caplog.records] == [
        "flaky default/a: away",
        "flaky default/a failed",
        "flaky default/a: wrong",
    ]


async def test_from_write_to_reconcile_without_a_timer() -> None:
    client = FakeClient(clock=FakeClock())
    context = Context(client, clock=FakeClock())
    controller = Flaky(context, ())
    async with running(context, controller):
        await client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
        await turns(10)
        assert controller.done == [("default", "a")]


def node(name: str) -> Object:
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": rfc3339(0)} for kind in ("Ready", "DiskPressure")
    ]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def bound_pod(name: str, node_name: str) -> Object:
    spec = {"nodeName": node_name, "containers": [{"name": "m", "image": "busybox"}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def condition(client: FakeClient, gvr: GVR, name: str, kind: str = "Ready") -> str:
    obj = next(each for each in client.all(gvr) if each["metadata"]["name"] == name)
    return next(str(each["status"]) for each in obj["status"]["conditions"] if each["type"] == kind)


async def test_a_node_that_falls_silent_becomes_unknown_and_its_pods_unready() -> None:
    clock = FakeClock()
    client = FakeClient(clock=clock)
    context = Context(client, clock=clock)
    await client.create(NODES, node("n1"))
    made = await client.create(PODS, bound_pod("p", "n1"))
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(clock.now())}]
    await client.update(PODS, {**made, "status": {"phase": "Running", "conditions": ready}}, subresource="status")
    lease: Object = {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1"}}
    await client.create(LEASES, lease)
    async with running(context, NodeLifecycleController(context)):
        for number in range(8):
            await clock.advance(GRACE_SECONDS / 4)
            renewal = {"spec": {"leaseTransitions": number}}
            await client.patch(LEASES, "n1", renewal, "application/merge-patch+json", "kube-node-lease")
            await turns()
        assert condition(client, NODES, "n1") == "True"
        await clock.advance(GRACE_SECONDS - 1)
        await turns()
        assert condition(client, NODES, "n1") == "True"
        await clock.advance(2)
        await turns()
        assert condition(client, NODES, "n1") == condition(client, NODES, "n1", "DiskPressure") == "Unknown"
        assert condition(client, PODS, "p") == "False"


async def test_pods_of_a_node_that_is_gone_go_too_unless_it_comes_back() -> None:
    clock = FakeClock()
    client = FakeClient(clock=clock)
    context = Context(client, clock=clock)
    for name in ("n1", "n2"):
        await client.create(NODES, node(name))
        await client.create(PODS, bound_pod(f"on-{name}", name))
    async with running(context, NodeLifecycleController(context)):
        await client.delete(NODES, "n1")
        await client.delete(NODES, "n2")
        await turns()
        assert len(client.all(PODS)) == 2
        await client.create(NODES, node("n2"))
        await turns()
        await clock.advance(15)
        await turns()
        assert [pod["metadata"]["name"] for pod in client.all(PODS)] == ["on-n2"]


async def test_objects_of_a_kind_that_came_late_are_collected() -> None:
    client = FakeClient()
    context = Context(client)
    collector = GarbageCollector(context, lambda: [each.gvr for each in client.kinds.all()])
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    crd: Object = {"metadata": {"name": "things.example.com"}, "spec": spec}
    things = GVR("example.com", "v1", "things")
    async with running(context, collector):
        client.kinds.add_crd({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **crd})
        await client.create(CRDS, crd)
        owner = await client.create(things, {"metadata": {"name": "owner"}}, "default")
        reference = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "owner", "uid": owner["metadata"]["uid"]}
        for gvr in (things, CONFIGMAPS):
            await client.create(gvr, {"metadata": {"name": "owned", "ownerReferences": [reference]}}, "default")
        await eventually(lambda: things in [informer.gvr for informer in context.informers.all()])
        await client.delete(things, "owner", "default")
        await eventually(lambda: not client.all(things) and not client.all(CONFIGMAPS))
