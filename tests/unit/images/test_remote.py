"""The client's side of a registry, against registries that ask for tokens, break off, or lie."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from weft.container.base import Credentials
from weft.container.content import ContentStore
from weft.container.images.remote import Remote
from weft.core.errors import ForbiddenError, InvalidError, NotFoundError, UnavailableError
from weft.core.settings import free_port
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor
from weft.oci.reference import Reference


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


DATA = bytes(range(256)) * 4096
BLOB = Descriptor(manifests.OCI_LAYER, digest_of(DATA), len(DATA))
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": manifests.OCI_MANIFEST, "config": BLOB.to_json(), "layers": []}
).encode()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Answers by `handler`; keeps what it was asked."""

    port: int = field(default_factory=free_port)
    asked: list[str] = field(default_factory=list)
    handler: Handler | None = None

    @property
    def reference(self) -> Reference:
        return Reference.parse(f"127.0.0.1:{self.port}/team/app:v1")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    yield server
    await runner.cleanup()


def of_manifest() -> web.Response:
    return web.Response(body=MANIFEST, content_type=manifests.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (None, {"service": "s", "scope": "repository:team/app:pull"}),
        (Credentials("ann", "secret"), {"service": "s", "scope": "repository:team/app:pull", "user": "ann:secret"}),
        (
            Credentials(identity_token="refresh"),
            {"service": "s", "scope": "repository:team/app:pull", "grant_type": "refresh_token",
             "refresh_token": "refresh", "client_id": "weft"},
        ),
    ],
)  # fmt: skip
async def test_tokens(server: Server, credentials: Credentials | None, expected: dict[str, str]) -> None:
    got: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            got.update(request.query)
            got.update(await request.post())
            if "Authorization" in request.headers:
                got["user"] = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
            return web.json_response({"token": "T"})
        if request.headers.get("Authorization") != "Bearer T":
            challenge = f'Bearer realm="http://127.0.0.1:{server.port}/token",service="s",scope="ignored"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return of_manifest()

    server.handler = answer
    async with Remote(server.reference, credentials) as remote:
        assert (await remote.manifest("v1")).digest == digest_of(MANIFEST)
        assert (await remote.manifest("v1")).digest == digest_of(MANIFEST)
    assert got == expected
    assert len([path for path in server.asked if "/token" in path]) == 1


async def test_basic(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"ann:secret").decode():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return of_manifest()

    server.handler = answer
    async with Remote(server.reference, Credentials("ann", "secret")) as remote:
        await remote.manifest("v1")
    for wrong in (None, Credentials("ann", "wrong")):
        async with Remote(server.reference, wrong) as remote:
            with pytest.raises(
                ForbiddenError, match=r"pull access denied for 127.0.0.1:.*/team/app, repository does not"
            ):
                await remote.manifest("v1")
            with pytest.raises(ForbiddenError, match="denied: requested access to the resource is denied"):
                await remote.push_manifest(MANIFEST, manifests.OCI_MANIFEST, "v1")


async def test_a_broken_download_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Range")
        start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
        response = web.StreamResponse(status=206 if given else 200)
        response.content_length = len(DATA) - start
        await response.prepare(request)
        await response.write(DATA[start : start + 300_000])
        if start + 300_000 < len(DATA) and request.transport is not None:
            request.transport.close()
        return response

    server.handler = answer
    content = ContentStore(tmp_path)
    seen: list[int] = []
    async with Remote(server.reference) as remote:
        await remote.fetch_blob(BLOB, content, seen.append)
    assert content.path(BLOB.digest).read_bytes() == DATA
    assert seen == sorted(seen)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (DATA[:-1] + b"!", "content is not what it should be"),
        (DATA + b"more", "is longer than its"),
        (DATA[:1000], "content is not what it should be"),
    ],
)
async def test_a_registry_that_lies_about_a_blob(server: Server, tmp_path: Path, data: bytes, error: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data)

    server.handler = answer
    content = ContentStore(tmp_path)
    async with Remote(server.reference) as remote:
        with pytest.raises(InvalidError, match=error):
            await remote.fetch_blob(BLOB, content, lambda _: None)
    assert not content.all()
    assert not list((tmp_path / "ingest").iterdir())


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b"", NotFoundError, r"manifest for 127.0.0.1:\d+/team/app:v1 not found: manifest unknown"),
        (403, b'{"errors":[{"code":"DENIED","message":"no"}]}', ForbiddenError, "pull access denied"),
        (500, b"<html>", UnavailableError, "unexpected status from GET request to http://127.0.0.1:.*: 500"),
        (
            429,
            b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}',
            Exception,
            "toomanyrequests: slow down",
        ),
        (200, b"<html>", InvalidError, "manifest invalid"),
        (200, b"x" * (5 << 20), InvalidError, "larger than"),
    ],
)
async def test_errors(server: Server, status: int, body: bytes, kind: type[Exception], message: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
        return response

    server.handler = answer
    async with Remote(server.reference) as remote:
        with pytest.raises(kind, match=message):
            await remote.manifest("v1")


async def test_a_manifest_that_is_not_the_one_asked_for(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return of_manifest()

    server.handler = answer
    async with Remote(server.reference) as remote:
        with pytest.raises(InvalidError, match="expected sha256:0000"):
            await remote.manifest("sha256:" + "0" * 64)


async def test_nobody_there() -> None:
    async with Remote(Reference.parse(f"127.0.0.1:{free_port()}/x")) as remote:
        with pytest.raises(UnavailableError, match=r'Get "http://127.0.0.1:\d+/v2/": dial tcp .* connection refused'):
            await remote.manifest("latest")
