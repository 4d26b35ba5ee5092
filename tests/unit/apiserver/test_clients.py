"""Both clients, one suite: in process and over HTTPS they behave the same."""

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, GVR, NAMESPACES, NODES, PODS, REPLICASETS
from weft.api.status import ApiError
from weft.client.base import Client, Object, WatchEvent
from weft.testing.apiserver import RunningServer


@pytest.fixture(params=["local", "http"])
def client(request: pytest.FixtureRequest, server: RunningServer) -> Client:
    return server.local if request.param == "local" else server.client


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "labels": {"name": name}}, "data": data}


def pod(name: str, node: str = "", finalizers: list[str] | None = None) -> Object:
    spec: Object = {"containers": [{"name": "main", "image": "busybox"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "finalizers": finalizers or []}, "spec": spec}


def deployment(name: str, replicas: int = 1) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod("x")["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


async def events(watch: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    """The next events that are no bookmarks: type and name."""
    found: list[tuple[str, str]] = []

    async def read() -> None:
        async for event in watch:
            if event.type != "BOOKMARK":
                found.append((event.type, event.object["metadata"]["name"]))
            if len(found) == count:
                return

    await asyncio.wait_for(read(), 5)
    return found


async def fails(awaitable: Any, reason: str, text: str = "") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert caught.value.reason == reason
    assert text in caught.value.message
    return caught.value


async def test_create_get_list(client: Client, namespace: str) -> None:
    made = await client.create(CONFIGMAPS, config_map("a", x="1"), namespace)
    assert made["apiVersion"] == "v1"
    assert made["kind"] == "ConfigMap"
    assert {"uid", "creationTimestamp", "resourceVersion", "namespace"} <= made["metadata"].keys()
    assert await client.get(CONFIGMAPS, "a", namespace) == made
    found = await client.list(CONFIGMAPS, namespace, label_selector="name=a")
    assert found.items == [made]
    assert int(found.resource_version) >= int(made["metadata"]["resourceVersion"])
    everywhere = await client.list(CONFIGMAPS, label_selector="name=a")
    assert everywhere.items == [made]


async def test_what_is_not_there(client: Client, namespace: str) -> None:
    error = await fails(client.get(CONFIGMAPS, "none", namespace), "NotFound", 'configmaps "none" not found')
    assert error.code == 404
    await fails(client.delete(DEPLOYMENTS, "none", namespace), "NotFound", 'deployments.apps "none" not found')
    await fails(client.create(CONFIGMAPS, config_map("a"), "nowhere"), "NotFound", 'namespaces "nowhere" not found')
    await fails(client.create(CONFIGMAPS, config_map("a")), "MethodNotAllowed")
    await fails(client.get(NODES, "n", namespace), "NotFound", "could not find the requested resource")
    await fails(client.get(NODES, "n", ""), "NotFound", 'nodes "n" not found')
    await fails(client.list(GVR("", "v1", "gadgets")), "NotFound", "could not find the requested resource")


async def test_names_are_taken_once(client: Client, namespace: str) -> None:
    await client.create(CONFIGMAPS, config_map("a"), namespace)
    error = await fails(client.create(CONFIGMAPS, config_map("a"), namespace), "AlreadyExists", '"a" already exists')
    assert error.code == 409
    results = await asyncio.gather(
        *(client.create(CONFIGMAPS, config_map("b", n=str(n)), namespace) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, dict) for result in results) == 1


async def test_generated_names(client: Client, namespace: str) -> None:
    body = {"metadata": {"generateName": "job-"}}
    names = [(await client.create(CONFIGMAPS, body, namespace))["metadata"]["name"] for _ in range(5)]
    assert len(set(names)) == 5
    assert all(name.startswith("job-") and len(name) == 9 for name in names)
    error = await fails(client.create(CONFIGMAPS, {"metadata": {}}, namespace), "Invalid", "name or generateName")
    assert error.causes[0].field == "metadata.name"


async def test_optimistic_locking(client: Client, namespace: str) -> None:
    made = await client.create(CONFIGMAPS, config_map("a"), namespace)
    first = await client.update(CONFIGMAPS, {**made, "data": {"x": "1"}})
    await fails(client.update(CONFIGMAPS, {**made, "data": {"x": "2"}}), "Conflict", "the object has been modified")
    unconditional = copy.deepcopy(made)
    del unconditional["metadata"]["resourceVersion"]
    last = await client.update(CONFIGMAPS, {**unconditional, "data": {"x": "3"}})
    assert int(last["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert last["metadata"]["uid"] == made["metadata"]["uid"]


async def test_an_unchanged_write_moves_nothing(client: Client, namespace: str) -> None:
    made = await client.create(DEPLOYMENTS, deployment("d"), namespace)
    again = await client.update(DEPLOYMENTS, copy.deepcopy(made))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    patched = await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 1}}, "application/merge-patch+json", namespace)
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert patched["metadata"]["generation"] == 1


async def test_spec_and_status_are_written_apart(client: Client, namespace: str) -> None:
    body = {**deployment("d"), "status": {"replicas": 7}}
    made = await client.create(DEPLOYMENTS, body, namespace)
    assert made.get("status", {}) == {}
    told = await client.update(
        DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 9}, "status": {"replicas": 2}}, subresource="status"
    )
    assert told["status"]["replicas"] == 2
    assert told["spec"]["replicas"] == 1
    assert told["metadata"]["generation"] == 1
    wished = await client.update(
        DEPLOYMENTS, {**told, "spec": {**told["spec"], "replicas": 3}, "status": {"replicas": 9}}
    )
    assert wished["spec"]["replicas"] == 3
    assert wished["status"]["replicas"] == 2
    assert wished["metadata"]["generation"] == 2


