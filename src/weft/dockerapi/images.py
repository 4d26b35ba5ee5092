"""Images over Docker's API: list, pull, push, tag, remove, prune, inspect, history; archives in and out; commit."""

import asyncio
import base64
import binascii
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from aiohttp import web

from weft.container.base import Credentials, Image
from weft.container.engine import Engine
from weft.container.images.build import configuration, parser
from weft.container.images.remote import Remote
from weft.container.images.threads import in_thread
from weft.container.snapshots.pack import write_tar
from weft.container.spec import ContainerSpec
from weft.core.clock import rfc3339_micro
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.dockerapi.requests import filters, flag, json_body, labels_match
from weft.dockerapi.streaming import JsonLines, open_archive, progress_line, spool
from weft.oci.reference import Reference

_LIST_FILTERS = frozenset({"dangling", "label", "reference", "before", "since", "until"})


def credentials(request: web.Request) -> Credentials | None:
    """From `X-Registry-Auth`, base64url of JSON; raises InvalidError."""
    text = request.headers.get("X-Registry-Auth", "")
    if not text:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"{}")
        return Credentials(value.get("username", ""), value.get("password", ""), value.get("identitytoken", ""))
    except (ValueError, binascii.Error, AttributeError) as error:
        raise InvalidError(f"invalid X-Registry-Auth header: {error}") from error


def summary(image: Image, parent: str, containers: int) -> dict[str, Any]:
    """One entry of `docker images`."""
    return {
        "Id": image.id,
        "ParentId": parent,
        "RepoTags": list(image.references),
        "RepoDigests": list(image.repo_digests),
        "Created": int(image.created_at),
        "Size": image.size,
        "SharedSize": -1,
        "Labels": (image.config.get("config") or {}).get("Labels") or {},
        "Containers": containers,
    }


def inspect(image: Image, parent: str) -> dict[str, Any]:
    """Docker's ImageInspect."""
    config = dict(image.config.get("config") or {})
    history = image.config.get("history") or []
    return {
        "Id": image.id,
        "RepoTags": list(image.references),
        "RepoDigests": list(image.repo_digests),
        "Parent": parent,
        "Comment": history[-1].get("comment", "") if history else "",
        "Created": image.config.get("created") or rfc3339_micro(image.created_at),
        "DockerVersion": "",
        "Author": image.config.get("author", ""),
        "Config": config,
        "Architecture": image.config.get("architecture", ""),
        "Variant": image.config.get("variant", ""),
        "Os": image.config.get("os", "linux"),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339_micro(image.created_at)},
    }


def _name(repository: str, tag: str) -> str:
    """`fromImage` and `tag` as one reference; a digest may stand in for the tag."""
    if not tag:
        return repository
    return f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"


