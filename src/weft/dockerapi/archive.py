"""/containers/{id}/archive: `docker cp` in both directions, as tar streams of a path in the container.

Paths are resolved as the container sees them, by `open_in_root`; links never lead out of it.
"""

import asyncio
import base64
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from weft.container.engine import Engine
from weft.container.runtime.rootfs import open_in_root
from weft.core.errors import ForbiddenError, InvalidError, NotFoundError
from weft.dockerapi.requests import flag, rfc3339_nano

_GO_MODES = ((stat.S_ISDIR, 1 << 31), (stat.S_ISLNK, 1 << 27), (stat.S_ISFIFO, 1 << 25), (stat.S_ISSOCK, 1 << 24),
             (stat.S_ISBLK, 1 << 26), (stat.S_ISCHR, 1 << 26 | 1 << 21))  # fmt: skip
_BLOCK = 1 << 18


def routes(engine: Engine) -> list[web.RouteDef]:
    handlers = Handlers(engine)
    return [
        web.head("/containers/{id}/archive", handlers.head),
        web.get("/containers/{id}/archive", handlers.get, allow_head=False),
        web.put("/containers/{id}/archive", handlers.put),
    ]


class Handlers:
    """One method a route."""

    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers
        self._volumes = engine.volumes

    @contextlib.asynccontextmanager
    async def _place(self, id: str, path: str, *, write: bool = False) -> AsyncIterator[tuple[Path, str]]:
        """The directory on the host and the path below it that a path in the container means: mounts count also
        while the container does not run."""
        path = os.path.normpath(path) + ("/" if path.endswith("/") and path != "/" else "")
        container = self._containers.get(id)
        for mount in sorted(container.spec.mounts, key=lambda mount: len(mount.target), reverse=True):
            target = mount.target.rstrip("/")
            if mount.type == "tmpfs" or not f"{path.rstrip('/')}/".startswith(f"{target}/"):
                continue
            if write and mount.read_only:
                raise ForbiddenError("mounted volume is marked read-only")
            source = self._volumes.data(mount.source) if mount.type == "volume" else Path(mount.source)
            if source.is_dir():
                yield source, path[len(target) :] or "/"
                return
        if write and container.spec.read_only:
            raise ForbiddenError("container rootfs is marked read-only")
        async with self._containers.root(id) as root:
            yield root.path, path

    async def head(self, request: web.Request) -> web.Response:
        id, path = request.match_info["id"], _path(request)
        async with self._place(id, path) as (root, inner):
            status = _status(root, inner, id) | {"name": os.path.basename(path.rstrip("/")) or "/"}
            return web.Response(headers={"X-Docker-Container-Path-Stat": _encoded(status)})

    async def get(self, request: web.Request) -> web.StreamResponse:
        id, path = request.match_info["id"], _path(request)
        async with self._place(id, path) as (root, inner):
            shown = os.path.basename(path.rstrip("/")) or "/"
            status = _status(root, inner, id) | {"name": shown}
            parent = _open(root, os.path.dirname(inner.rstrip("/")) or "/", os.O_PATH | os.O_DIRECTORY, id)
            try:
                name = os.path.basename(inner.rstrip("/")) or "."
                # What is mounted has the name that it has in the container.
                renamed = ["--transform", f"flags=rSh;s,^[.],{shown},"] if name == "." and shown != "/" else []
                process = await asyncio.create_subprocess_exec(
                    "tar", "--create", "--numeric-owner", *renamed,
                    "-C", f"/proc/{os.getpid()}/fd/{parent}", "--", name,
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
                assert process.stdout is not None
                headers = {"Content-Type": "application/x-tar", "X-Docker-Container-Path-Stat": _encoded(status)}
                response = web.StreamResponse(headers=headers)
                try:
                    await response.prepare(request)
                    while data := await process.stdout.read(_BLOCK):
                        await response.write(data)
                finally:
                    if process.returncode is None and not process.stdout.at_eof():
                        process.kill()
                    await process.wait()
                return response
            finally:
                os.close(parent)

    async def put(self, request: web.Request) -> web.Response:
        id, path = request.match_info["id"], _path(request)
        async with self._place(id, path, write=True) as (root, inner):
            directory = _open(root, inner, os.O_PATH | os.O_DIRECTORY, id)
            keep = [] if not flag(request, "noOverwriteDirNonDir") else ["--no-overwrite-dir"]
            try:
                process = await asyncio.create_subprocess_exec(
                    "tar", "--extract", "--numeric-owner", "--same-owner", "--same-permissions", *keep,
                    "-C", f"/proc/{os.getpid()}/fd/{directory}",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                assert process.stdin is not None
                assert process.stderr is not None
                try:
                    async for data in request.content.iter_chunked(_BLOCK):
                        process.stdin.write(data)
                        await process.stdin.drain()
                    process.stdin.close()
                except ConnectionError:
                    pass  # tar gave up; its words follow
                finally:
                    if not process.stdin.is_closing():
                        process.kill()
                    words = (await process.stderr.read()).decode(errors="replace").strip()
                    await process.wait()
                if process.returncode != 0:
                    raise InvalidError(f"cannot extract the archive: {words}")
            finally:
                os.close(directory)
        return web.Response()


def _path(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path:
        raise InvalidError("bad parameter: path cannot be empty")
    return f"/{path.lstrip('/')}"


def _open(root: Path, path: str, flags: int, id: str) -> int:
    try:
        return open_in_root(root, path, flags)
    except NotADirectoryError as error:
        raise InvalidError(f"extraction point is not a directory: {path}") from error
    except OSError as error:
        raise NotFoundError(f"Could not find the file {path} in container {id}") from error


def _status(root: Path, path: str, id: str) -> dict[str, Any]:
    descriptor = _open(root, path, os.O_PATH | os.O_NOFOLLOW, id)
    try:
        found = os.fstat(descriptor)
        link = os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(found.st_mode) else ""
    finally:
        os.close(descriptor)
    mode = stat.S_IMODE(found.st_mode) & 0o777
    for test, bit in _GO_MODES:
        mode |= bit if test(found.st_mode) else 0
    for bit, go in ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20)):
        mode |= go if found.st_mode & bit else 0
    name = os.path.basename(path.rstrip("/")) or "/"
    shown = os.path.normpath(os.path.join(os.path.dirname(path), link)) if link else ""
    return {
        "name": name,
        "size": found.st_size,
        "mode": mode,
        "mtime": rfc3339_nano(found.st_mtime),
        "linkTarget": shown,
    }


def _encoded(status: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(status).encode()).decode()
