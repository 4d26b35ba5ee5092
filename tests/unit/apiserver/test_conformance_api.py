"""Behaviours of the conformance list that are the API server's alone (docs/conformance.md)."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from weft.api.gvr import CONFIGMAPS, CRDS, EVENTS, GVR, NAMESPACES
from weft.api.status import ApiError
from weft.apiserver.pki import Pki
from weft.testing.apiserver import RunningServer

MERGE = "application/merge-patch+json"
POD_TEMPLATES = GVR("", "v1", "podtemplates")
NEW_EVENTS = GVR("events.k8s.io", "v1", "events")


async def fetch(server: RunningServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    import ssl

    pki = Pki(server.settings.paths.pki)
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    url = f"https://127.0.0.1:{server.settings.api_port}{path}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        data = json.dumps(body) if body is not None else None
        async with session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, await answer.json()


def event(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"set": "a"}},
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "example.org/c",
        "reportingInstance": "c-1",
        "action": "Do",
        "reason": "Because",
        "type": "Normal",
        "note": "hello",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    }


async def test_events_in_both_versions(server: RunningServer) -> None:
    client = server.client
    made = await client.create(NEW_EVENTS, event("e"), "default")
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "hello")
    old = await client.get(EVENTS, "e", "default")
    assert (old["apiVersion"], old["message"], old["involvedObject"]["name"]) == ("v1", "hello", "p")
    assert old["metadata"]["uid"] == made["metadata"]["uid"]
    await client.patch(NEW_EVENTS, "e", {"note": "changed"}, MERGE, "default")
    assert (await client.get(EVENTS, "e", "default"))["message"] == "changed"
    await client.patch(EVENTS, "e", {"message": "again"}, MERGE, "default")
    listed = await client.list(NEW_EVENTS, field_selector="regarding.kind=Pod,reason=Because")
    assert [each["note"] for each in listed.items] == ["again"]
    assert not (await client.list(EVENTS, field_selector="involvedObject.kind=Node")).items
    changed = {**listed.items[0], "note": "updated"}
    assert (await client.update(NEW_EVENTS, changed))["note"] == "updated"
    bad = event("bad")
    del bad["eventTime"], bad["action"]
    with pytest.raises(ApiError) as caught:
        await client.create(NEW_EVENTS, bad, "default")
    assert {cause.field for cause in caught.value.causes} == {"eventTime", "action"}
    for n in range(3):
        await client.create(NEW_EVENTS, event(f"e{n}"), "default")
    status, _ = await fetch(server, "DELETE", "/apis/events.k8s.io/v1/namespaces/default/events?labelSelector=set%3Da")
    assert status == 200
    assert not (await client.list(EVENTS, "default", label_selector="set=a")).items


async def test_a_watch_of_new_events_shows_old_ones(server: RunningServer) -> None:
    start = (await server.client.list(NEW_EVENTS)).resource_version
    core = {"metadata": {"name": "o"}, "involvedObject": {"namespace": "default", "name": "p"}, "message": "m"}
    await server.client.create(EVENTS, core, "default")
    async for seen in server.client.watch(NEW_EVENTS, resource_version=start):
        assert (seen.type, seen.object["note"], seen.object["regarding"]["name"]) == ("ADDED", "m", "p")
        break


async def test_lists_come_in_chunks(server: RunningServer) -> None:
    template = {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}
    for n in range(11):
        await server.local.create(POD_TEMPLATES, {"metadata": {"name": f"t{n:02}"}, **template}, "default")
    path, token, names, left = "/api/v1/namespaces/default/podtemplates?limit=4", "", [], []
    while True:
        _, page = await fetch(server, "GET", path + (f"&continue={token}" if token else ""))
        assert len(page["items"]) <= 4
        names += [each["metadata"]["name"] for each in page["items"]]
        left.append(page["metadata"].get("remainingItemCount"))
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"t{n:02}" for n in range(11)]
    assert left == [7, 3, None]


async def test_a_watch_goes_on_from_any_version(server: RunningServer) -> None:
    versions = []
    made = await server.local.create(CONFIGMAPS, {"metadata": {"name": "c"}}, "default")
    for n in range(4):
        made = await server.local.patch(CONFIGMAPS, "c", {"data": {"n": str(n)}}, MERGE, "default")
        versions.append(made["metadata"]["resourceVersion"])
    await server.local.delete(CONFIGMAPS, "c", "default")
    seen = []
    async for change in server.client.watch(CONFIGMAPS, "default", resource_version=versions[1]):
        seen.append((change.type, (change.object.get("data") or {}).get("n")))
        if change.type == "DELETED":
            break
    assert seen == [("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]


async def test_watches_agree_on_the_order(server: RunningServer) -> None:
    start = (await server.local.list(CONFIGMAPS, "default")).resource_version

    async def write(name: str) -> None:
        for n in range(5):
            await server.local.create(CONFIGMAPS, {"metadata": {"name": f"{name}-{n}"}}, "default")
            await server.local.delete(CONFIGMAPS, f"{name}-{n}", "default")

    async def follow() -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        async for change in server.client.watch(CONFIGMAPS, "default", resource_version=start):
            if change.type in ("ADDED", "DELETED"):
                seen.append((change.type, change.object["metadata"]["resourceVersion"]))
            if len(seen) == 40:
                break
        return seen

    watches = [asyncio.create_task(follow()) for _ in range(5)]
    await asyncio.gather(*(write(name) for name in "abcd"))
    orders = await asyncio.wait_for(asyncio.gather(*watches), 20)
    assert all(order == orders[0] for order in orders)
    assert [int(version) for _, version in orders[0]] == sorted(int(version) for _, version in orders[0])


async def test_namespaces_are_patched_updated_and_have_a_status(server: RunningServer) -> None:
    client = server.client
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    patched = await client.patch(NAMESPACES, "n", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert patched["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "n"}
    patched["metadata"]["labels"]["a"] = "c"
    assert (await client.update(NAMESPACES, patched))["metadata"]["labels"]["a"] == "c"
    assert patched["status"]["phase"] == "Active"
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "set by a patch"}
    changed = await client.patch(NAMESPACES, "n", {"status": {"conditions": [condition]}}, MERGE, subresource="status")
    assert changed["status"]["conditions"][0]["type"] == "StatusPatch"
    changed["status"]["conditions"][0]["reason"] = "Other"
    changed = await client.update(NAMESPACES, changed, subresource="status")
    assert (changed["status"]["phase"], changed["status"]["conditions"][0]["reason"]) == ("Active", "Other")


def definition(plural: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": f"{plural}.example.org", "labels": {"set": "a"}},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.capitalize()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_definitions_are_watched_and_have_a_status(server: RunningServer) -> None:
    client = server.client
    start = (await client.list(CRDS)).resource_version
    await client.create(CRDS, definition("things"))
    name = "things.example.org"
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E"}
    present = await client.get(CRDS, name)
    conditions = [*(present.get("status") or {}).get("conditions", []), condition]
    changed = await client.patch(CRDS, name, {"status": {"conditions": conditions}}, MERGE, subresource="status")
    assert changed["status"]["conditions"][-1]["type"] == "StatusUpdate"
    await client.delete(CRDS, name)
    kinds = []
    async for change in client.watch(CRDS, resource_version=start):
        kinds.append(change.type)
        if change.type == "DELETED":
            break
    assert kinds[0] == "ADDED"
    assert "MODIFIED" in kinds


async def test_collections_are_deleted_by_label(server: RunningServer) -> None:
    for n in range(4):
        await server.client.create(CRDS, definition(f"things{n}"))
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?labelSelector=set%3Da"
    _, listed = await fetch(server, "GET", path)
    assert len(listed["items"]) == 4
    assert (await fetch(server, "DELETE", path))[0] == 200
    for _ in range(500):
        if not (await fetch(server, "GET", path))[1]["items"]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the definitions are still there")


async def test_groups_and_their_resources_are_discovered(server: RunningServer) -> None:
    _, groups = await fetch(server, "GET", "/apis")
    found: dict[str, set[str]] = {}
    for group in groups["groups"]:
        assert group["preferredVersion"] in group["versions"]
        assert (await fetch(server, "GET", f"/apis/{group['name']}"))[1]["versions"] == group["versions"]
        for version in group["versions"]:
            _, resources = await fetch(server, "GET", f"/apis/{version['groupVersion']}")
            assert resources["groupVersion"] == version["groupVersion"]
            assert resources["resources"]
            found[version["groupVersion"]] = {each["name"] for each in resources["resources"]}
    assert {"customresourcedefinitions", "customresourcedefinitions/status"} <= found["apiextensions.k8s.io/v1"]
    webhooks = {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    assert webhooks <= found["admissionregistration.k8s.io/v1"]
    assert {"ingresses", "ingresses/status", "networkpolicies"} <= found["networking.k8s.io/v1"]
    assert "events" in found["events.k8s.io/v1"]


async def test_the_version(server: RunningServer) -> None:
    _, version = await fetch(server, "GET", "/version")
    assert version["major"] == "1"
    assert version["minor"].isdigit()


async def test_items_of_lists_do_not_repeat_their_kind(server: RunningServer) -> None:
    await server.client.create(CRDS, definition("things"))
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "c"}}, "default")
    _, listed = await fetch(server, "GET", "/api/v1/namespaces/default/configmaps")
    assert listed["kind"] == "ConfigMapList"
    assert not {"kind", "apiVersion"} & set(listed["items"][0])
    custom = GVR("example.org", "v1", "things")
    while True:
        try:
            await server.client.create(custom, {"kind": "Things", "metadata": {"name": "t"}}, "default")
            break
        except ApiError:
            await asyncio.sleep(0.01)
    _, listed = await fetch(server, "GET", "/apis/example.org/v1/namespaces/default/things")
    assert listed["items"][0]["kind"] == "Things"
