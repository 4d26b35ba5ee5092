"""The registry's HTTP server. Source: OCI distribution spec 1.1 (end-1 to end-13) and Docker's catalogue.

It keeps blobs in a store of its own; what another store of the same machine has already is linked from there, so
that a push from the engine beside it copies nothing.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from weft.core.errors import InvalidError
from weft.oci import digest as digests
from weft.oci import manifest as manifests
from weft.registry.catalog import Catalog, Stored, is_name, is_tag
from weft.registry.errors import RegistryError
from weft.registry.uploads import Uploads, Writer, Writers

logger = logging.getLogger(__name__)
_MANIFEST_LIMIT = 4 << 20
_PAGE = 1000
_ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)(?:/(?P<rest>[^/]*))?")
_RANGE = re.compile(r"(\d+)-(\d+)")


class BlobStore(Writers, Protocol):
    """What the registry asks of a store of blobs; `weft.container.content.ContentStore` is one."""

    def path(self, digest: str) -> Path: ...
    def exists(self, digest: str) -> bool: ...
    def size(self, digest: str) -> int: ...
    def link_from(self, source: Path, digest: str) -> bool: ...
    def delete(self, digest: str) -> None: ...


class Registry:
    """Listens on `address:port`; `elsewhere(digest)` names a file of this machine that holds a blob, or None."""

    def __init__(
        self,
        address: str,
        port: int,
        blobs: BlobStore,
        catalog: Path,
        *,
        elsewhere: Callable[[str], Path | None] = lambda _: None,
    ) -> None:
        self._address, self._port = address, port
        self._blobs = blobs
        self._catalog = Catalog(catalog)
        self._elsewhere = elsewhere
        self._uploads = Uploads(blobs)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError where the address is taken."""
        app = web.Application(client_max_size=1 << 50)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._uploads.close()
        self._catalog.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            response = await self._route(request)
        except RegistryError as error:
            response = error.response()
        except InvalidError as error:
            response = RegistryError("DIGEST_INVALID", str(error)).response()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            body = {"errors": [{"code": "UNKNOWN", "message": "internal error"}]}
            response = web.json_response(body, status=500)
        if not response.prepared:
            response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
        return response

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path, method = request.path, request.method
        if path in ("/v2", "/v2/"):
            return web.json_response({})
        if path == "/v2/_catalog":
            return self._list_repositories(request)
        match = _ROUTE.fullmatch(path)
        if match is None:
            raise RegistryError("NAME_UNKNOWN", f"no such endpoint: {path}")
        name, kind, rest = match["name"], match["kind"], match["rest"] or ""
        if not is_name(name):
            raise RegistryError("NAME_INVALID", f"invalid repository name: {name}")
        handlers: dict[tuple[str, str], Callable[[web.Request, str, str], Awaitable[web.StreamResponse]]] = {
            ("blobs", "GET"): self._get_blob,
            ("blobs", "HEAD"): self._get_blob,
            ("blobs", "DELETE"): self._delete_blob,
            ("blobs/uploads", "POST"): self._start_upload,
            ("blobs/uploads", "GET"): self._upload_status,
            ("blobs/uploads", "PATCH"): self._append,
            ("blobs/uploads", "PUT"): self._finish_upload,
            ("blobs/uploads", "DELETE"): self._cancel_upload,
            ("manifests", "GET"): self._get_manifest,
            ("manifests", "HEAD"): self._get_manifest,
            ("manifests", "PUT"): self._put_manifest,
            ("manifests", "DELETE"): self._delete_manifest,
            ("tags", "GET"): self._list_tags,
            ("referrers", "GET"): self._list_referrers,
        }
        handler = handlers.get((kind, method))
        if handler is None:
            raise RegistryError("UNSUPPORTED", f"{method} is not supported on {kind}")
        return await handler(request, name, rest)

    # Blobs

    def _linked(self, name: str, digest: str) -> str:
        digests.check(digest)
        if not self._catalog.linked(name, digest) or not self._blobs.exists(digest):
            raise RegistryError("BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})
        return digest

    async def _get_blob(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        digest = self._linked(name, rest)
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "Etag": f'"{digest}"',
            "Cache-Control": "max-age=31536000",
        }
        # Answers ranges, and sends by sendfile(2).
        return web.FileResponse(self._blobs.path(digest), headers=headers, chunk_size=1 << 18)

    async def _delete_blob(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        digest = self._linked(name, rest)
        if self._catalog.unlink(name, digest):
            self._blobs.delete(digest)
        return web.Response(status=202)

    def _created(self, name: str, digest: str) -> web.Response:
        headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)

    async def _start_upload(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        mount = request.query.get("mount")
        if mount is not None:
            digests.check(mount)
            source = request.query.get("from", "")
            known = self._catalog.linked(source, mount) if source else False
            if (known and self._blobs.exists(mount)) or self._take(mount):
                self._catalog.link(name, mount)
                return self._created(name, mount)
        digest = request.query.get("digest")
        upload = self._uploads.start()
        if digest is not None:
            return await self._finish(request, name, upload, digest)
        return self._accepted(name, upload, 0)

    def _take(self, digest: str) -> bool:
        """A blob that another store of this machine has."""
        source = self._elsewhere(digest)
        return source is not None and self._blobs.link_from(source, digest)

    def _accepted(self, name: str, upload: str, size: int, status: int = 202) -> web.Response:
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(0, size - 1)}",
        }
        return web.Response(status=status, headers=headers)

    async def _upload_status(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        async with self._uploads.use(rest) as (_, writer):
            return self._accepted(name, rest, writer.size, 204)

    async def _receive(self, request: web.Request, writer: Writer) -> None:
        """The body into the writer; what came of a broken request stays, to be resumed."""
        async for block in request.content.iter_chunked(1 << 18):
            if len(block) > 1 << 16:
                await asyncio.to_thread(writer.write, block)
            else:
                writer.write(block)

    async def _append(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        async with self._uploads.use(rest) as (_, writer):
            self._check_range(request, name, rest, writer)
            await self._receive(request, writer)
            return self._accepted(name, rest, writer.size)

    def _check_range(self, request: web.Request, name: str, upload: str, writer: Writer) -> None:
        given = request.headers.get("Content-Range")
        if given is None:
            return
        match = _RANGE.fullmatch(given.removeprefix("bytes ").split("/")[0])
        if match is None or int(match[1]) != writer.size:
            headers = dict(self._accepted(name, upload, writer.size).headers)
            headers.pop("Content-Type", None)
            raise RegistryError("RANGE_INVALID", f"the next byte is {writer.size}", headers=headers)

    async def _finish_upload(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        return await self._finish(request, name, rest, request.query.get("digest", ""))

    async def _finish(self, request: web.Request, name: str, upload_id: str, digest: str) -> web.Response:
        """The last of the bytes, then the check; an upload with a wrong digest is over."""
        mismatch = RegistryError("DIGEST_INVALID", "provided digest did not match uploaded content")
        async with self._uploads.use(upload_id) as (upload, writer):
            if not digests.is_digest(digest):
                raise mismatch
            self._check_range(request, name, upload_id, writer)
            await self._receive(request, writer)
            upload.ended = True
            try:
                await asyncio.to_thread(writer.commit, digest)
            except InvalidError:
                raise mismatch from None
            except BaseException:
                writer.abort()
                raise
        self._catalog.link(name, digest)
        return self._created(name, digest)

    async def _cancel_upload(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        async with self._uploads.use(rest) as (upload, writer):
            upload.ended = True
            writer.abort()
        return web.Response(status=204)

    # Manifests

    def _stored(self, name: str, reference: str) -> Stored:
        if not (digests.is_digest(reference) or is_tag(reference)):
            raise RegistryError("MANIFEST_INVALID", f"invalid tag or digest: {reference}")
        stored = self._catalog.get(name, reference)
        if stored is None:
            if not self._catalog.exists(name):
                raise RegistryError("NAME_UNKNOWN", "repository name not known to registry", detail={"name": name})
            raise RegistryError("MANIFEST_UNKNOWN", "manifest unknown", detail={"reference": reference})
        return stored

    async def _get_manifest(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        stored = self._stored(name, rest)
        headers = {
            "Docker-Content-Digest": stored.digest,
            "Content-Type": stored.media_type,
            "Etag": f'"{stored.digest}"',
        }
        return web.Response(body=stored.raw, headers=headers)

    async def _put_manifest(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        raw = await request.content.read(_MANIFEST_LIMIT + 1)
        while len(raw) <= _MANIFEST_LIMIT and (more := await request.content.read(_MANIFEST_LIMIT)):
            raw += more
        if len(raw) > _MANIFEST_LIMIT:
            raise RegistryError("MANIFEST_INVALID", f"manifest is larger than {_MANIFEST_LIMIT} bytes", status=413)
        try:
            manifest = manifests.parse(raw, request.headers.get("Content-Type", ""))
        except InvalidError as error:
            raise RegistryError("MANIFEST_INVALID", str(error)) from None
        by_digest = digests.is_digest(rest)
        if by_digest and rest != manifest.digest:
            raise RegistryError("DIGEST_INVALID", "provided digest did not match uploaded content")
        if not by_digest and not is_tag(rest):
            raise RegistryError("MANIFEST_INVALID", f"invalid tag: {rest}")
        self._check_parts(name, manifest)
        config_type = manifest.config.media_type if manifest.config is not None else ""
        stored = Stored(
            manifest.digest, manifest.media_type, raw, manifest.artifact_type or config_type,
            json.dumps(manifest.annotations),
        )  # fmt: skip
        subject = manifest.subject.digest if manifest.subject is not None else ""
        self._catalog.put(name, stored, subject, "" if by_digest else rest)
        headers = {"Location": f"/v2/{name}/manifests/{manifest.digest}", "Docker-Content-Digest": manifest.digest}
        if subject:
            headers["OCI-Subject"] = subject
        return web.Response(status=201, headers=headers)

    def _check_parts(self, name: str, manifest: manifests.Manifest) -> None:
        """All blobs and manifests that it names must be here."""
        parts = [*([manifest.config] if manifest.config is not None else []), *manifest.layers]
        for part in parts:
            if "foreign" in part.media_type or "nondistributable" in part.media_type:
                continue
            if not self._catalog.linked(name, part.digest) or not self._blobs.exists(part.digest):
                raise RegistryError("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": part.digest})
        for entry in manifest.manifests:
            if self._catalog.get(name, entry.digest) is None:
                raise RegistryError(
                    "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry", detail={"digest": entry.digest}
                )

    async def _delete_manifest(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        self._stored(name, rest)
        self._catalog.delete(name, rest)
        return web.Response(status=202)

    # Lists

    def _page(self, request: web.Request) -> tuple[str, int]:
        try:
            limit = int(request.query.get("n", _PAGE))
        except ValueError:
            limit = -1
        if limit < 0:
            raise RegistryError("PAGINATION_NUMBER_INVALID", "invalid number of results requested")
        return request.query.get("last", ""), min(limit, _PAGE)

    @staticmethod
    def _paged(path: str, limit: int, found: list[str], body: dict[str, Any], key: str) -> web.Response:
        """`found` has one entry more than a page where there is a next one."""
        headers = {}
        if len(found) > limit:
            found = found[:limit]
            if found:
                headers["Link"] = f'<{path}?n={limit}&last={found[-1]}>; rel="next"'
        return web.json_response(body | {key: found}, headers=headers)

    async def _list_tags(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        if rest != "list":
            raise RegistryError("NAME_UNKNOWN", "no such endpoint")
        last, limit = self._page(request)
        if not self._catalog.exists(name):
            raise RegistryError("NAME_UNKNOWN", "repository name not known to registry", detail={"name": name})
        found = list(self._catalog.tags(name, last, limit + 1))
        return self._paged(request.path, limit, found, {"name": name}, "tags")

    def _list_repositories(self, request: web.Request) -> web.Response:
        last, limit = self._page(request)
        found = list(self._catalog.repositories(last, limit + 1))
        return self._paged(request.path, limit, found, {}, "repositories")

    async def _list_referrers(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        digests.check(rest)
        wanted = request.query.get("artifactType", "")
        entries = [
            {
                "mediaType": each.media_type,
                "digest": each.digest,
                "size": len(each.raw),
                "artifactType": each.artifact_type,
                "annotations": json.loads(each.annotations),
            }
            for each in self._catalog.referrers(name, rest)
            if not wanted or each.artifact_type == wanted
        ]
        body = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        return web.Response(body=json.dumps(body).encode(), content_type=manifests.OCI_INDEX, headers=headers)