class ImageRoutes:
    """The handlers, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images = engine.images

    def _using(self, image: Image) -> int:
        return sum(container.image_id == image.id for container in self._engine.containers.list())

    async def list(self, request: web.Request) -> web.Response:
        wanted = filters(request, _LIST_FILTERS)
        found = []
        for image in self._images.list():
            labels = (image.config.get("config") or {}).get("Labels") or {}
            dangling = not image.references
            if "dangling" in wanted and dangling != (wanted["dangling"] & {"true", "1"} != frozenset()):
                continue
            if "label" in wanted and not labels_match(wanted["label"], labels):
                continue
            if "reference" in wanted and not any(_matches(image, pattern) for pattern in wanted["reference"]):
                continue
            if "before" in wanted and not all(
                image.created_at < self._images.resolve(name).created_at for name in wanted["before"]
            ):
                continue
            if "since" in wanted and not all(
                image.created_at > self._images.resolve(name).created_at for name in wanted["since"]
            ):
                continue
            found.append(summary(image, self._images.parent(image.id), self._using(image)))
        return web.json_response(found)

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Pull (`fromImage`) or import (`fromSrc`)."""
        query = request.query
        if query.get("fromSrc"):
            return await self._import(request)
        name = _name(query.get("fromImage", ""), query.get("tag", ""))
        if not name:
            raise InvalidError("one of fromImage and fromSrc is needed")
        Reference.parse(name)
        given = credentials(request)
        async with JsonLines(request) as lines:
            try:
                await self._images.pull(name, credentials=given, progress=lambda step: lines.put(progress_line(step)))
            except WeftError as error:
                lines.fail(error)
        return lines.response

    async def _import(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query["fromSrc"] != "-":
            raise UnsupportedError("import from a URL is not supported: send the archive")
        repository = query.get("repo", "")
        target = _name(repository, query.get("tag", "")) if repository else ""
        if target:
            Reference.parse(target)
        config = _changed({}, query.getall("changes", []))
        with tempfile.NamedTemporaryFile(dir=_scratch(self._engine)) as file:
            await spool(request, Path(file.name))
            with open_archive(Path(file.name)) as source:
                image = await self._images.import_tar(lambda: source.read(1 << 20), config, query.get("message", ""))
        if target:
            self._images.tag(image.id, target)
        async with JsonLines(request) as lines:
            lines.put({"status": image.id})
        return lines.response

    async def save(self, request: web.Request) -> web.StreamResponse:
        """One image (`/images/{name}/get`) or several (`/images/get?names=`)."""
        name = request.match_info.get("name")
        names = [name] if name is not None else request.query.getall("names", [])
        if not names:
            raise InvalidError("no images are named")
        with tempfile.TemporaryFile(dir=_scratch(self._engine)) as file:
            await self._images.save(names, file)
            return await _send(request, file)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """A container's files as a tar, without what makes them layers."""
        with tempfile.TemporaryFile(dir=_scratch(self._engine)) as file:
            async with self._engine.containers.root(request.match_info["id"]) as root:
                await in_thread(write_tar, str(root.path), file, whiteouts=False)
            return await _send(request, file)

    async def load(self, request: web.Request) -> web.StreamResponse:
        with tempfile.NamedTemporaryFile(dir=_scratch(self._engine)) as file:
            await spool(request, Path(file.name))
            with (
                open_archive(Path(file.name)) as source,
                tempfile.NamedTemporaryFile(dir=_scratch(self._engine)) as tar,
            ):
                await in_thread(shutil.copyfileobj, source, tar, 1 << 20)
                tar.flush()
                async with JsonLines(request) as lines:
                    try:
                        loaded = await self._images.load(Path(tar.name))
                    except InvalidError as error:  # dockerd says it in the stream, too
                        lines.put({"errorDetail": {"message": str(error)}, "error": str(error)})
                        loaded = []
                    for image, names in loaded:
                        for text in [f"Loaded image: {name}" for name in names] or [f"Loaded image ID: {image.id}"]:
                            lines.put({"stream": f"{text}\n"})
        return lines.response

    async def inspect(self, request: web.Request) -> web.Response:
        image = self._images.resolve(request.match_info["name"])
        return web.json_response(inspect(image, self._images.parent(image.id)))

    async def history(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._images.history(request.match_info["name"])))

    async def push(self, request: web.Request) -> web.StreamResponse:
        name = _name(request.match_info["name"], request.query.get("tag", ""))
        parsed = Reference.parse(name)
        if f"{parsed.name}:{parsed.tag}" not in self._images.database.tags:
            raise NotFoundError(f"An image does not exist locally with the tag: {parsed.familiar_name}")
        given = credentials(request)
        async with JsonLines(request) as lines:
            try:
                await self._images.push(name, credentials=given, progress=lambda step: lines.put(progress_line(step)))
            except WeftError as error:
                lines.fail(error)
        return lines.response

    async def tag(self, request: web.Request) -> web.Response:
        repository = request.query.get("repo", "")
        if not repository:
            raise InvalidError("invalid reference format")
        self._images.tag(request.match_info["name"], _name(repository, request.query.get("tag", "")))
        return web.Response(status=201)

    async def remove(self, request: web.Request) -> web.Response:
        removed = await self._images.remove(request.match_info["name"], force=flag(request, "force"))
        return web.json_response([{kind: value} for kind, value in removed])

    async def prune(self, request: web.Request) -> web.Response:
        wanted = filters(request, frozenset({"dangling", "label", "label!", "until"}))
        dangling = not (wanted.get("dangling", frozenset()) & {"false", "0"})
        removed, freed = await self._images.prune(dangling=dangling)
        rows = [{kind: value} for kind, value in removed] or None
        return web.json_response({"ImagesDeleted": rows, "SpaceReclaimed": freed})

    async def commit(self, request: web.Request) -> web.Response:
        query = request.query
        container = self._engine.containers.get(query.get("container", ""))
        parent = self._images.resolve(container.image_id)
        config = _config_of(container.spec, parent.config.get("config") or {})
        given = await json_body(request)
        config |= {key: value for key, value in given.items() if value}
        config = _changed(config, query.getall("changes", []))
        target = _name(query.get("repo", ""), query.get("tag", "")) if query.get("repo") else ""
        if target:
            Reference.parse(target)
        pause = flag(request, "pause", default=True) and container.state == "running"
        if pause:
            try:
                await self._engine.containers.pause(container.id)
            except WeftError:
                pause = False  # it has just ended: nothing writes any more
        try:
            upper = self._images.root(container.id).upper
            image = await self._images.commit(upper, parent, config, query.get("comment", ""))
        finally:
            if pause:
                await self._engine.containers.unpause(container.id)
        if target:
            self._images.tag(image.id, target)
        self._engine.events.publish("container", "commit", container.id, {"imageID": image.id, "imageRef": target})
        return web.json_response({"Id": image.id}, status=201)

    async def distribution(self, request: web.Request) -> web.Response:
        reference = Reference.parse(request.match_info["name"])
        async with Remote(reference, credentials(request)) as remote:
            found = await remote.manifest(reference.target)
        platforms = [entry.platform for entry in found.manifests if entry.platform]
        descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": len(found.raw)}
        return web.json_response({"Descriptor": descriptor, "Platforms": platforms})

    async def search(self, request: web.Request) -> web.Response:
        raise UnsupportedError("search needs Docker Hub, which Weft does not ask; list a registry by its /v2/_catalog")

    async def build_prune(self, request: web.Request) -> web.Response:
        return web.json_response({"CachesDeleted": None, "SpaceReclaimed": 0})


