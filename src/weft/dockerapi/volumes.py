"""/volumes: create, list, inspect, remove, prune."""

from typing import Any

from aiohttp import web

from weft.container.engine import Engine
from weft.container.volumes import Volume
from weft.core.errors import ConflictError, UnsupportedError
from weft.dockerapi.requests import filters, flag, json_body, labels_match, rfc3339_nano

_ANONYMOUS = "com.docker.volume.anonymous"


def routes(engine: Engine) -> list[web.RouteDef]:
    volumes = engine.volumes

    def shape(volume: Volume) -> dict[str, Any]:
        return {
            "CreatedAt": rfc3339_nano(int(volume.created_at)),
            "Driver": "local",
            "Labels": dict(volume.labels) | ({_ANONYMOUS: ""} if volume.anonymous else {}),
            "Mountpoint": str(volumes.data(volume.name)),
            "Name": volume.name,
            "Options": None,
            "Scope": "local",
        }

    def used() -> set[str]:
        return {
            mount.source
            for container in engine.containers.list()
            for mount in container.spec.mounts
            if mount.type == "volume"
        }

    async def create(request: web.Request) -> web.Response:
        body = await json_body(request)
        driver = body.get("Driver") or "local"
        if driver != "local" or body.get("DriverOpts"):
            raise UnsupportedError(f"cannot create a volume: driver {driver!r} or its options are not supported")
        volume = volumes.create(str(body.get("Name") or ""), dict(body.get("Labels") or {}))
        return web.json_response(shape(volume), status=201)

    async def list_all(request: web.Request) -> web.Response:
        wanted = filters(request, frozenset(("dangling", "driver", "label", "name")))
        in_use = used()
        found = []
        for volume in volumes.list():
            if "name" in wanted and not any(text in volume.name for text in wanted["name"]):
                continue
            if "driver" in wanted and "local" not in wanted["driver"]:
                continue
            if "dangling" in wanted and (volume.name in in_use) == bool(wanted["dangling"] & {"true", "1"}):
                continue
            if labels_match(wanted.get("label", frozenset()), shape(volume)["Labels"]):
                found.append(shape(volume))
        return web.json_response({"Volumes": found, "Warnings": None})

    async def inspect(request: web.Request) -> web.Response:
        return web.json_response(shape(volumes.get(request.match_info["name"])))

    async def remove(request: web.Request) -> web.Response:
        await volumes.remove(request.match_info["name"], force=flag(request, "force"))
        return web.Response(status=204)

    async def prune(request: web.Request) -> web.Response:
        """Anonymous ones; with the filter all=true named ones too (API 1.42)."""
        wanted = filters(request, frozenset(("all", "label", "label!")))
        every = bool(wanted.get("all", frozenset()) & {"true", "1"})
        deleted = []
        for volume in volumes.list():
            if (volume.anonymous or every) and labels_match(wanted.get("label", frozenset()), volume.labels):
                try:
                    await volumes.remove(volume.name)
                except ConflictError:
                    continue
                deleted.append(volume.name)
        return web.json_response({"VolumesDeleted": deleted, "SpaceReclaimed": 0})

    return [
        web.post("/volumes/create", create),
        web.get("/volumes", list_all),
        web.post("/volumes/prune", prune),
        web.get("/volumes/{name}", inspect),
        web.delete("/volumes/{name}", remove),
    ]