async def test_patches(client: Client, namespace: str) -> None:
    await client.create(CONFIGMAPS, config_map("a", x="1", y="2"), namespace)
    merged = await client.patch(
        CONFIGMAPS, "a", {"data": {"x": None, "z": "3"}}, "application/merge-patch+json", namespace
    )
    assert merged["data"] == {"y": "2", "z": "3"}
    operations = [{"op": "replace", "path": "/data/y", "value": "4"}]
    replaced = await client.patch(CONFIGMAPS, "a", operations, "application/json-patch+json", namespace)
    assert replaced["data"]["y"] == "4"
    strategic = {"metadata": {"labels": {"new": "label"}}}
    labelled = await client.patch(CONFIGMAPS, "a", strategic, "application/strategic-merge-patch+json", namespace)
    assert labelled["metadata"]["labels"] == {"name": "a", "new": "label"}
    stale = {"metadata": {"resourceVersion": merged["metadata"]["resourceVersion"]}, "data": {"q": "1"}}
    await fails(client.patch(CONFIGMAPS, "a", stale, "application/merge-patch+json", namespace), "Conflict")
    missing: Object = {"data": {}}
    await fails(client.patch(CONFIGMAPS, "no", missing, "application/merge-patch+json", namespace), "NotFound")


async def test_concurrent_patches_all_count(client: Client, namespace: str) -> None:
    await client.create(CONFIGMAPS, config_map("a"), namespace)
    await asyncio.gather(
        *(
            client.patch(CONFIGMAPS, "a", {"data": {f"k{n}": "v"}}, "application/merge-patch+json", namespace)
            for n in range(30)
        )
    )
    assert len((await client.get(CONFIGMAPS, "a", namespace))["data"]) == 30


async def test_server_side_apply(client: Client, namespace: str) -> None:
    kind: Object = {"apiVersion": "v1", "kind": "ConfigMap"}
    first = {**kind, "metadata": {"name": "a"}, "data": {"x": "1", "y": "1"}}
    made = await client.patch(CONFIGMAPS, "a", first, "application/apply-patch+yaml", namespace, field_manager="one")
    assert made["metadata"]["managedFields"][0]["manager"] == "one"
    other = {**kind, "metadata": {"name": "a"}, "data": {"x": "2"}}
    error = await fails(
        client.patch(CONFIGMAPS, "a", other, "application/apply-patch+yaml", namespace, field_manager="two"), "Conflict"
    )
    assert error.causes[0].field == ".data.x"
    forced = await client.patch(
        CONFIGMAPS, "a", other, "application/apply-patch+yaml", namespace, field_manager="two", force=True
    )
    assert forced["data"] == {"x": "2", "y": "1"}
    fewer = {**kind, "metadata": {"name": "a"}, "data": {}}
    left = await client.patch(CONFIGMAPS, "a", fewer, "application/apply-patch+yaml", namespace, field_manager="one")
    assert left["data"] == {"x": "2"}