def _scratch(engine: Engine) -> Path:
    """For archives in passing; cleared when the engine starts."""
    directory = engine.settings.paths.lib / "tmp"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


async def _send(request: web.Request, file: IO[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
    response.content_length = file.tell()
    file.seek(0)
    await response.prepare(request)
    while block := await asyncio.to_thread(file.read, 1 << 20):
        await response.write(block)
    return response


def _matches(image: Image, pattern: str) -> bool:
    import fnmatch

    for reference in image.references:
        name = reference.rsplit(":", 1)[0]
        if fnmatch.fnmatchcase(reference, pattern) or fnmatch.fnmatchcase(name, pattern):
            return True
    return False


def _config_of(spec: ContainerSpec, base: Mapping[str, Any]) -> dict[str, Any]:
    """The config that a container runs with: its image's, and what was said when it was made."""
    config = dict(base)
    environment = configuration.environment(config) | configuration.environment({"Env": spec.env})
    config["Env"] = [f"{key}={value}" for key, value in environment.items()]
    if spec.entrypoint is not None:
        config["Entrypoint"], config["Cmd"] = list(spec.entrypoint) or None, None
    for key, value in (
        ("Cmd", list(spec.command) if spec.command is not None else None),
        ("User", spec.user),
        ("WorkingDir", spec.working_dir),
        ("StopSignal", spec.stop_signal),
        ("Labels", {**(config.get("Labels") or {}), **spec.labels}),
    ):
        if value:
            config[key] = value
    return config


_CHANGES = configuration.KEYWORDS - {"HEALTHCHECK", "MAINTAINER", "SHELL"}


def _changed(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The config after the `--change` instructions of import and commit. Raises InvalidError."""
    changed = dict(config)
    for change in changes:
        instruction = parser.parse(f"FROM scratch\n{change}").instructions[-1]
        if instruction.keyword == "WORKDIR":
            changed["WorkingDir"] = instruction.text
        elif instruction.keyword in _CHANGES:
            configuration.apply(changed, instruction, configuration.Scope(configuration.environment(changed)))
        else:
            raise InvalidError(f"{instruction.keyword} is not a valid change command")
    return changed


def routes(engine: Engine) -> list[web.RouteDef]:
    handlers = ImageRoutes(engine)
    return [
        web.get("/images/json", handlers.list),
        web.post("/images/create", handlers.create),
        web.get("/images/search", handlers.search),
        web.post("/images/prune", handlers.prune),
        web.get("/images/get", handlers.save),
        web.get("/images/{name:.+}/get", handlers.save),
        web.post("/images/load", handlers.load),
        web.get("/images/{name:.+}/json", handlers.inspect),
        web.get("/images/{name:.+}/history", handlers.history),
        web.post("/images/{name:.+}/push", handlers.push),
        web.post("/images/{name:.+}/tag", handlers.tag),
        web.delete("/images/{name:.+}", handlers.remove),
        web.post("/commit", handlers.commit),
        web.get("/containers/{id}/export", handlers.export),
        web.get("/distribution/{name:.+}/json", handlers.distribution),
        web.post("/build/prune", handlers.build_prune),
    ]
