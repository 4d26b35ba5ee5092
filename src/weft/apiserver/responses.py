"""Objects to HTTP responses: form, encoding, compression, warnings."""

import asyncio
import zlib
from typing import Any

from aiohttp import web

from weft.api.status import ApiError
from weft.api.table import partial_metadata
from weft.apiserver import codec
from weft.apiserver.negotiation import PLAIN, Accepted

# Smaller bodies are sent as they are: compressing costs more than it saves (apiserver, `defaultGzipThresholdBytes`).
_GZIP_FROM = 128 * 1024


async def respond(
    http: web.BaseRequest, value: Any, status: int = 200, accepted: Accepted = PLAIN, warnings: list[str] | None = None
) -> web.Response:
    body = codec.to_yaml(value) if accepted.yaml else codec.encode(value)
    response = web.Response(body=body, status=status, headers={"Content-Type": accepted.media})
    response.headers["Cache-Control"] = "no-cache, private"
    if len(body) > _GZIP_FROM and "gzip" in http.headers.get("Accept-Encoding", ""):
        response.body = await asyncio.to_thread(_gzip, body)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    for warning in warnings or ():
        text = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def failure(error: ApiError) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Basic realm="kubernetes"'
    return web.Response(body=codec.encode(error.to_json()), status=error.code, headers=headers)


def success(kind: str, group: str, name: str, uid: str) -> dict[str, Any]:
    """The Status of a deletion."""
    details = {"name": name, "group": group, "kind": kind, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def as_partial(obj: dict[str, Any], version: str) -> dict[str, Any]:
    partial = partial_metadata(obj)
    return partial if version == "v1" else {**partial, "apiVersion": f"meta.k8s.io/{version}"}


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(body) + packer.flush()