async def test_paging_is_consistent(client: Client, namespace: str) -> None:
    for n in range(7):
        await client.create(CONFIGMAPS, config_map(f"c{n}"), namespace)
    page = await client.list(CONFIGMAPS, namespace, limit=3)
    names = [item["metadata"]["name"] for item in page.items]
    await client.delete(CONFIGMAPS, "c5", namespace)
    await client.create(CONFIGMAPS, config_map("c9"), namespace)
    while page.continue_token:
        page = await client.list(CONFIGMAPS, namespace, limit=3, continue_token=page.continue_token)
        names += [item["metadata"]["name"] for item in page.items]
    assert names == [f"c{n}" for n in range(7)]
    await fails(client.list(CONFIGMAPS, namespace, continue_token="nonsense"), "BadRequest", "continue")


async def test_watch(client: Client, namespace: str) -> None:
    await client.create(CONFIGMAPS, config_map("a"), namespace)
    start = (await client.list(CONFIGMAPS, namespace)).resource_version
    await client.create(CONFIGMAPS, config_map("b"), namespace)
    async with aclosing(client.watch(CONFIGMAPS, namespace, resource_version=start)) as watch:  # type: ignore[type-var]
        reading = asyncio.create_task(events(watch, 4))
        await asyncio.sleep(0.05)
        await client.patch(CONFIGMAPS, "a", {"data": {"x": "1"}}, "application/merge-patch+json", namespace)
        await client.delete(CONFIGMAPS, "b", namespace)
        await client.create(CONFIGMAPS, config_map("elsewhere"), "default")
        await client.create(CONFIGMAPS, config_map("c"), namespace)
        seen = await reading
    assert seen == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")]


async def test_list_and_watch_rebuild_the_state_under_load(
    client: Client, server: RunningServer, namespace: str
) -> None:
    async def churn(worker: int) -> None:
        for n in range(10):
            name = f"c{(worker * 7 + n) % 12}"
            with contextlib.suppress(ApiError):  # others have made or deleted it
                await server.local.create(CONFIGMAPS, config_map(name), namespace)
            with contextlib.suppress(ApiError):
                change = {"data": {"x": f"{worker}.{n}"}}
                await server.local.patch(CONFIGMAPS, name, change, "application/merge-patch+json", namespace)
            if n % 3 == 0:
                with contextlib.suppress(ApiError):
                    await server.local.delete(CONFIGMAPS, name, namespace)

    writers = [asyncio.create_task(churn(worker)) for worker in range(8)]
    await asyncio.sleep(0.02)
    listed = await client.list(CONFIGMAPS, namespace)
    state = {item["metadata"]["name"]: item for item in listed.items}
    versions = [int(listed.resource_version)]

    async def follow() -> None:
        async for event in client.watch(CONFIGMAPS, namespace, resource_version=listed.resource_version):
            name = event.object["metadata"].get("name")
            if event.type == "BOOKMARK":
                continue
            assert (event.type == "ADDED") == (name not in state)
            versions.append(int(event.object["metadata"]["resourceVersion"]))
            if event.type == "DELETED":
                del state[name]
            else:
                state[name] = event.object
            if name == "last":
                return

    following = asyncio.create_task(follow())
    await asyncio.gather(*writers)
    await server.local.create(CONFIGMAPS, config_map("last"), namespace)
    await asyncio.wait_for(following, 10)
    assert versions == sorted(set(versions))
    final = await client.list(CONFIGMAPS, namespace)
    assert state == {item["metadata"]["name"]: item for item in final.items}


