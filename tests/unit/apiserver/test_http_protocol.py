"""What goes over the wire: forms, errors, authentication, bodies, watches. Spoken without a client of ours."""

import asyncio
import gzip
import io
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from weft.api.gvr import CONFIGMAPS, PODS
from weft.apiserver.pki import Pki
from weft.core.settings import Settings
from weft.testing.apiserver import RunningServer

CMS = "/api/v1/namespaces/default/configmaps"


def tls(settings: Settings, client: str = "admin") -> ssl.SSLContext:
    pki = Pki(settings.paths.pki)
    context = ssl.create_default_context(cafile=str(pki.ca))
    if client:
        context.load_cert_chain(pki.certificate(client), pki.key(client))
    return context


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    base = f"https://127.0.0.1:{server.settings.api_port}"
    connector = aiohttp.TCPConnector(ssl=tls(server.settings))
    async with aiohttp.ClientSession(base, connector=connector, auto_decompress=False) as session:
        yield session


async def status(response: aiohttp.ClientResponse, code: int, reason: str) -> dict[str, Any]:
    """The Status object of a failure."""
    body = json.loads(await response.read())
    assert (response.status, body["kind"], body["status"], body["code"]) == (code, "Status", "Failure", code), body
    assert body["reason"] == reason
    return dict(body)


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", "/nowhere", 404, "NotFound"),
        ("GET", "/api/v1/gadgets", 404, "NotFound"),
        ("GET", "/apis/nothing.example.com/v1", 404, "NotFound"),
        ("GET", "/api/v1/configmaps/x", 404, "NotFound"),
        ("GET", f"{CMS}/x/scale", 404, "NotFound"),
        ("GET", f"{CMS}/x", 404, "NotFound"),
        ("PUT", CMS, 405, "MethodNotAllowed"),
        ("POST", f"{CMS}/x", 405, "MethodNotAllowed"),
        ("POST", "/api/v1/namespaces/default/status", 405, "MethodNotAllowed"),
        ("POST", "/version", 401, "Unauthorized"),
        ("GET", f"{CMS}?limit=many", 400, "BadRequest"),
        ("GET", f"{CMS}?labelSelector=a%20b%20c", 400, "BadRequest"),
        ("GET", f"{CMS}?fieldSelector=spec.nothing=1", 400, "BadRequest"),
        ("GET", f"{CMS}?resourceVersion=x", 400, "BadRequest"),
        ("GET", f"{CMS}?watch=perhaps", 400, "BadRequest"),
        ("POST", f"{CMS}?dryRun=Some", 400, "BadRequest"),
        ("POST", f"{CMS}?fieldValidation=Lax", 400, "BadRequest"),
    ],
)
async def test_errors_are_status_objects(
    http: aiohttp.ClientSession, method: str, path: str, code: int, reason: str
) -> None:
    if path == "/version":
        code, reason = 405, "MethodNotAllowed"
    await status(await http.request(method, path, json={"metadata": {"name": "x"}}), code, reason)


async def test_bodies(http: aiohttp.ClientSession) -> None:
    bare = await http.post(CMS, data=b'{"metadata": {"name": "bare"}}', skip_auto_headers=["Content-Type"])
    assert bare.status == 201
    yaml = await http.post(CMS, data="metadata: {name: yaml}", headers={"Content-Type": "application/yaml"})
    assert yaml.status == 201
    xml = await http.post(CMS, data="<a/>", headers={"Content-Type": "text/xml"})
    await status(xml, 415, "UnsupportedMediaType")
    await status(await http.post(CMS, data="{", headers={"Content-Type": "application/json"}), 400, "BadRequest")
    await status(await http.post(CMS, data="[]", headers={"Content-Type": "application/json"}), 400, "BadRequest")
    await status(await http.post(CMS, data=io.BytesIO(b" " * 4_000_000)), 413, "RequestEntityTooLarge")
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    await status(await http.post(CMS, json=other), 400, "BadRequest")
    elsewhere = {"metadata": {"name": "x", "namespace": "kube-system"}}
    found = await status(await http.post(CMS, json=elsewhere), 400, "BadRequest")
    assert "does not match the namespace" in found["message"]
    await status(
        await http.patch(f"{CMS}/bare", data="{}", headers={"Content-Type": "application/json"}),
        415,
        "UnsupportedMediaType",
    )


