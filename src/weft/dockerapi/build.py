"""`POST /build`: a tar of the context in, the builder's stream of progress out, one JSON object a line."""

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from aiohttp import web

from weft.container.base import Progress
from weft.container.engine import Engine
from weft.container.images.build.builder import Builder, BuildError, BuildOptions
from weft.container.snapshots.unpack import unpack
from weft.core.errors import InvalidError, WeftError
from weft.dockerapi.requests import flag
from weft.dockerapi.streaming import JsonLines, progress_line, spool
from weft.oci.reference import Reference


def routes(engine: Engine) -> list[web.RouteDef]:
    async def build(request: web.Request) -> web.StreamResponse:
        options = _options(request)
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="build-", dir=_directory(engine)))
        try:
            context = work / "context"
            context.mkdir()
            await spool(request, work / "context.tar")
            await asyncio.to_thread(_unpack, work / "context.tar", context)
            async with JsonLines(request) as lines:
                await _build(engine, options, context, lines, quiet=flag(request, "q"))
            return lines.response
        finally:
            await asyncio.to_thread(shutil.rmtree, work, True)

    return [web.post("/build", build)]


def _directory(engine: Engine) -> str:
    directory = engine.settings.paths.lib / "tmp"
    directory.mkdir(parents=True, exist_ok=True)
    return str(directory)


def _unpack(archive: Path, target: Path) -> None:
    """The context may be compressed, as docker-py's is."""
    import bz2
    import gzip
    import lzma

    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        stream: Any = file
        if start[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=file)
        elif start[:3] == b"BZh":
            stream = bz2.BZ2File(file)
        elif start == b"\xfd7zXZ\0":
            stream = lzma.LZMAFile(file)  # noqa: SIM115, closed with the file below it
        try:
            unpack(stream, str(target), whiteouts=False)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise InvalidError(f"Error processing tar file: {error}") from error


async def _build(engine: Engine, options: BuildOptions, context: Path, lines: JsonLines, *, quiet: bool) -> None:
    def say(text: str) -> None:
        if not quiet:
            lines.put({"stream": text})

    def pulled(step: Progress) -> None:
        if not quiet:
            lines.put(progress_line(step))

    options = BuildOptions(**{**{name: getattr(options, name) for name in options.__slots__}, "pull_output": pulled})
    try:
        image = await Builder(engine.images, engine.containers, options, say).build(context)
    except BuildError as error:
        lines.put({"errorDetail": {"code": error.code, "message": str(error)}, "error": str(error)})
    except WeftError as error:
        lines.put({"errorDetail": {"message": str(error)}, "error": str(error)})
    else:
        if quiet:
            lines.put({"stream": f"{image.id}\n"})
        else:
            lines.put({"aux": {"ID": image.id}})


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
        extra_hosts=tuple(query.getall("extrahosts", [])),
    )


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
