"""/containers: create, list, inspect, remove, rename, prune, top, stats, changes."""

import asyncio
import json
import os
import stat
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from weft.container.engine import Engine
from weft.container.spec import Container, ContainerSpec, Mount, State
from weft.core.errors import ConflictError, InvalidError, NotFoundError
from weft.dockerapi import shapes
from weft.dockerapi.requests import Filters, filters, flag, json_body, labels_match, number
from weft.dockerapi.translate import container_spec, updated

_FILTERS = frozenset(
    (
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    )
)


def routes(engine: Engine) -> list[web.RouteDef]:
    handlers = Handlers(engine)
    return [
        web.post("/containers/create", handlers.create),
        web.get("/containers/json", handlers.list),
        web.post("/containers/prune", handlers.prune),
        web.get("/containers/{id}/json", handlers.inspect),
        web.delete("/containers/{id}", handlers.remove),
        web.post("/containers/{id}/rename", handlers.rename),
        web.get("/containers/{id}/top", handlers.top),
        web.get("/containers/{id}/stats", handlers.stats),
        web.get("/containers/{id}/changes", handlers.changes),
        web.post("/containers/{id}/update", handlers.update),
    ]


class Handlers:
    """One method a route."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, request: web.Request) -> web.Response:
        spec = container_spec(request.query.get("name", ""), await json_body(request))
        spec = replace(spec, mounts=self._with_others(spec))
        for bind in spec.docker.get("HostConfig", {}).get("Binds") or ():
            source = bind.partition(":")[0]
            if source.startswith("/") and not os.path.lexists(source):
                os.makedirs(source)  # `-v` makes it, `--mount` does not: so docker has it
        container = await self._engine.containers.create(spec)
        return web.json_response({"Id": container.id, "Warnings": _warnings(spec)}, status=201)

    def _with_others(self, spec: ContainerSpec) -> tuple[Mount, ...]:
        """`VolumesFrom`: the mounts of other containers, where nothing of its own is mounted."""
        mounts = {mount.target.rstrip("/"): mount for mount in spec.mounts}
        for text in (spec.docker.get("HostConfig") or {}).get("VolumesFrom") or ():
            name, _, mode = str(text).partition(":")
            if mode not in ("", "rw", "ro", "z", "Z"):
                raise InvalidError(f'invalid mode: "{mode}"')
            try:
                other = self._engine.containers.get(name)
            except NotFoundError as error:  # docker's CLI takes 404 here for an image to pull
                raise InvalidError(str(error)) from error
            for mount in other.spec.mounts:
                if mount.type != "tmpfs":
                    shown = replace(mount, read_only=mount.read_only or mode == "ro")
                    mounts.setdefault(mount.target.rstrip("/"), shown)
        return tuple(mounts.values())

    async def update(self, request: web.Request) -> web.Response:
        container = self._engine.containers.get(request.match_info["id"])
        await self._engine.containers.update(container.id, updated(container.spec, await json_body(request)))
        return web.json_response({"Warnings": []})

    async def list(self, request: web.Request) -> web.Response:
        wanted = filters(request, _FILTERS)
        limit = number(request, "limit")
        every = flag(request, "all") or bool(limit and limit > 0) or "status" in wanted or "exited" in wanted
        found = [
            container
            for container in self._engine.containers.list()
            if (every or container.state in (State.RUNNING, State.PAUSED, State.RESTARTING))
            and self._matches(container, wanted)
        ]
        now = time.time()
        rows = []
        for container in found[:limit] if limit and limit > 0 else found:
            sandbox = self._engine.networking.get(container.sandbox_id) if container.sandbox_id else None
            row = shapes.summary(
                container, self._engine.containers.image_of(container.id), sandbox, self._engine.volumes, now
            )
            if flag(request, "size"):
                row |= await self._sizes(container)
            rows.append(row)
        return web.json_response(rows)

    def _matches(self, container: Container, wanted: Filters) -> bool:
        for name, values in wanted.items():
            match name:
                case "id":
                    fits = any(container.id.startswith(value) for value in values)
                case "name":
                    fits = any(value.removeprefix("/") in container.name for value in values)
                case "label":
                    fits = labels_match(values, container.spec.labels)
                case "status":
                    fits = str(container.state) in values
                case "exited":
                    fits = container.state is State.EXITED and str(container.exit_code) in values
                case "ancestor":
                    fits = any(self._is_of_image(container, value) for value in values)
                case "network":
                    fits = container.spec.network in values
                case "health":
                    fits = (container.health.status if container.health is not None else "none") in values
                case "volume":
                    fits = any(mount.source in values or mount.target in values for mount in container.spec.mounts)
                case "before" | "since":
                    other = self._engine.containers.get(next(iter(values))).created_at
                    fits = container.created_at < other if name == "before" else container.created_at > other
                case _:
                    published = {f"{port.container_port}/{port.protocol}" for port in container.spec.ports}
                    fits = any((value if "/" in value else f"{value}/tcp") in published for value in values)
            if not fits:
                return False
        return True

    def _is_of_image(self, container: Container, reference: str) -> bool:
        if reference == container.spec.image:
            return True
        try:
            return self._engine.images.resolve(reference).id == container.image_id
        except NotFoundError:
            return False

    async def inspect(self, request: web.Request) -> web.Response:
        container = self._engine.containers.get(request.match_info["id"])
        sandbox = self._engine.networking.get(container.sandbox_id) if container.sandbox_id else None
        image = self._engine.containers.image_of(container.id)
        found = shapes.inspect(container, image, sandbox, self._engine.volumes, self._engine.runtime.name)
        if flag(request, "size"):
            found |= await self._sizes(container)
        return web.json_response(found)

    async def _sizes(self, container: Container) -> dict[str, int]:
        """What its own layer takes, and with its image."""
        async with self._engine.containers.root(container.id) as root:
            own = await asyncio.to_thread(_size, root.upper)
        image = self._engine.containers.image_of(container.id)
        return {"SizeRw": own, "SizeRootFs": own + (image.size if image else 0)}

    async def remove(self, request: web.Request) -> web.Response:
        if flag(request, "link"):
            raise InvalidError("cannot remove a link: links are not supported")
        await self._engine.containers.remove(
            request.match_info["id"], force=flag(request, "force"), volumes=flag(request, "v")
        )
        return web.Response(status=204)

    async def rename(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "")
        if not name:
            raise InvalidError("Neither old nor new names may be empty")
        await self._engine.containers.rename(request.match_info["id"], name)
        return web.Response(status=204)

    async def prune(self, request: web.Request) -> web.Response:
        wanted = filters(request, frozenset(("label", "until")))
        deleted, freed = [], 0
        for container in self._engine.containers.list():
            if container.state not in (State.CREATED, State.EXITED, State.DEAD):
                continue
            if labels_match(wanted.get("label", frozenset()), container.spec.labels):
                try:
                    size = (await self._sizes(container))["SizeRw"]
                    await self._engine.containers.remove(container.id)
                except (ConflictError, NotFoundError):
                    continue  # it was started or removed meanwhile
                deleted.append(container.id)
                freed += size
        return web.json_response({"ContainersDeleted": deleted, "SpaceReclaimed": freed})

    async def top(self, request: web.Request) -> web.Response:
        arguments = request.query.get("ps_args", "").split()
        titles, rows = await self._engine.containers.top(request.match_info["id"], arguments)
        return web.json_response({"Titles": titles, "Processes": rows})

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """One reading a second; with `stream=0` one after another to compare with, with `one-shot` just one."""
        read = partial(self._engine.containers.stats, self._engine.containers.get(request.match_info["id"]).id)
        empty: dict[str, Any] = {"cpu_usage": {"total_usage": 0}, "throttling_data": {}}
        previous: dict[str, Any] = {"read": "0001-01-01T00:00:00Z", "cpu_stats": empty}
        if not flag(request, "stream", default=True):
            if not flag(request, "one-shot"):
                previous = dict(await read())
                await asyncio.sleep(1)
            return web.json_response(_with_previous(dict(await read()), previous))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            try:
                now = dict(await read())
            except NotFoundError:
                return response
            await response.write(json.dumps(_with_previous(now, previous)).encode() + b"\n")
            previous = now
            await asyncio.sleep(1)

    async def changes(self, request: web.Request) -> web.Response:
        """`docker diff`: what the container's own layer holds (overlayfs: whiteouts are 0:0 character devices)."""
        container = self._engine.containers.get(request.match_info["id"])
        async with self._engine.containers.root(container.id) as root:
            found = await asyncio.to_thread(_changes, root.upper)
        return web.json_response(_own(found, [mount.target for mount in container.spec.mounts]))


