"""The client over HTTPS: `weft.client.base.Client` for any API server that a kubeconfig names, Kubernetes's included.

In: calls. Out: objects, or `ApiError` made of the server's Status, or `UnavailableError` where no answer came.
"""

import asyncio
import base64
import io
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

from weft.api.gvr import GVR
from weft.api.status import ApiError, bad_request
from weft.client.base import ListResult, Object, PatchType, Propagation, WatchEvent
from weft.core.errors import InvalidError, UnavailableError

# Servers send a bookmark about every minute: a watch that is silent for longer is dead.
_SILENCE_SECONDS = 300
_CONNECT_SECONDS = 10
_CALL_SECONDS = 60
# Calls under way at once, watches apart: each takes a connection, and a TLS handshake costs more than a call.
_PARALLEL = 32


class HttpClient:
    """`await HttpClient.from_kubeconfig(path).get(PODS, "web-0", "default")`; `await client.close()` at the end."""

    def __init__(
        self, server: str, context: ssl.SSLContext | None, headers: Mapping[str, str] | None = None, agent: str = "weft"
    ) -> None:
        self.server = server.rstrip("/")
        self._context = context
        self._headers = {"User-Agent": agent, "Accept": "application/json", **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._calls = asyncio.Semaphore(_PARALLEL)

    @classmethod
    def from_kubeconfig(cls, path: Path | str, agent: str = "weft") -> Self:
        """The current context's cluster and user; raises InvalidError, FileNotFoundError."""
        path = Path(path)
        cluster, user = _current(path)
        server = cluster.get("server")
        if not isinstance(server, str):
            raise InvalidError(f"cannot use {path}: the cluster has no server")
        context = _tls(cluster, user, path) if server.startswith("https://") else None
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else "")
        return cls(server, context, {"Authorization": f"Bearer {token}"} if token else None, agent)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, gvr: GVR, name: str, namespace: str | None = None) -> Object:
        return await self._call("GET", gvr, namespace, name)

    async def list(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ListResult:
        query = _query(
            labelSelector=label_selector, fieldSelector=field_selector, limit=limit, **{"continue": continue_token}
        )
        found = await self._call("GET", gvr, namespace, query=query)
        metadata = found.get("metadata") or {}
        items = found.get("items") or []
        kind = str(found.get("kind", "")).removesuffix("List")
        for item in items:  # servers may leave out of items what the list says already
            item.setdefault("apiVersion", gvr.api_version)
            item.setdefault("kind", kind)
        return ListResult(items, metadata.get("resourceVersion", ""), metadata.get("continue") or "")

    async def watch(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        url = self.server + _path(gvr, namespace)
        try:
            async with self._open().get(url, params=query, timeout=timeout) as response:
                if response.status != 200:
                    raise _error(response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError.from_json(event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except TimeoutError:
            return
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"the watch of {gvr} at {self.server} broke: {error}") from error

    async def create(self, gvr: GVR, obj: Object, namespace: str | None = None) -> Object:
        namespace = namespace or (obj.get("metadata") or {}).get("namespace")
        return await self._call("POST", gvr, namespace, body=obj)

    async def update(self, gvr: GVR, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj.get("metadata") or {}
        if not metadata.get("name"):
            raise bad_request("metadata.name is required")
        return await self._call("PUT", gvr, metadata.get("namespace"), metadata["name"], subresource, body=obj)

    async def patch(
        self,
        gvr: GVR,
        name: str,
        patch: Any,
        patch_type: PatchType,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        field_manager: str = "weft",
        force: bool = False,
    ) -> Object:
        query = _query(fieldManager=field_manager, force="true" if force else "")
        return await self._call("PATCH", gvr, namespace, name, subresource, query, patch, patch_type)

    async def delete(
        self,
        gvr: GVR,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Propagation | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> Object:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        conditions = {"uid": uid, "resourceVersion": resource_version}
        if uid or resource_version:
            options["preconditions"] = {key: value for key, value in conditions.items() if value}
        return await self._call("DELETE", gvr, namespace, name, body=options)

    async def create_subresource(
        self, gvr: GVR, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        return await self._call("POST", gvr, namespace, name, subresource, body=body)

    async def _call(
        self,
        method: str,
        gvr: GVR,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
        query: dict[str, str] | None = None,
        body: Any = None,
        media: str = "application/json",
    ) -> Object:
        url = self.server + _path(gvr, namespace, name, subresource)
        # As a file: aiohttp sends it in parts, so that a large one does not hold up the loop.
        data = io.BytesIO(orjson.dumps(body)) if body is not None else None
        headers = {"Content-Type": media} if data is not None else {}
        try:
            async with (
                self._calls,
                self._open().request(method, url, params=query, data=data, headers=headers) as response,
            ):
                content = await response.read()
        except TimeoutError:
            raise UnavailableError(f"{self.server} did not answer within {_CALL_SECONDS} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"cannot reach {self.server}: {error}") from error
        if response.status >= 400:
            raise _error(response.status, content)
        value = orjson.loads(content)
        if not isinstance(value, dict):
            raise UnavailableError(f"{self.server} answered with something other than an object")
        return value

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context or True, limit=0, keepalive_timeout=60)
            timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout)
        return self._session


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; the stream's own readline knows a limit."""
    pending: list[bytes] = []
    async for chunk in stream.iter_any():
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            line = b"".join([*pending, part])
            pending = []
            if line.strip():
                yield line
        if rest:
            pending.append(rest)


def _path(gvr: GVR, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    return quote(gvr.path(namespace or None, name, subresource))


def _query(**values: str | int) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value}


def _error(status: int, content: bytes) -> ApiError:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return ApiError.from_json({"code": status, **value})
    text = content.decode(errors="replace").strip()[:500]
    return ApiError("Unknown", text or f"the server answered {status}", code=status)


def _current(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    text = path.read_text()
    try:
        config = json.loads(text)
    except json.JSONDecodeError:
        import yaml

        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidError(f"cannot read {path}: {error}") from None
    try:
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config.get("users") or [], context["user"])["user"] if context.get("user") else {}
    except (KeyError, TypeError) as error:
        raise InvalidError(f"cannot use {path}: {error} is missing") from None
    return cluster, user or {}


def _named(entries: Any, name: str) -> Any:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _tls(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    try:
        authority = _data(cluster, "certificate-authority", path)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
        if certificate and key:
            _load_chain(context, certificate + b"\n" + key)
    except (OSError, ValueError) as error:
        raise InvalidError(f"cannot use the certificates of {path}: {error}") from error
    return context


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Python's ssl reads client certificates from files only: one that nobody else can open, for a moment."""
    descriptor, name = tempfile.mkstemp(prefix="weft-client-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)


def _data(section: dict[str, Any], name: str, path: Path) -> bytes | None:
    """Inline (`NAME-data`, base64) or in a file beside the kubeconfig."""
    if f"{name}-data" in section:
        return base64.b64decode(str(section[f"{name}-data"]))
    if name in section:
        return (path.parent / str(section[name])).read_bytes()
    return None
