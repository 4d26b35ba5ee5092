"""/networks: the three that every engine has, to list and inspect. Others cannot be made here."""

from typing import Any

from aiohttp import web

from weft.container.engine import Engine
from weft.core.errors import ForbiddenError, NotFoundError, UnsupportedError
from weft.dockerapi.requests import filters
from weft.dockerapi.shapes import network_id

_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}


def routes(engine: Engine) -> list[web.RouteDef]:
    settings = engine.settings

    def shape(name: str) -> dict[str, Any]:
        addresses = [{"Subnet": settings.pod_subnet, "Gateway": settings.gateway}] if name == "bridge" else None
        members = {}
        for container in engine.containers.list():
            sandbox = engine.networking.get(container.sandbox_id) if container.sandbox_id else None
            if name == "bridge" and sandbox is not None:
                members[container.id] = {
                    "Name": container.name,
                    "EndpointID": container.id,
                    "MacAddress": sandbox.mac,
                    "IPv4Address": f"{sandbox.address}/{sandbox.prefix_length}",
                    "IPv6Address": "",
                }
        return {
            "Name": name,
            "Id": network_id(name),
            "Created": "0001-01-01T00:00:00Z",
            "Scope": "local",
            "Driver": _DRIVERS[name],
            "EnableIPv4": True,
            "EnableIPv6": False,
            "IPAM": {"Driver": "default", "Options": None, "Config": addresses},
            "Internal": False,
            "Attachable": False,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": members,
            "Options": {"com.docker.network.bridge.name": settings.bridge} if name == "bridge" else {},
            "Labels": {},
        }

    def find(key: str) -> str:
        for name in _DRIVERS:
            if key == name or (len(key) >= 3 and network_id(name).startswith(key)):
                return name
        raise NotFoundError(f"network {key} not found")

    async def list_all(request: web.Request) -> web.Response:
        wanted = filters(request, frozenset(("dangling", "driver", "id", "label", "name", "scope", "type")))
        found = [shape(name) for name in _DRIVERS]
        if "name" in wanted:
            found = [entry for entry in found if any(text in entry["Name"] for text in wanted["name"])]
        if "driver" in wanted:
            found = [entry for entry in found if entry["Driver"] in wanted["driver"]]
        if "id" in wanted:
            found = [entry for entry in found if any(entry["Id"].startswith(text) for text in wanted["id"])]
        if wanted.get("label") or "custom" in wanted.get("type", ()):
            found = []
        return web.json_response(found)

    async def inspect(request: web.Request) -> web.Response:
        return web.json_response(shape(find(request.match_info["id"])))

    async def create(request: web.Request) -> web.Response:
        raise UnsupportedError("cannot create a network: only bridge, host and none exist here")

    async def remove(request: web.Request) -> web.Response:
        raise ForbiddenError(f"{find(request.match_info['id'])} is a pre-defined network and cannot be removed")

    async def prune(request: web.Request) -> web.Response:
        return web.json_response({"NetworksDeleted": None})

    return [
        web.get("/networks", list_all),
        web.post("/networks/create", create),
        web.post("/networks/prune", prune),
        web.get("/networks/{id}", inspect),
        web.delete("/networks/{id}", remove),
    ]
