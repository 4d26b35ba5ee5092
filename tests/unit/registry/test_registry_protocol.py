"""The registry's HTTP protocol, request by request (OCI distribution spec 1.1); restarts and kills included."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from weft.container.content import ContentStore
from weft.core.settings import free_port
from weft.registry.server import Registry

OCI = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Client:
    """HTTP with the registry's address in front."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session, self.base = session, base

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any, bytes]:
        url = path if path.startswith("http") else self.base + path
        async with self._session.request(method, url, **options) as response:
            return response.status, response.headers, await response.read()

    async def blob(self, name: str, data: bytes) -> str:
        """Pushes a blob in one request."""
        digest = digest_of(data)
        status, headers, _ = await self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data=data)
        assert status == 201
        assert headers["Docker-Content-Digest"] == digest
        return digest

    async def image(self, name: str, tag: str, layer: bytes = b"layer", **more: Any) -> str:
        """Pushes a manifest with its parts; returns its digest."""
        await self.blob(name, CONFIG)
        await self.blob(name, layer)
        raw = manifest(layer, **more)
        target = tag or digest_of(raw)
        status, headers, body = await self(
            "PUT", f"/v2/{name}/manifests/{target}", data=raw, headers={"Content-Type": OCI}
        )
        assert status == 201, body
        assert headers["Docker-Content-Digest"] == digest_of(raw)
        return digest_of(raw)


def manifest(layer: bytes, **more: Any) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(CONFIG),
            "size": len(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest_of(layer),
                "size": len(layer),
            }
        ],
        **more,
    }
    return json.dumps(value).encode()


def codes(body: bytes) -> list[str]:
    return [error["code"] for error in json.loads(body)["errors"]]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    port = free_port()
    store = ContentStore(tmp_path / "blobs", keep_writers=True)
    registry = Registry("127.0.0.1", port, store, tmp_path / "registry.db")
    await registry.start()
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Client(session, f"http://127.0.0.1:{port}")
    await registry.stop()


async def test_version(client: Client) -> None:
    status, headers, body = await client("GET", "/v2/")
    assert (status, body) == (200, b"{}")
    assert headers["Docker-Distribution-API-Version"] == "registry/2.0"


