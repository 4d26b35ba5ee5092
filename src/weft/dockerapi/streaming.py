"""Answers that grow: one JSON object a line, as docker prints progress from; and bodies too large for memory."""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from weft.container.base import Progress


class JsonLines:
    """A response of JSON lines: `put` never waits; leaving the block sends what is left."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.response.prepare(self._request)
        self._sender = asyncio.get_running_loop().create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.put_nowait(None)
        if self._sender is not None:
            await self._sender
        await self.response.write_eof()

    def put(self, value: dict[str, Any]) -> None:
        self._queue.put_nowait(json.dumps(value).encode() + b"\r\n")

    async def _send(self) -> None:
        while (line := await self._queue.get()) is not None:
            await self.response.write(line)


def progress_line(step: Progress) -> dict[str, Any]:
    """A step of a pull or push in Docker's JSON."""
    line: dict[str, Any] = {}
    if step.status:
        line["status"] = step.status
    if step.id:
        line["id"] = step.id
    if step.total:
        line["progressDetail"] = {"current": step.current, "total": step.total}
    elif step.id:
        line["progressDetail"] = {}
    if step.aux:
        line["aux"] = dict(step.aux)
    return line


async def spool(request: web.Request, target: Path) -> int:
    """The request's body into a file; returns its size."""
    size = 0
    with target.open("wb") as file:
        async for block in request.content.iter_chunked(1 << 18):
            await asyncio.to_thread(file.write, block) if len(block) > 1 << 16 else file.write(block)
            size += len(block)
    return size