async def test_forms(http: aiohttp.ClientSession) -> None:
    await http.post(CMS, json={"metadata": {"name": "a"}, "data": {"x": "1"}})
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    for path in (CMS, f"{CMS}/a"):
        found = await (await http.get(path, headers={"Accept": table})).json()
        assert found["kind"] == "Table"
        assert found["columnDefinitions"][0]["name"] == "Name"
        assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        if path == CMS:
            partial = partial.replace("Metadata;", "MetadataList;")
        found = await (await http.get(path, headers={"Accept": partial})).json()
        assert all("data" not in obj for obj in found.get("items", [found]))
        assert found["apiVersion"] == "meta.k8s.io/v1"
        text = await (await http.get(path, headers={"Accept": "application/yaml"})).text()
        assert "apiVersion: v1" in text
    await status(await http.get(CMS, headers={"Accept": "text/html"}), 406, "NotAcceptable")


async def test_discovery_echoes_its_form(http: aiohttp.ClientSession) -> None:
    form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for path in ("/api", "/apis"):
        response = await http.get(path, headers={"Accept": f"{form},application/json"})
        assert response.headers["Content-Type"] == form
        assert (await response.json(content_type=None))["kind"] == "APIGroupDiscoveryList"
    assert (await (await http.get("/apis")).json())["kind"] == "APIGroupList"
    assert (await (await http.get("/api/v1")).json())["kind"] == "APIResourceList"
    assert (await (await http.get("/apis/apps")).json())["kind"] == "APIGroup"
    assert (await (await http.get("/version")).json())["minor"] == "32"