async def test_blob_round_trip_and_ranges(client: Client) -> None:
    data = os.urandom(300_000)
    digest = await client.blob("a/b", data)
    path = f"/v2/a/b/blobs/{digest}"
    status, headers, body = await client("GET", path)
    assert (status, body) == (200, data)
    assert headers["Docker-Content-Digest"] == digest
    assert headers["Content-Type"] == "application/octet-stream"
    status, headers, body = await client("HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, "300000", b"")
    for asked, expected in (("bytes=0-9", data[:10]), ("bytes=299990-", data[-10:]), ("bytes=-5", data[-5:])):
        status, headers, body = await client("GET", path, headers={"Range": asked})
        assert (status, body) == (206, expected)
    assert headers["Content-Range"] == "bytes 299995-299999/300000"
    status, _, _ = await client("GET", path, headers={"Range": "bytes=300000-"})
    assert status == 416
    assert (await client("DELETE", path))[0] == 202
    status, _, body = await client("GET", path)
    assert (status, codes(body)) == (404, ["BLOB_UNKNOWN"])


async def test_upload_in_pieces(client: Client) -> None:
    data = os.urandom(100_000)
    status, headers, _ = await client("POST", "/v2/x/blobs/uploads/")
    assert status == 202
    place = headers["Location"]
    status, headers, _ = await client("PATCH", place, data=data[:40_000], headers={"Content-Range": "0-39999"})
    assert (status, headers["Range"]) == (202, "0-39999")
    status, headers, _ = await client("GET", headers["Location"])
    assert (status, headers["Range"]) == (204, "0-39999")
    status, headers, body = await client("PATCH", place, data=b"gap", headers={"Content-Range": "50000-50002"})
    assert (status, headers["Range"], codes(body)) == (416, "0-39999", ["RANGE_INVALID"])
    status, _, _ = await client("PATCH", place, data=data[40_000:90_000], headers={"Content-Range": "40000-89999"})
    assert status == 202
    status, headers, _ = await client("PUT", f"{place}?digest={digest_of(data)}", data=data[90_000:])
    assert status == 201
    assert (await client("GET", headers["Location"]))[2] == data
    status, _, body = await client("GET", place)
    assert (status, codes(body)) == (404, ["BLOB_UPLOAD_UNKNOWN"])


async def test_upload_that_is_not_what_it_says(client: Client) -> None:
    _, headers, _ = await client("POST", "/v2/x/blobs/uploads/")
    wrong = digest_of(b"other")
    status, _, body = await client("PUT", f"{headers['Location']}?digest={wrong}", data=b"this")
    assert (status, codes(body)) == (400, ["DIGEST_INVALID"])
    assert (await client("HEAD", f"/v2/x/blobs/{wrong}"))[0] == 404
    for query in ("", "?digest=md5:abc", "?digest=sha256:zz"):
        _, headers, _ = await client("POST", "/v2/x/blobs/uploads/")
        status, _, body = await client("PUT", headers["Location"] + query, data=b"this")
        assert (status, codes(body)) == (400, ["DIGEST_INVALID"])


async def test_cancelled_upload(client: Client) -> None:
    _, headers, _ = await client("POST", "/v2/x/blobs/uploads/")
    assert (await client("DELETE", headers["Location"]))[0] == 204
    status, _, body = await client("PATCH", headers["Location"], data=b"x")
    assert (status, codes(body)) == (404, ["BLOB_UPLOAD_UNKNOWN"])


async def test_mount(client: Client) -> None:
    digest = await client.blob("from", b"shared")
    status, headers, _ = await client("POST", f"/v2/to/blobs/uploads/?mount={digest}&from=from")
    assert (status, headers["Location"]) == (201, f"/v2/to/blobs/{digest}")
    assert (await client("GET", f"/v2/to/blobs/{digest}"))[2] == b"shared"
    missing = digest_of(b"nowhere")
    status, headers, _ = await client("POST", f"/v2/to/blobs/uploads/?mount={missing}&from=from")
    assert (status, headers["Location"].startswith("/v2/to/blobs/uploads/")) == (202, True)
    # A blob of one repository is not in another without a mount.
    assert (await client("HEAD", f"/v2/else/blobs/{digest}"))[0] == 404


async def test_manifests(client: Client) -> None:
    digest = await client.image("shop", "v1")
    for target in ("v1", digest):
        status, headers, body = await client("GET", f"/v2/shop/manifests/{target}")
        assert (status, headers["Content-Type"], digest_of(body)) == (200, OCI, digest)
        status, headers, body = await client("HEAD", f"/v2/shop/manifests/{target}")
        assert (status, headers["Docker-Content-Digest"], body) == (200, digest, b"")
    assert (await client("DELETE", "/v2/shop/manifests/v1"))[0] == 202
    assert codes((await client("GET", "/v2/shop/manifests/v1"))[2]) == ["MANIFEST_UNKNOWN"]
    assert (await client("GET", f"/v2/shop/manifests/{digest}"))[0] == 200
    assert (await client("DELETE", f"/v2/shop/manifests/{digest}"))[0] == 202
    assert codes((await client("DELETE", f"/v2/shop/manifests/{digest}"))[2]) == ["MANIFEST_UNKNOWN"]


async def test_pages(client: Client) -> None:
    for number in range(5):
        await client.image("many", f"t{number}")
    await client.image("another", "x")
    status, headers, body = await client("GET", "/v2/many/tags/list?n=2")
    assert (status, json.loads(body)) == (200, {"name": "many", "tags": ["t0", "t1"]})
    assert headers["Link"] == '</v2/many/tags/list?n=2&last=t1>; rel="next"'
    found = json.loads((await client("GET", "/v2/many/tags/list?n=3&last=t1"))[2])["tags"]
    assert found == ["t2", "t3", "t4"]
    assert json.loads((await client("GET", "/v2/many/tags/list?n=0"))[2])["tags"] == []
    _, headers, body = await client("GET", "/v2/_catalog?n=1")
    assert json.loads(body) == {"repositories": ["another"]}
    assert 'rel="next"' in headers["Link"]
    assert json.loads((await client("GET", "/v2/_catalog"))[2]) == {"repositories": ["another", "many"]}


async def test_referrers(client: Client) -> None:
    subject = await client.image("shop", "v1")
    about = {"mediaType": OCI, "digest": subject, "size": 1}
    kinds = {
        kind: await client.image(
            "shop", "", layer=kind.encode(), subject=about, artifactType=kind, annotations={"k": kind}
        )
        for kind in ("example/sbom", "example/signature")
    }
    status, headers, body = await client("GET", f"/v2/shop/referrers/{subject}")
    index = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/vnd.oci.image.index.v1+json")
    assert {entry["artifactType"]: entry["digest"] for entry in index["manifests"]} == kinds
    _, headers, body = await client("GET", f"/v2/shop/referrers/{subject}?artifactType=example/sbom")
    (entry,) = json.loads(body)["manifests"]
    assert (headers["OCI-Filters-Applied"], entry["annotations"]) == ("artifactType", {"k": "example/sbom"})
    # A subject that is not here has no referrers, which is no error.
    status, _, body = await client("GET", f"/v2/shop/referrers/{digest_of(b'none')}")
    assert (status, json.loads(body)["manifests"]) == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "code"),
    [
        ("GET", "/v2/none/manifests/v1", b"", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/none/tags/list", b"", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/UPPER/tags/list", b"", 400, "NAME_INVALID"),
        ("GET", "/v2/a..b/tags/list", b"", 400, "NAME_INVALID"),
        ("GET", "/v2/shop/blobs/sha256:12", b"", 400, "DIGEST_INVALID"),
        ("GET", "/v2/shop/blobs/..%2f..%2fetc%2fpasswd", b"", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/shop/manifests/%2e%2e", b"", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/shop/blobs/uploads/..%2f..%2fx", b"", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/shop/blobs/uploads/%00", b"", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "/v2/shop/manifests/v1", b"{", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", b"[]", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", b"[" * 100_000, 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", b'{"schemaVersion":1}', 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", b'{"schemaVersion":2,"layers":[7],"config":{}}', 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/-bad", manifest(b""), 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", manifest(b"not here"), 400, "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", "/v2/shop/manifests/" + digest_of(b"x"), manifest(b""), 400, "DIGEST_INVALID"),
        ("PUT", "/v2/shop/manifests/v1", b" " * (5 << 20), 413, "MANIFEST_INVALID"),
        ("POST", "/v2/shop/tags/list", b"", 405, "UNSUPPORTED"),
        ("GET", "/v2/shop/tags/list?n=many", b"", 400, "PAGINATION_NUMBER_INVALID"),
        ("POST", "/v2/shop/blobs/uploads/?mount=x", b"", 400, "DIGEST_INVALID"),
        ("GET", "/v2/shop/nothing", b"", 404, "NAME_UNKNOWN"),
        ("GET", "/v1/", b"", 404, "NAME_UNKNOWN"),
    ],
)
async def test_errors(client: Client, method: str, path: str, data: bytes, status: int, code: str) -> None:
    url = URL(client.base + path, encoded=True)
    kind = {"Content-Type": OCI}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=io.BytesIO(data), headers=kind) as response,
    ):
        body = await response.read()
        assert (response.status, codes(body)) == (status, [code]), body


SERVE = """
import asyncio, sys
from pathlib import Path
from weft.container.content import ContentStore
from weft.registry.server import Registry
async def main():
    root = Path(sys.argv[1])
    store = ContentStore(root / "blobs", keep_writers=True)
    await Registry("127.0.0.1", int(sys.argv[2]), store, root / "registry.db").start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """kill -9: what was answered is there; an upload goes on where it stood."""
    port = free_port()

    def serve() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(tmp_path), str(port)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    process = serve()
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(session, f"http://127.0.0.1:{port}")
            digest = await client.image("shop", "v1")
            _, headers, _ = await client("POST", "/v2/shop/blobs/uploads/")
            _, headers, _ = await client("PATCH", headers["Location"], data=b"first half, ")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        process = serve()
        async with aiohttp.ClientSession() as session:
            client = Client(session, f"http://127.0.0.1:{port}")
            assert (await client("GET", "/v2/shop/manifests/v1"))[1]["Docker-Content-Digest"] == digest
            whole = b"first half, second half"
            status, found, _ = await client("GET", headers["Location"])
            assert (status, found["Range"]) == (204, "0-11")
            status, _, _ = await client("PUT", f"{headers['Location']}?digest={digest_of(whole)}", data=b"second half")
            assert status == 201
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
