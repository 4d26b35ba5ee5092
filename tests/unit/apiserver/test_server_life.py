"""Starting, stopping and starting again; what other parts plug in."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, CRDS, EVENTS, GVR, NAMESPACES, SERVICEACCOUNTS, SERVICES
from weft.api.status import ApiError
from weft.api.validation import FieldError
from weft.apiserver.server import ApiServer
from weft.core.clock import FakeClock, rfc3339
from weft.core.errors import ConflictError, UnavailableError
from weft.core.settings import Settings
from weft.store.sqlite import SqliteStore
from weft.testing.apiserver import api_server

GADGETS = GVR("example.com", "v1", "gadgets")
GADGET_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


def gadget(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def test_what_every_cluster_has(tmp_path: Path) -> None:
    async with api_server(tmp_path) as server:
        found = await server.client.list(NAMESPACES)
        assert [obj["metadata"]["name"] for obj in found.items] == [
            "default",
            "kube-node-lease",
            "kube-public",
            "kube-system",
        ]
        await server.client.get(SERVICEACCOUNTS, "default", "default")
        await server.client.get(SERVICES, "kubernetes", "default")


async def test_state_outlives_a_restart(tmp_path: Path) -> None:
    async with api_server(tmp_path, crds=[GADGET_CRD]) as server:
        made = await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
        own = await server.client.create(GADGETS, gadget("g", x=1))
    async with api_server(tmp_path) as server:
        assert await server.client.get(CONFIGMAPS, "a", "default") == made
        assert await server.client.get(GADGETS, "g") == own
        # A watch goes on where it was, across the restart.
        watch = server.client.watch(CONFIGMAPS, "default", resource_version=made["metadata"]["resourceVersion"])
        reading = asyncio.ensure_future(anext(aiter(watch)))
        await server.client.delete(CONFIGMAPS, "a", "default")
        event = await asyncio.wait_for(reading, 5)
        assert (event.type, event.object["metadata"]["uid"]) == ("DELETED", made["metadata"]["uid"])
        await watch.aclose()  # type: ignore[attr-defined]


async def test_definitions_given_are_kept_up_to_date(tmp_path: Path) -> None:
    async with api_server(tmp_path, crds=[GADGET_CRD]) as server:
        first = await server.client.get(CRDS, "gadgets.example.com")
    async with api_server(tmp_path, crds=[GADGET_CRD]) as server:
        again = await server.client.get(CRDS, "gadgets.example.com")
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    names = {**GADGET_CRD["spec"]["names"], "shortNames": ["gd"]}
    changed = {**GADGET_CRD, "spec": {**GADGET_CRD["spec"], "names": names}}
    async with api_server(tmp_path, crds=[changed]) as server:
        rtype = server.server.api.kinds.by_gvr(GADGETS)
        assert rtype is not None
        assert rtype.short_names == ("gd",)


async def test_extra_validators(tmp_path: Path) -> None:
    def check(obj: dict[str, Any]) -> list[FieldError]:
        if obj["spec"].get("size", 0) > 9:
            return [FieldError("FieldValueInvalid", "spec.size", "Invalid value: 10: too large")]
        return []

    validators = {("example.com", "Gadget"): check}
    async with api_server(tmp_path, crds=[GADGET_CRD], extra_validators=validators) as server:
        made = await server.client.create(GADGETS, gadget("g", size=9))
        for write in (
            server.client.create(GADGETS, gadget("h", size=10)),
            server.client.update(GADGETS, {**made, "spec": {"size": 10}}),
        ):
            with pytest.raises(ApiError, match=r"spec\.size: Invalid value: 10: too large") as caught:
                await write
            assert caught.value.code == 422


async def test_events_are_kept_for_an_hour(tmp_path: Path) -> None:
    clock = FakeClock()
    async with api_server(tmp_path, clock=clock) as server:

        async def names() -> list[str]:
            return [obj["metadata"]["name"] for obj in (await server.local.list(EVENTS)).items]

        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        event = {"metadata": {"name": "old"}, "involvedObject": about, "reason": "Tested", "message": "m"}
        await server.local.create(EVENTS, event, "default")
        again = {**event, "metadata": {"name": "again"}}
        await server.local.create(EVENTS, again, "default")
        await clock.advance(3000)
        late = {"lastTimestamp": rfc3339(clock.now())}
        await server.local.patch(EVENTS, "again", late, "application/merge-patch+json", "default")
        assert await names() == ["again", "old"]
        await clock.advance(700)
        for _ in range(100):
            if await names() == ["again"]:
                break
            await asyncio.sleep(0.02)
        assert await names() == ["again"]


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings.load_or_create(tmp_path, api_port=taken.getsockname()[1])
        store = settings.paths.lib / "store.db"
        with pytest.raises(UnavailableError, match=r"cannot serve the API at 127\.0\.0\.1"):
            await ApiServer(settings, SqliteStore(store)).start()
    server = ApiServer(settings, SqliteStore(store))
    await server.start()  # neither the store nor the port is held
    with pytest.raises(ConflictError):
        await ApiServer(settings, SqliteStore(store)).start()
    await server.stop()


async def test_start_with_state_is_quick(tmp_path: Path) -> None:
    async with api_server(tmp_path) as server:
        bodies = [{"metadata": {"name": f"c{n}"}, "data": {"x": "y" * 1000}} for n in range(500)]
        await asyncio.gather(*(server.local.create(CONFIGMAPS, body, "default") for body in bodies))
    settings = Settings.load(tmp_path)
    again = ApiServer(settings, SqliteStore(settings.paths.lib / "store.db"))
    began = time.perf_counter()
    await again.start()
    took = time.perf_counter() - began
    await again.stop()
    assert took < 1.0  # 0.1 s on an idle machine


async def test_deleting_a_definition_deletes_its_resources(tmp_path: Path) -> None:
    async with api_server(tmp_path, crds=[GADGET_CRD]) as server:
        await server.client.create(GADGETS, gadget("g"))
        held = gadget("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await server.client.create(GADGETS, held)
        await server.client.delete(CRDS, "gadgets.example.com")
        for _ in range(100):
            left = [obj["metadata"]["name"] for obj in (await server.client.list(GADGETS)).items]
            if left == ["held"]:
                break
            await asyncio.sleep(0.05)
        assert left == ["held"]
        free = {"metadata": {"finalizers": None}}
        await server.client.patch(GADGETS, "held", free, "application/merge-patch+json")
        for _ in range(100):
            if not (await server.client.list(CRDS)).items:
                break
            await asyncio.sleep(0.05)
        with pytest.raises(ApiError, match="could not find the requested resource"):
            await server.client.list(GADGETS)