async def test_large_lists_are_compressed(http: aiohttp.ClientSession) -> None:
    for n in range(3):
        await http.post(CMS, json={"metadata": {"name": f"big{n}"}, "data": {"x": "y" * 100_000}})
    response = await http.get(CMS, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    packed = await response.read()
    assert len(packed) < 20_000
    assert len(json.loads(gzip.decompress(packed))["items"]) >= 3
    plain = await http.get(CMS, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


async def test_dry_run_keeps_nothing(http: aiohttp.ClientSession) -> None:
    made = await http.post(f"{CMS}?dryRun=All", json={"metadata": {"name": "dry"}})
    assert made.status == 201
    await status(await http.get(f"{CMS}/dry"), 404, "NotFound")
    await http.post(CMS, json={"metadata": {"name": "wet"}})
    merge = {"Content-Type": "application/merge-patch+json"}
    changed = await http.patch(f"{CMS}/wet?dryRun=All", data='{"data": {"x": "1"}}', headers=merge)
    assert (await changed.json())["data"] == {"x": "1"}
    assert "data" not in await (await http.get(f"{CMS}/wet")).json()
    await http.delete(f"{CMS}/wet?dryRun=All")
    assert (await http.delete(f"{CMS}/wet", json={"dryRun": ["All"]})).status == 200
    assert (await http.get(f"{CMS}/wet")).status == 200


async def test_unknown_fields(http: aiohttp.ClientSession) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "foo": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    refused = await status(await http.post(f"{path}?fieldValidation=Strict", json=body), 400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.foo"' in refused["message"]
    warned = await http.post(f"{path}?fieldValidation=Warn", json=body)
    assert warned.status == 201
    assert warned.headers.getall("Warning") == ['299 - "unknown field \\"spec.foo\\""']
    assert "foo" not in (await warned.json())["spec"]
    await http.delete(f"{path}/d")
    silent = await http.post(f"{path}?fieldValidation=Ignore", json=body)
    assert "Warning" not in silent.headers


async def test_who_may(server: RunningServer) -> None:
    base = f"https://127.0.0.1:{server.settings.api_port}"
    nobody = aiohttp.TCPConnector(ssl=tls(server.settings, ""))
    async with aiohttp.ClientSession(base, connector=nobody) as http:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await http.get(path)).status == 200
        await status(await http.get(CMS), 401, "Unauthorized")
        await status(await http.get("/api"), 401, "Unauthorized")
    node = aiohttp.TCPConnector(ssl=tls(server.settings, "node"))
    async with aiohttp.ClientSession(base, connector=node) as http:
        assert (await http.get(CMS)).status == 200


async def test_a_user_without_rights(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from weft.apiserver import pki

    profiles = [*pki.profiles(server.settings), pki.Profile("guest", "guest", "visitors")]
    monkeypatch.setattr(pki, "profiles", lambda settings: profiles)
    pki.ensure(server.settings)
    connector = aiohttp.TCPConnector(ssl=tls(server.settings, "guest"))
    base = f"https://127.0.0.1:{server.settings.api_port}"
    async with aiohttp.ClientSession(base, connector=connector) as http:
        found = await status(await http.get("/api/v1/namespaces/default/pods"), 403, "Forbidden")
        assert found["message"] == (
            'pods is forbidden: User "guest" cannot list resource "pods" in API group "" in the namespace "default"'
        )
        assert (await http.get("/openapi/v3")).status == 200  # system:discovery is for all who are known
        found = await status(await http.get("/debug/pprof"), 403, "Forbidden")
        assert found["message"] == 'forbidden: User "guest" cannot get path "/debug/pprof"'


async def lines(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    return [json.loads(await asyncio.wait_for(response.content.readline(), 5)) for _ in range(count)]


async def test_watch_lines(http: aiohttp.ClientSession) -> None:
    await http.post(CMS, json={"metadata": {"name": "a"}, "data": {"x": "1"}})
    at = (await (await http.get(CMS)).json())["metadata"]["resourceVersion"]
    watching = await http.get(f"{CMS}?watch=true&resourceVersion={at}&timeoutSeconds=1")
    await http.delete(f"{CMS}/a")
    (event,) = await lines(watching, 1)
    assert event["type"] == "DELETED"
    assert event["object"]["data"] == {"x": "1"}
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(at)
    assert await asyncio.wait_for(watching.content.read(), 5) == b""  # its second is over


async def test_watch_in_tables_and_by_name(http: aiohttp.ClientSession) -> None:
    for name in ("a", "b"):
        await http.post(CMS, json={"metadata": {"name": name}})
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    path = f"{CMS}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Da"
    watching = await http.get(path, headers=table)
    merge = {"Content-Type": "application/merge-patch+json"}
    await http.patch(f"{CMS}/a", data='{"data": {"x": "1"}}', headers=merge)
    first, second = await lines(watching, 2)
    assert (first["type"], second["type"]) == ("ADDED", "MODIFIED")
    assert first["object"]["columnDefinitions"]
    assert not second["object"].get("columnDefinitions")
    assert second["object"]["rows"][0]["cells"][:2] == ["a", 1]
    watching.close()


async def test_watch_list(http: aiohttp.ClientSession) -> None:
    await http.post(CMS, json={"metadata": {"name": "a"}})
    options = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    watching = await http.get(f"{CMS}?watch=true&{options}")
    found = await lines(watching, 2)
    assert [event["type"] for event in found] == ["ADDED", "BOOKMARK"]
    bookmark = found[1]["object"]
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark.keys() == {"kind", "apiVersion", "metadata"}
    watching.close()


async def test_a_watch_of_the_forgotten_is_an_error_event(http: aiohttp.ClientSession, server: RunningServer) -> None:
    await http.post(CMS, json={"metadata": {"name": "a"}})
    await http.post(CMS, json={"metadata": {"name": "b"}})
    api = server.server.api
    await api.objects._store.compact(api.cache.revision)
    rtype = api.kinds.by_gvr(CONFIGMAPS)
    assert rtype is not None
    api.objects.hub(rtype).forgotten = api.cache.revision
    watching = await http.get(f"{CMS}?watch=true&resourceVersion=2")
    assert watching.status == 200
    (event,) = await lines(watching, 1)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_stopping_server_ends_watches(http: aiohttp.ClientSession, server: RunningServer) -> None:
    await http.post(CMS, json={"metadata": {"name": "a"}})
    watching = await http.get(f"{CMS}?watch=true&resourceVersion=0")
    await lines(watching, 1)
    server.server.api.cache.end_watches()
    assert await asyncio.wait_for(watching.content.read(), 5) == b""


async def test_delete_collection(http: aiohttp.ClientSession, server: RunningServer) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await http.post(CMS, json={"metadata": {"name": name, "labels": {"l": label}}})
    gone = await http.delete(f"{CMS}?labelSelector=l%3Dx")
    assert [item["metadata"]["name"] for item in (await gone.json())["items"]] == ["a", "b"]
    left = await server.local.list(CONFIGMAPS, "default", label_selector="l")
    assert [item["metadata"]["name"] for item in left.items] == ["c"]


async def test_eviction(http: aiohttp.ClientSession, server: RunningServer) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await server.local.create(PODS, body, "default")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
    answer = await http.post("/api/v1/namespaces/default/pods/p/eviction", json=eviction)
    assert answer.status == 201
    await status(await http.get("/api/v1/namespaces/default/pods/p"), 404, "NotFound")