async def test_a_selective_watch_sees_objects_come_and_go(client: Client, namespace: str) -> None:
    start = (await client.list(CONFIGMAPS, namespace)).resource_version
    await client.create(CONFIGMAPS, config_map("a"), namespace)
    for value in ("on", "on!", "off", "on"):
        await client.patch(
            CONFIGMAPS,
            "a",
            {"metadata": {"labels": {"s": value.strip("!")}}, "data": {"v": value}},
            "application/merge-patch+json",
            namespace,
        )
    await client.delete(CONFIGMAPS, "a", namespace)
    watch = client.watch(CONFIGMAPS, namespace, resource_version=start, label_selector="s=on")
    async with aclosing(watch):  # type: ignore[type-var]
        seen = await events(watch, 5)
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_cancelled_watches_end(client: Client, server: RunningServer, namespace: str) -> None:
    start = (await client.list(CONFIGMAPS, namespace)).resource_version

    async def follow() -> None:
        async for _ in client.watch(CONFIGMAPS, namespace, resource_version=start):
            pass

    tasks = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.sleep(0.1)
    rtype = server.server.api.kinds.by_gvr(CONFIGMAPS)
    assert rtype is not None
    subscriptions = server.server.api.objects.hub(rtype).subscriptions
    assert len(subscriptions) == 5
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(50):
        if not subscriptions:
            break
        await asyncio.sleep(0.02)
    assert not subscriptions


async def test_a_watch_of_the_future_and_of_the_forgotten_past(
    client: Client, server: RunningServer, namespace: str
) -> None:
    async def first(version: str) -> WatchEvent:
        return await anext(aiter(client.watch(CONFIGMAPS, namespace, resource_version=version)))

    await fails(first("999999"), "Timeout", "Too large resource version")
    await fails(first("x"), "BadRequest")
    old = (await client.create(CONFIGMAPS, config_map("a"), namespace))["metadata"]["resourceVersion"]
    for name in ("b", "c"):
        await client.create(CONFIGMAPS, config_map(name), namespace)
    store = server.server.api.objects._store
    await store.compact(store.revision)
    rtype = server.server.api.kinds.by_gvr(CONFIGMAPS)
    assert rtype is not None
    hub = server.server.api.objects.hub(rtype)
    hub.recent.clear()
    hub.forgotten = store.revision
    error = await fails(first(old), "Expired", "too old resource version")
    assert error.code == 410


async def test_finalizers_hold_an_object(client: Client, namespace: str) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    made = await client.create(CONFIGMAPS, body, namespace)
    going = await client.delete(CONFIGMAPS, "a", namespace)
    assert "deletionTimestamp" in going["metadata"]
    await client.delete(CONFIGMAPS, "a", namespace)
    held = copy.deepcopy(going)
    held["metadata"]["finalizers"] = ["example.com/hold", "example.com/late"]
    await fails(client.update(CONFIGMAPS, held), "Invalid", "no new finalizers can be added")
    free = {"metadata": {"finalizers": None}}
    await client.patch(CONFIGMAPS, "a", free, "application/merge-patch+json", namespace)
    await fails(client.get(CONFIGMAPS, "a", namespace), "NotFound")
    assert made["metadata"]["uid"] == going["metadata"]["uid"]


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
async def test_propagation_is_a_finalizer(
    client: Client, namespace: str, propagation: Any, finalizers: list[str]
) -> None:
    await client.create(DEPLOYMENTS, deployment("d"), namespace)
    going = await client.delete(DEPLOYMENTS, "d", namespace, propagation=propagation)
    assert going["metadata"]["finalizers"] == finalizers
    await client.create(REPLICASETS, {**deployment("r"), "kind": "ReplicaSet"}, namespace)
    await client.delete(REPLICASETS, "r", namespace, propagation="Background")
    await fails(client.get(REPLICASETS, "r", namespace), "NotFound")


async def test_delete_preconditions(client: Client, namespace: str) -> None:
    made = await client.create(CONFIGMAPS, config_map("a"), namespace)
    await fails(client.delete(CONFIGMAPS, "a", namespace, uid="other"), "Conflict", "UID in precondition: other")
    await fails(client.delete(CONFIGMAPS, "a", namespace, resource_version="1"), "Conflict", "ResourceVersion")
    await client.delete(CONFIGMAPS, "a", namespace, uid=made["metadata"]["uid"])
    await fails(client.get(CONFIGMAPS, "a", namespace), "NotFound")


