"""CRDs of several versions: what is stored, what a conversion webhook makes of it, conditions, deletion."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hooks import HookServer, hook_server

from weft.api.gvr import CRDS, GVR
from weft.api.status import ApiError
from weft.testing.apiserver import RunningServer

V1, V2 = (GVR("shop.example.com", version, "boxes") for version in ("v1", "v2"))
MERGE = "application/merge-patch+json"


@pytest.fixture
async def hooks() -> AsyncIterator[HookServer]:
    async with hook_server() as running:
        running.answers["/convert"] = convert
        yield running


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """v1 has spec.size, a text such as `3x4`; v2 has spec.width and spec.height."""
    made = []
    for obj in request["objects"]:
        spec = dict(obj["spec"])
        if request["desiredAPIVersion"].endswith("/v2"):
            width, _, height = spec.pop("size").partition("x")
            spec.update(width=int(width), height=int(height))
        else:
            spec["size"] = f"{spec.pop('width')}x{spec.pop('height')}"
        made.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
    return {"result": {"status": "Success"}, "convertedObjects": made}


def crd(hooks: HookServer | None = None) -> dict[str, Any]:
    def version(name: str, **fields: Any) -> dict[str, Any]:
        spec = {"type": "object", "properties": fields, "required": list(fields)}
        schema = {"type": "object", "properties": {"spec": spec}}
        return {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}}

    integer = {"type": "integer"}
    spec: dict[str, Any] = {
        "group": V1.group,
        "scope": "Namespaced",
        "names": {"plural": "boxes", "kind": "Box", "shortNames": ["bx"], "categories": ["goods"]},
        "versions": [version("v1", size={"type": "string"}), version("v2", width=integer, height=integer)],
    }
    if hooks is not None:
        webhook = {"clientConfig": hooks.config("/convert"), "conversionReviewVersions": ["v1"]}
        spec["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return {"metadata": {"name": f"boxes.{V1.group}"}, "spec": spec}


def box(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def test_a_webhook_converts_what_is_written_and_read(server: RunningServer, hooks: HookServer) -> None:
    client = server.client
    await client.create(CRDS, crd(hooks))
    made = await client.create(V2, box("a", width=3, height=4), "default")
    assert (made["apiVersion"], made["spec"]) == ("shop.example.com/v2", {"width": 3, "height": 4})
    stored = await client.get(V1, "a", "default")
    assert (stored["spec"], stored["metadata"]["resourceVersion"]) == (
        {"size": "3x4"},
        made["metadata"]["resourceVersion"],
    )
    await client.create(V1, box("b", size="5x6"), "default")
    listed = await client.list(V2, "default")
    assert [each["spec"] for each in listed.items] == [{"width": 3, "height": 4}, {"width": 5, "height": 6}]
    changed = await client.patch(V2, "b", {"spec": {"height": 7}}, MERGE, "default")
    assert (changed["spec"], changed["metadata"]["generation"]) == ({"width": 5, "height": 7}, 2)
    assert (await client.get(V1, "b", "default"))["spec"] == {"size": "5x7"}
    with pytest.raises(ApiError, match=r"spec\.size: Required value"):
        await client.create(V1, box("c", width=1), "default")
    assert (await client.delete(V2, "b", "default"))["status"] == "Success"


async def test_watches_are_converted_too(server: RunningServer, hooks: HookServer) -> None:
    client = server.client
    await client.create(CRDS, crd(hooks))
    seen: list[Any] = []

    async def follow() -> None:
        async for event in client.watch(V2, "default", resource_version="0"):
            if event.type != "BOOKMARK":
                seen.append((event.type, event.object["metadata"]["name"], event.object["spec"]["width"]))
            if event.type == "DELETED":
                return

    await client.create(V1, box("a", size="1x1"), "default")
    task = asyncio.create_task(follow())
    await client.patch(V1, "a", {"spec": {"size": "2x1"}}, MERGE, "default")
    await client.delete(V1, "a", "default")
    async with asyncio.timeout(10):
        await task
    assert seen[-1] == ("DELETED", "a", 2)


async def test_a_conversion_that_fails_says_why(server: RunningServer, hooks: HookServer) -> None:
    client = server.client
    await client.create(CRDS, crd(hooks))
    await client.create(V1, box("a", size="1x1"), "default")
    begins = "conversion webhook for shop.example.com/v1, Kind=Box failed: "
    for answer, why in (
        ({"result": {"status": "Failed", "message": "no way"}}, "no way"),
        ({"result": {"status": "Success"}, "convertedObjects": []}, "webhook returned 0 objects, expected 1"),
        ({"result": {"status": "Success"}, "convertedObjects": [{"apiVersion": "x"}]}, "wrong apiVersion"),
        ({"raw": b"{}"}, "expected a ConversionReview"),
    ):
        hooks.answers["/convert"] = lambda request, answer=answer: answer
        with pytest.raises(ApiError) as caught:
            await client.get(V2, "a", "default")
        assert caught.value.message.startswith(begins)
        assert why in caught.value.message
    assert (await client.get(V1, "a", "default"))["spec"] == {"size": "1x1"}, "the stored version needs no webhook"
    await client.delete(CRDS, f"boxes.{V1.group}")
    async with asyncio.timeout(10):
        while (await client.list(CRDS)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_without_conversion_versions_differ_in_name(server: RunningServer) -> None:
    definition = crd()
    preserve = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for version in definition["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"] = preserve
    await server.client.create(CRDS, definition)
    await server.client.create(V2, box("a", any=1), "default")
    assert (await server.client.get(V1, "a", "default"))["spec"] == {"any": 1}


async def test_conditions_and_stored_versions(server: RunningServer) -> None:
    client = server.client
    made = await client.create(CRDS, crd())
    conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["status"]["acceptedNames"]["listKind"] == "BoxList"
    made["spec"]["versions"][0]["storage"], made["spec"]["versions"][1]["storage"] = False, True
    made = await client.update(CRDS, made)
    assert made["status"]["storedVersions"] == ["v1", "v2"]
    del made["spec"]["versions"][0]
    with pytest.raises(ApiError, match=r"status\.storedVersions\[0\]: Invalid value: \"v1\": must appear in spec.vers"):
        await client.update(CRDS, made)
    other = crd()
    other["metadata"]["name"] = f"bottles.{V1.group}"
    other["spec"]["names"] = {"plural": "bottles", "kind": "Bottle", "shortNames": ["bx"]}
    refused = await client.create(CRDS, other)
    conditions = {each["type"]: (each["status"], each["message"]) for each in refused["status"]["conditions"]}
    assert conditions["NamesAccepted"] == ("False", '"bx" is already in use')
    assert conditions["Established"][0] == "False"
    with pytest.raises(ApiError) as caught:
        await client.list(GVR(V1.group, "v1", "bottles"))
    assert caught.value.code == 404


async def test_a_definition_takes_its_objects_along(server: RunningServer) -> None:
    client = server.client
    await client.create(CRDS, crd())
    held = box("held", size="1x1")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(V1, held, "default")
    await client.create(V1, box("free", size="1x1"), "default")
    going = await client.delete(CRDS, f"boxes.{V1.group}")
    assert going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    async with asyncio.timeout(10):
        while [each["metadata"]["name"] for each in (await client.list(V1)).items] != ["held"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(ApiError, match="create not allowed while custom resource definition is terminating"):
            await client.create(V1, box("new", size="1x1"), "default")
        await client.patch(V1, "held", {"metadata": {"finalizers": None}}, MERGE, "default")
        while (await client.list(CRDS)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
