"""The fake behaves as the real client does: one suite for both; and what only the fake can do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing

import pytest

from weft.api.gvr import CONFIGMAPS, CRDS, DEPLOYMENTS, GVR, NAMESPACES, NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Client, Object, WatchEvent
from weft.core.clock import FakeClock
from weft.core.errors import UnavailableError
from weft.testing.apiserver import api_server
from weft.testing.fakeclient import FakeClient

MERGE = "application/merge-patch+json"


@pytest.fixture(params=["fake", "local"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "fake":
            yield FakeClient()
        else:
            yield (await stack.enter_async_context(api_server())).local


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "labels": {"name": name}}, "data": data}


def pod(name: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}


def deployment(name: str) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod("x")["spec"]}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}}


async def fails(call: Awaitable[object], reason: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    assert caught.value.reason == reason, caught.value
    return caught.value


async def seen(client: Client, version: str, count: int, selector: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    async def read(events: AsyncIterator[WatchEvent]) -> None:
        async for event in events:
            if event.type != "BOOKMARK":
                found.append((event.type, event.object["metadata"]["name"]))
            if len(found) == count:
                return

    watch = client.watch(CONFIGMAPS, "default", resource_version=version, label_selector=selector)
    async with aclosing(watch):  # type: ignore[type-var]
        await asyncio.wait_for(read(watch), 5)
    return found


async def test_create_fills_in_what_is_the_servers(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment("d"), "default")
    assert (made["kind"], made["apiVersion"]) == ("Deployment", "apps/v1")
    assert made["metadata"]["generation"] == 1
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert {"uid", "creationTimestamp", "resourceVersion", "namespace"} <= set(made["metadata"])
    assert await client.get(DEPLOYMENTS, "d", "default") == made
    assert (await client.create(PODS, pod("p"), "default"))["status"]["phase"] == "Pending"


async def test_refusals(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map("a"), "default")
    await fails(client.create(CONFIGMAPS, config_map("a"), "default"), "AlreadyExists")
    await fails(client.get(CONFIGMAPS, "b", "default"), "NotFound")
    await fails(client.delete(CONFIGMAPS, "b", "default"), "NotFound")
    await fails(client.create(CONFIGMAPS, config_map("a"), "nowhere"), "NotFound")
    await fails(client.list(GVR("none", "v1", "things")), "NotFound")
    await fails(client.create(PODS, {"metadata": {"name": "p"}, "spec": {}}, "default"), "Invalid")
    await fails(client.create(CONFIGMAPS, {**config_map("c"), "kind": "Secret"}, "default"), "BadRequest")


async def test_generated_names(client: Client) -> None:
    made = await client.create(CONFIGMAPS, {"metadata": {"generateName": "a-"}}, "default")
    assert made["metadata"]["name"].startswith("a-")
    assert len(made["metadata"]["name"]) == 7


async def test_optimistic_locking(client: Client) -> None:
    first = await client.create(CONFIGMAPS, config_map("a", x="1"), "default")
    second = await client.update(CONFIGMAPS, {**first, "data": {"x": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    await fails(client.update(CONFIGMAPS, {**first, "data": {"x": "3"}}), "Conflict")
    assert await client.update(CONFIGMAPS, second) == second
    unchecked = {key: value for key, value in first["metadata"].items() if key != "resourceVersion"}
    assert (await client.update(CONFIGMAPS, {**first, "metadata": unchecked}))["data"] == {"x": "1"}


async def test_spec_and_status_are_written_apart(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment("d"), "default")
    both = {**made, "spec": {**made["spec"], "replicas": 5}, "status": {"replicas": 3}}
    told = await client.update(DEPLOYMENTS, both, subresource="status")
    assert (told["spec"]["replicas"], told["status"]["replicas"], told["metadata"]["generation"]) == (1, 3, 1)
    both["metadata"] = told["metadata"]
    wished = await client.update(DEPLOYMENTS, {**both, "status": {}})
    assert (wished["spec"]["replicas"], wished["status"]["replicas"], wished["metadata"]["generation"]) == (5, 3, 2)


async def test_patches(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map("a", x="1"), "default")
    merged = await client.patch(CONFIGMAPS, "a", {"data": {"x": None, "y": "2"}}, MERGE, "default")  # type: ignore[arg-type]
    assert merged["data"] == {"y": "2"}
    ops = [{"op": "add", "path": "/data/z", "value": "3"}]
    assert (await client.patch(CONFIGMAPS, "a", ops, "application/json-patch+json", "default"))["data"]["z"] == "3"
    await client.create(PODS, pod("p"), "default")
    change = {"spec": {"containers": [{"name": "main", "image": "busybox:2"}]}}
    patched = await client.patch(PODS, "p", change, "application/strategic-merge-patch+json", "default")
    assert patched["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert patched["spec"]["containers"][0]["image"] == "busybox:2"


async def test_lists_and_selectors(client: Client) -> None:
    for name in ("b", "a", "c"):
        await client.create(CONFIGMAPS, config_map(name), "default")
    await client.create(CONFIGMAPS, config_map("a"), "kube-system")
    listed = await client.list(CONFIGMAPS, "default")
    assert [each["metadata"]["name"] for each in listed.items] == ["a", "b", "c"]
    assert len((await client.list(CONFIGMAPS, label_selector="name=a")).items) == 2
    picked = await client.list(CONFIGMAPS, "default", field_selector="metadata.name!=b")
    assert [each["metadata"]["name"] for each in picked.items] == ["a", "c"]
    page = await client.list(CONFIGMAPS, "default", limit=2)
    rest = await client.list(CONFIGMAPS, "default", limit=2, continue_token=page.continue_token)
    assert [each["metadata"]["name"] for each in page.items + rest.items] == ["a", "b", "c"]
    assert not rest.continue_token


async def test_watches(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map("a"), "default")
    start = (await client.list(CONFIGMAPS, "default")).resource_version
    await client.create(CONFIGMAPS, config_map("b"), "default")
    watching = asyncio.create_task(seen(client, start, 4))
    await client.patch(CONFIGMAPS, "a", {"data": {"x": "1"}}, MERGE, "default")  # type: ignore[arg-type]
    await client.create(CONFIGMAPS, config_map("elsewhere"), "kube-system")
    await asyncio.sleep(0.01)
    await client.delete(CONFIGMAPS, "b", "default")
    await client.create(CONFIGMAPS, config_map("c"), "default")
    assert await watching == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")]


async def test_selective_watches(client: Client) -> None:
    start = (await client.list(CONFIGMAPS, "default")).resource_version
    await client.create(CONFIGMAPS, config_map("a"), "default")
    for value in ("on", "off", "on"):
        change = {"metadata": {"labels": {"s": value}}}
        await client.patch(CONFIGMAPS, "a", change, MERGE, "default")  # type: ignore[arg-type]
    await client.delete(CONFIGMAPS, "a", "default")
    assert [kind for kind, _ in await seen(client, start, 4, "s=on")] == ["ADDED", "DELETED", "ADDED", "DELETED"]


async def test_finalizers_hold_what_is_deleted(client: Client) -> None:
    made = config_map("a")
    made["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CONFIGMAPS, made, "default")
    going = await client.delete(CONFIGMAPS, "a", "default")
    assert "deletionTimestamp" in going["metadata"]
    more = {**going["metadata"], "finalizers": ["example.com/hold", "example.com/late"]}
    await fails(client.update(CONFIGMAPS, {**going, "metadata": more}), "Invalid")
    await client.update(CONFIGMAPS, {**going, "metadata": {**going["metadata"], "finalizers": []}})
    await fails(client.get(CONFIGMAPS, "a", "default"), "NotFound")


async def test_propagation_and_preconditions(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment("d"), "default")
    await fails(client.delete(DEPLOYMENTS, "d", "default", uid="another"), "Conflict")
    await fails(client.delete(DEPLOYMENTS, "d", "default", resource_version="1"), "Conflict")
    going = await client.delete(DEPLOYMENTS, "d", "default", uid=made["metadata"]["uid"], propagation="Foreground")
    assert going["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert going["metadata"]["generation"] == 2
    await client.create(DEPLOYMENTS, deployment("e"), "default")
    assert (await client.delete(DEPLOYMENTS, "e", "default", propagation="Orphan"))["metadata"]["finalizers"] == [
        "orphan"
    ]


async def test_pods_are_bound_once_and_given_time(client: Client) -> None:
    await client.create(NODES, {"metadata": {"name": "n1"}})
    await client.create(PODS, pod("p"), "default")
    target: Object = {"target": {"kind": "Node", "name": "n1"}}
    await client.create_subresource(PODS, "p", "binding", target, "default")
    bound = await client.get(PODS, "p", "default")
    assert bound["spec"]["nodeName"] == "n1"
    assert [each["type"] for each in bound["status"]["conditions"]] == ["PodScheduled"]
    await fails(client.create_subresource(PODS, "p", "binding", target, "default"), "Conflict")
    going = await client.delete(PODS, "p", "default")
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await client.delete(PODS, "p", "default", grace_period_seconds=5)
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    await client.delete(PODS, "p", "default", grace_period_seconds=0)
    await fails(client.get(PODS, "p", "default"), "NotFound")
    await client.create(PODS, pod("unbound"), "default")
    await client.delete(PODS, "unbound", "default")
    await fails(client.get(PODS, "unbound", "default"), "NotFound")


async def test_namespaces_end_when_finalized(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    going = await client.delete(NAMESPACES, "n")
    assert going["status"]["phase"] == "Terminating"
    error = await fails(client.create(CONFIGMAPS, config_map("a"), "n"), "Forbidden")
    assert error.causes[0].reason == "NamespaceTerminating"
    assert (await client.update(NAMESPACES, {**going, "spec": {}}))["spec"]["finalizers"] == ["kubernetes"]
    going = await client.get(NAMESPACES, "n")
    await client.update(NAMESPACES, {**going, "spec": {}}, subresource="finalize")
    await fails(client.get(NAMESPACES, "n"), "NotFound")


async def test_what_was_handed_in_is_copied(client: Client) -> None:
    body = config_map("a", x="1")
    await client.create(CONFIGMAPS, body, "default")
    body["data"]["x"] = "2"
    assert (await client.get(CONFIGMAPS, "a", "default"))["data"]["x"] == "1"


async def test_the_future(client: Client) -> None:
    await fails(seen(client, "99999", 1), "Timeout")
    await fails(seen(client, "x", 1), "BadRequest")


# What only the fake can do


async def test_calls_can_be_made_to_fail() -> None:
    client = FakeClient()
    client.fail("create", ApiError("InternalError", "no"), CONFIGMAPS, times=2)
    await client.create(PODS, pod("p"), "default")
    for _ in range(2):
        await fails(client.create(CONFIGMAPS, config_map("a"), "default"), "InternalError")
    await client.create(CONFIGMAPS, config_map("a"), "default")
    assert client.calls.count(("create", "configmaps", "a")) == 3
    assert [each["metadata"]["name"] for each in client.all(CONFIGMAPS)] == ["a"]


async def test_watches_can_lag_break_and_expire() -> None:
    client = FakeClient(clock=FakeClock())
    start = (await client.list(CONFIGMAPS)).resource_version
    client.hold()
    watching = asyncio.create_task(seen(client, start, 1))
    await client.create(CONFIGMAPS, config_map("a"), "default")
    await asyncio.sleep(0.01)
    assert not watching.done()
    client.release()
    assert await watching == [("ADDED", "a")]
    now = (await client.list(CONFIGMAPS)).resource_version
    watching = asyncio.create_task(seen(client, now, 1))
    await asyncio.sleep(0.01)
    client.break_watches()
    with pytest.raises(UnavailableError):
        await watching
    client.forget_history()
    assert (await fails(seen(client, start, 1), "Expired")).code == 410


async def test_custom_kinds_can_be_added() -> None:
    client = FakeClient()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    crd = {"metadata": {"name": "things.example.com"}, "spec": spec}
    client.kinds.add_crd(await client.create(CRDS, crd))
    things = GVR("example.com", "v1", "things")
    await client.create(things, {"metadata": {"name": "a"}, "spec": {"n": 1}}, "default")
    await fails(client.create(things, {"metadata": {"name": "b"}, "spec": {"n": "x"}}, "default"), "Invalid")
