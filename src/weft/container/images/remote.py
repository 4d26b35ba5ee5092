"""A registry from a client's side: manifests and blobs over HTTP, with basic and token authentication.

Source: OCI distribution spec 1.1; distribution `docs/spec/auth/token.md`.
"""

import asyncio
import base64
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from weft.container.base import Credentials
from weft.container.content import ContentStore, Writer
from weft.container.images.threads import in_thread
from weft.core.errors import ForbiddenError, InvalidError, NotFoundError, UnavailableError, WeftError
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor, Manifest
from weft.oci.reference import DEFAULT_DOMAIN, Reference

_BLOCK = 1 << 18
_BATCH = 1 << 20  # bytes that are worth a thread
_TRIES = 4
_MANIFEST_LIMIT = 4 << 20
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
Count = Callable[[int], None]


class Remote:
    """One repository of a registry; use as an async context manager."""

    def __init__(self, reference: Reference, credentials: Credentials | None = None) -> None:
        self.reference = reference
        self._credentials = credentials
        host = "registry-1.docker.io" if reference.domain == DEFAULT_DOMAIN else reference.domain
        name = host.rsplit(":", 1)[0].strip("[]")
        # As Docker: a registry on loopback may speak plain HTTP.
        self._scheme = "http" if name in ("localhost", "::1") or name.startswith("127.") else "https"
        self._base = f"{self._scheme}://{host}/v2/"
        self._token = ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Remote":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=120)
        secure = self._scheme == "https"
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context() if secure else False)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=_BATCH, trust_env=secure
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, path: str, scope: str = "pull", **options: Any) -> aiohttp.ClientResponse:
        """A request with the authentication that the registry asks for; the caller releases the response."""
        assert self._session is not None
        url = path if path.startswith(("http://", "https://")) else self._base + path
        headers = dict(options.pop("headers", {}))
        try:
            for attempt in range(2):
                if self._token and url.startswith(self._base):  # an upload may go to another host
                    headers["Authorization"] = self._token
                response = await self._session.request(method, url, headers=headers, **options)
                if response.status != 401 or attempt:
                    return response
                challenge = response.headers.get("WWW-Authenticate", "")
                response.release()
                if not await self._authenticate(challenge, scope):
                    break
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise UnavailableError(f'{method.title()} "{self._base}": {_reason(error)}') from error
        raise ForbiddenError(self._denied(scope))

    def _denied(self, scope: str) -> str:
        if "push" in scope:
            return "denied: requested access to the resource is denied"
        name = self.reference.familiar_name
        return (
            f"pull access denied for {name}, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied"
        )

    async def _authenticate(self, challenge: str, scope: str) -> bool:
        kind, _, rest = challenge.partition(" ")
        given = self._credentials
        if kind.lower() == "basic":
            if given is None or not given.username:
                return False
            self._token = _basic(given)
            return True
        if kind.lower() != "bearer":
            return False
        values = dict(_CHALLENGE.findall(rest))
        realm = values.pop("realm", "")
        if not realm.startswith(("http://", "https://")):
            return False
        values["scope"] = f"repository:{self.reference.path}:{scope}"
        assert self._session is not None
        if given is not None and given.identity_token:
            form = {**values, "grant_type": "refresh_token", "refresh_token": given.identity_token, "client_id": "weft"}
            asked = self._session.post(realm, data=form)
        else:
            headers = {"Authorization": _basic(given)} if given is not None and given.username else {}
            asked = self._session.get(realm, params=values, headers=headers)
        async with asked as response:
            if response.status != 200:
                return False
            answer = json.loads(await response.content.read(1 << 20))
        self._token = f"Bearer {answer.get('token') or answer.get('access_token') or ''}"
        return True

    async def manifest(self, target: str) -> Manifest:
        """By tag or digest, checked against the digest; raises NotFoundError in Docker's words."""
        response = await self._request(
            "GET", f"{self.reference.path}/manifests/{target}", headers={"Accept": ", ".join(manifests.ALL)}
        )
        async with response:
            if response.status == 404:
                name = f"{self.reference.familiar_name}{'@' if ':' in target else ':'}{target}"
                raise NotFoundError(f"manifest for {name} not found: manifest unknown: manifest unknown")
            await self._check(response, (200,))
            raw = await _read(response, _MANIFEST_LIMIT)
            found = manifests.parse(raw, response.headers.get("Content-Type", ""))
        if ":" in target and found.digest != target:
            raise InvalidError(f"manifest invalid: expected {target}, got {found.digest}")
        return found

    async def fetch_blob(self, blob: Descriptor, content: ContentStore, count: Count) -> None:
        """Into the content store, checked; a broken connection is taken up again where it ended."""
        writer = content.writer()
        try:
            for attempt in range(_TRIES):
                try:
                    await self._fetch_rest(blob, writer, count)
                    break
                except (UnavailableError, aiohttp.ClientError, TimeoutError) as error:
                    if attempt == _TRIES - 1:
                        raise UnavailableError(f"cannot fetch {blob.digest}: {_reason(error)}") from error
                    await asyncio.sleep(0.2 * 2**attempt)
            await asyncio.to_thread(writer.commit, blob.digest, blob.size)
        except BaseException:
            writer.abort()
            raise

    async def _fetch_rest(self, blob: Descriptor, writer: Writer, count: Count) -> None:
        headers = {"Range": f"bytes={writer.size}-"} if writer.size else {}
        response = await self._request("GET", f"{self.reference.path}/blobs/{blob.digest}", headers=headers)
        async with response:
            if response.status == 404:
                raise NotFoundError(f"blob {blob.digest} not found: blob unknown to registry")
            await self._check(response, (200, 206))
            skip = writer.size if response.status == 200 else 0
            waiting = bytearray()
            try:
                async for block in response.content.iter_any():
                    if skip:
                        block, skip = block[skip:], max(0, skip - len(block))
                    waiting += block
                    if writer.size + len(waiting) > blob.size:
                        raise InvalidError(f"blob {blob.digest} is longer than its {blob.size} bytes")
                    if len(waiting) >= _BATCH:
                        data, waiting = waiting, bytearray()
                        await in_thread(writer.write, data)
                        count(writer.size)
            finally:  # a broken connection is taken up again after what has come
                writer.write(waiting)
                count(writer.size)

    async def has_blob(self, digest: str) -> bool:
        response = await self._request("HEAD", f"{self.reference.path}/blobs/{digest}", scope="pull,push")
        async with response:
            return response.status == 200

    async def push_blob(self, blob: Descriptor, path: Path, count: Count) -> None:
        """Uploads one blob, or has the registry take it from what it has already."""
        start = f"{self.reference.path}/blobs/uploads/"
        response = await self._request("POST", f"{start}?mount={blob.digest}", scope="pull,push")
        async with response:
            await self._check(response, (201, 202))
            if response.status == 201:
                return
            location = str(response.url.join(URL(response.headers["Location"])))
        joint = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        response = await self._request(
            "PUT", f"{location}{joint}digest={blob.digest}", scope="pull,push",
            headers=headers, data=_blocks(path, count),
        )  # fmt: skip
        async with response:
            await self._check(response, (201,))

    async def push_manifest(self, raw: bytes, media_type: str, target: str) -> None:
        response = await self._request(
            "PUT", f"{self.reference.path}/manifests/{target}", scope="pull,push",
            headers={"Content-Type": media_type}, data=raw,
        )  # fmt: skip
        async with response:
            await self._check(response, (201,))

    async def _check(self, response: aiohttp.ClientResponse, expected: tuple[int, ...]) -> None:
        """Raises the registry's own error as ours."""
        if response.status in expected:
            return
        text = (await response.content.read(1 << 16)).decode(errors="replace")
        try:
            first = json.loads(text)["errors"][0]
            message = f"{first.get('code', '').lower().replace('_', ' ')}: {first.get('message', '')}"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            message = f"unexpected status from {response.method} request to {response.url}: {response.status}"
        if response.status in (401, 403):
            reading = response.method in ("GET", "HEAD")
            known = response.status == 403 and not reading  # else the registry's words say less than Docker's
            raise ForbiddenError(f"denied: {message}" if known else self._denied("pull" if reading else "push"))
        kind: type[WeftError] = NotFoundError if response.status == 404 else WeftError
        if response.status >= 500:
            kind = UnavailableError
        raise kind(message)


def _basic(given: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{given.username}:{given.password}".encode()).decode()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for block in response.content.iter_chunked(_BLOCK):
        data += block
        if len(data) > limit:
            raise InvalidError(f"manifest invalid: larger than {limit} bytes")
    return bytes(data)


async def _blocks(path: Path, count: Count) -> AsyncIterator[bytes]:
    sent = 0
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, 1 << 20):
            yield block
            sent += len(block)
            count(sent)


def _words(error: OSError) -> str:
    """Of the kernel; asyncio puts the address in their place."""
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {error.host}:{error.port}: connect: {_words(error.os_error)}"
    return str(error) or type(error).__name__
