"""`POST /build`: a tar of the context in, the builder's stream of progress out, one JSON object a line."""

import base64
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from weft.container.base import Credentials, Progress
from weft.container.engine import Engine
from weft.container.images.build.builder import Builder, BuildError, BuildOptions
from weft.container.images.threads import in_thread
from weft.container.snapshots.unpack import unpack
from weft.core.errors import InvalidError, WeftError
from weft.dockerapi.requests import flag
from weft.dockerapi.streaming import JsonLines, open_archive, progress_line, spool
from weft.oci.reference import Reference


def routes(engine: Engine) -> list[web.RouteDef]:
    async def build(request: web.Request) -> web.StreamResponse:
        options = _options(request)
        async with JsonLines(request) as lines:
            failure: WeftError | None = None
            work = Path(tempfile.mkdtemp(prefix="build-", dir=_directory(engine)))
            try:
                context = work / "context"
                context.mkdir()
                await spool(request, work / "context.tar")
                await in_thread(_unpack, work / "context.tar", context)
                await _build(engine, options, context, lines, quiet=flag(request, "q"))
            except WeftError as error:
                failure = error
            finally:
                await in_thread(shutil.rmtree, work, ignore_errors=True)
            if failure is not None:  # told when all is cleaned up: the client leaves on the word
                lines.fail(failure, failure.code if isinstance(failure, BuildError) else None)
        return lines.response

    return [web.post("/build", build)]


def _directory(engine: Engine) -> str:
    directory = engine.settings.paths.lib / "tmp"
    directory.mkdir(parents=True, exist_ok=True)
    return str(directory)


def _unpack(archive: Path, target: Path) -> None:
    with open_archive(archive) as stream:
        unpack(stream, str(target), whiteouts=False)


async def _build(engine: Engine, options: BuildOptions, context: Path, lines: JsonLines, *, quiet: bool) -> None:
    def say(text: str) -> None:
        if not quiet:
            lines.put({"stream": text})

    def pulled(step: Progress) -> None:
        if not quiet:
            lines.put(progress_line(step))

    def built(id: str) -> None:
        lines.put({"stream": f"{id}\n"} if quiet else {"aux": {"ID": id}})

    options = replace(options, pull_output=pulled, built=built)
    await Builder(engine.images, engine.containers, options, say).build(context)


def _options(request: web.Request) -> BuildOptions:
    query = request.query
    if query.get("version") == "2":
        raise InvalidError("BuildKit is not supported: build with DOCKER_BUILDKIT=0")
    if query.get("remote"):
        raise InvalidError("building from a remote context is not supported: send the context")
    tags = tuple(query.getall("t", []))
    for tag in tags:
        if Reference.parse(tag).digest:
            raise InvalidError("refusing to create a tag with a digest reference")
    arguments = {
        key: value for key, value in _mapping(query.get("buildargs"), "buildargs").items() if value is not None
    }
    return BuildOptions(
        dockerfile=query.get("dockerfile") or "Dockerfile",
        tags=tags,
        arguments=arguments,
        labels=_mapping(query.get("labels"), "labels"),
        target=query.get("target", ""),
        no_cache=flag(request, "nocache"),
        pull=flag(request, "pull"),
        network=query.get("networkmode") or "bridge",
        credentials=_credentials(request.headers.get("X-Registry-Config", "")),
        cache_from=tuple(str(each) for each in _list(query.get("cachefrom"), "cachefrom")),
        extra_hosts=tuple(query.getall("extrahosts", [])),
    )


def _credentials(header: str) -> dict[str, Credentials]:
    """`X-Registry-Config`: base64url of {registry: {username, password, ...}}."""
    if not header:
        return {}
    try:
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)) or b"{}")
        return {
            "docker.io" if "index.docker.io" in server else server.removeprefix("https://").split("/")[0]: Credentials(
                entry.get("username", ""), entry.get("password", ""), entry.get("identitytoken", "")
            )
            for server, entry in (found or {}).items()
        }
    except (ValueError, AttributeError) as error:
        raise InvalidError(f"invalid X-Registry-Config header: {error}") from error


def _list(text: str | None, name: str) -> list[Any]:
    if not text:
        return []
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidError(f"invalid {name}: {error}") from error
    if not isinstance(value, list):
        raise InvalidError(f"invalid {name}: not a list")
    return value


def _mapping(text: str | None, name: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidError(f"invalid {name}: {error}") from error
    if not isinstance(value, dict):
        raise InvalidError(f"invalid {name}: not an object")
    return value