def _changes(upper: Path) -> list[dict[str, Any]]:
    """Modified is 0, added 1, deleted 2. A directory that was copied up is told by its overlay attribute."""
    found: list[dict[str, Any]] = []
    for directory, children, names in os.walk(upper):
        for name in sorted(children + names):
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                kind = 2
            else:
                kind = 0 if any(key.startswith("trusted.overlay.") for key in _attributes(path)) else 1
            found.append({"Path": f"/{path.relative_to(upper)}", "Kind": kind})
    return found


def _own(changes: list[dict[str, Any]], mounts: list[str]) -> list[dict[str, Any]]:
    """Without the places that the engine and the runtime make to mount at, and directories changed only by those."""
    made = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv", "/run/.containerenv"}
    made |= {mount.rstrip("/") for mount in mounts}
    tops = ("/dev/", "/proc/", "/sys/")
    kept = [
        each
        for each in changes
        if each["Path"] not in made
        and not any(each["Path"] == top or each["Path"].startswith(f"{top}/") for top in tops)
    ]
    around = {str(parent) for each in changes if each["Path"] in made for parent in Path(each["Path"]).parents}
    inside = {str(parent) for each in kept if each["Path"] not in around for parent in Path(each["Path"]).parents}
    return [each for each in kept if each["Path"] not in around or each["Path"] in inside]


def _size(upper: Path) -> int:
    """Bytes of the files below, each counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for directory, _, names in os.walk(upper):
        for name in names:
            try:
                status = os.lstat(os.path.join(directory, name))
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _with_previous(now: dict[str, Any], previous: dict[str, Any]) -> dict[str, Any]:
    return now | {"preread": previous["read"], "precpu_stats": previous["cpu_stats"]}


def _warnings(spec: ContainerSpec) -> list[str]:
    found = []
    if spec.network in ("host", "none") and spec.ports:
        found.append(f"Published ports are discarded when using {spec.network} network mode")
    return found