async def test_pods_are_given_time(client: Client, namespace: str) -> None:
    await client.create(PODS, pod("unbound"), namespace)
    await client.delete(PODS, "unbound", namespace)
    await fails(client.get(PODS, "unbound", namespace), "NotFound")
    await client.create(PODS, pod("bound", node="n1"), namespace)
    going = await client.delete(PODS, "bound", namespace)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    sooner = await client.delete(PODS, "bound", namespace, grace_period_seconds=5)
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    assert sooner["metadata"]["deletionTimestamp"] < going["metadata"]["deletionTimestamp"]
    later = await client.delete(PODS, "bound", namespace, grace_period_seconds=50)
    assert later["metadata"]["deletionGracePeriodSeconds"] == 5
    await client.delete(PODS, "bound", namespace, grace_period_seconds=0)
    await fails(client.get(PODS, "bound", namespace), "NotFound")


async def test_binding(client: Client, namespace: str) -> None:
    await client.create(PODS, pod("p"), namespace)
    await client.create(NODES, {"metadata": {"name": "n1"}})
    target: Object = {"target": {"kind": "Node", "name": "n1"}}
    await client.create_subresource(PODS, "p", "binding", target, namespace)
    bound = await client.get(PODS, "p", namespace)
    assert bound["spec"]["nodeName"] == "n1"
    assert [c["type"] for c in bound["status"]["conditions"] if c["status"] == "True"] == ["PodScheduled"]
    await fails(
        client.create_subresource(PODS, "p", "binding", target, namespace), "Conflict", "already assigned to node"
    )
    selected = await client.list(PODS, namespace, field_selector="spec.nodeName=n1")
    assert [item["metadata"]["name"] for item in selected.items] == ["p"]


async def test_scale(client: Client, namespace: str) -> None:
    await client.create(DEPLOYMENTS, deployment("d", 2), namespace)
    scale = await client.patch(
        DEPLOYMENTS, "d", {"spec": {"replicas": 5}}, "application/merge-patch+json", namespace, subresource="scale"
    )
    assert scale["kind"] == "Scale"
    assert scale["spec"]["replicas"] == 5
    assert scale["status"]["selector"] == "app=d"
    assert (await client.get(DEPLOYMENTS, "d", namespace))["spec"]["replicas"] == 5
    replaced = await client.update(DEPLOYMENTS, {**scale, "spec": {"replicas": 0}}, subresource="scale")
    assert replaced["metadata"]["name"] == "d"
    assert (await client.get(DEPLOYMENTS, "d", namespace))["spec"]["replicas"] == 0
    negative = {"spec": {"replicas": -1}}
    await fails(
        client.patch(DEPLOYMENTS, "d", negative, "application/merge-patch+json", namespace, subresource="scale"),
        "Invalid",
        "must be greater than or equal to 0",
    )


async def test_namespaces_end_when_they_are_finalized(client: Client, server: RunningServer, namespace: str) -> None:
    going = await client.delete(NAMESPACES, namespace)
    assert going["status"]["phase"] == "Terminating"
    error = await fails(client.create(CONFIGMAPS, config_map("a"), namespace), "Forbidden", "is being terminated")
    assert error.causes[0].reason == "NamespaceTerminating"
    emptied = copy.deepcopy(going)
    emptied["spec"]["finalizers"] = []
    await client.update(NAMESPACES, emptied, subresource="finalize")
    await fails(client.get(NAMESPACES, namespace), "NotFound")
    await fails(client.delete(NAMESPACES, "default"), "Forbidden", "may not be deleted")


async def test_what_comes_back_is_not_ours_to_change_but_never_theirs_either(client: Client, namespace: str) -> None:
    body = config_map("a", x="1")
    await client.create(CONFIGMAPS, body, namespace)
    body["data"]["x"] = "changed after the call"
    assert (await client.get(CONFIGMAPS, "a", namespace))["data"]["x"] == "1"
