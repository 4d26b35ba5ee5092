"""What is served beside resources: discovery, OpenAPI, version and health."""

import platform
import time
from email.utils import formatdate
from typing import Any

from aiohttp import web

from weft.api import discovery, openapi, openapi_protobuf
from weft.api.kinds import Kinds
from weft.api.status import ApiError
from weft.apiserver import negotiation
from weft.apiserver.responses import respond

# The Kubernetes release whose API this server speaks.
VERSION = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+weft",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": "cpython",
    "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
}
_HEALTH = ("/healthz", "/livez", "/readyz")


class Documents:
    """`ready` turns true when the server may be used."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self.ready = False

    async def answer(self, http: web.Request) -> web.Response:
        """Raises ApiError (404, 405, 406)."""
        if http.method not in ("GET", "HEAD"):
            raise ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        path = "/" + http.path.strip("/")
        if path.startswith(_HEALTH):
            return self._health(path)
        if path == "/version":
            return await respond(http, VERSION)
        if path.startswith("/openapi"):
            return await self._openapi(http, path)
        return await self._discovery(http, path)

    def _health(self, path: str) -> web.Response:
        if path.startswith("/readyz") and not self.ready:
            return web.Response(text="not ready", status=500)
        return web.Response(text="ok")

    async def _openapi(self, http: web.Request, path: str) -> web.Response:
        document: dict[str, Any] | None = None
        if path == "/openapi/v2":
            if "protobuf" in http.headers.get("Accept", ""):
                body = openapi_protobuf.encode(openapi.openapi_v2(self._kinds))
                return web.Response(body=body, headers={"Content-Type": openapi_protobuf.MEDIA})
            document = openapi.openapi_v2(self._kinds)
        elif path == "/openapi/v3":
            document = openapi.openapi_v3_index(self._kinds)
        elif path.startswith("/openapi/v3/"):
            parts = path.split("/")[3:]
            if len(parts) == 2 and parts[0] == "api":
                document = openapi.openapi_v3(self._kinds, "", parts[1])
            elif len(parts) == 3 and parts[0] == "apis":
                document = openapi.openapi_v3(self._kinds, parts[1], parts[2])
        if document is None:
            raise _unknown()
        response = await respond(http, document)
        if self._is_current(http):
            # The index names documents by their hash, so that clients may keep them for good.
            response.headers["Cache-Control"] = "public, immutable, max-age=31536000"
            response.headers["Expires"] = formatdate(time.time() + 31536000, usegmt=True)
        return response

    def _is_current(self, http: web.Request) -> bool:
        if "hash" not in http.query:
            return False
        paths = openapi.openapi_v3_index(self._kinds)["paths"]
        entry = paths.get(http.path.removeprefix("/openapi/v3/"), {})
        return bool(entry.get("serverRelativeURL") == http.path_qs)

    async def _discovery(self, http: web.Request, path: str) -> web.Response:
        parts = path.strip("/").split("/")
        accepted = negotiation.accept(http.headers.get("Accept", ""))
        document: dict[str, Any] | None = None
        if len(parts) == 1 and accepted.convert == "APIGroupDiscoveryList" and parts[0] in ("api", "apis"):
            document = discovery.aggregated(self._kinds, core=parts[0] == "api")
            return await respond(http, document, accepted=accepted)
        plain = negotiation.PLAIN if accepted.convert else accepted
        match parts:
            case ["api"]:
                document = discovery.api_versions(str(http.url.authority))
            case ["apis"]:
                document = discovery.api_group_list(self._kinds)
            case ["apis", group]:
                document = discovery.api_group(self._kinds, group)
            case ["api", version]:
                document = discovery.api_resource_list(self._kinds, "", version)
            case ["apis", group, version]:
                document = discovery.api_resource_list(self._kinds, group, version)
            case [""]:
                document = {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}
        if document is None:
            raise _unknown()
        return await respond(http, document, accepted=plain)


def _unknown() -> ApiError:
    return ApiError("NotFound", "the server could not find the requested resource")
