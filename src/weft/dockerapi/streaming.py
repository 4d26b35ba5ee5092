"""Answers that grow: one JSON object a line, as docker prints progress from; and bodies too large for memory."""

import asyncio
import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self, cast

from aiohttp import web

from weft.container.base import Progress
from weft.core.errors import InvalidError, WeftError


class JsonLines:
    """A response of JSON lines: `put` never waits; leaving the block sends what is left.

    The answer's head goes out with the first line, so that an error before it is still an HTTP error.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self.begun = False

    async def __aenter__(self) -> Self:
        self._sender = asyncio.get_running_loop().create_task(self._send())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._sender is not None
        if kind is not None and not self.begun:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            return
        self._queue.put_nowait(None)
        await self._sender
        await self.response.write_eof()

    def put(self, value: dict[str, Any]) -> None:
        self.begun = True
        self._queue.put_nowait(json.dumps(value).encode() + b"\r\n")

    def fail(self, error: WeftError, code: int | None = None) -> None:
        """An error after the first line; before it, raises `error` for the HTTP answer."""
        if not self.begun:
            raise error
        detail: dict[str, Any] = {"message": str(error)} if code is None else {"code": code, "message": str(error)}
        self.put({"errorDetail": detail, "error": str(error)})

    async def _send(self) -> None:
        first = True
        while (line := await self._queue.get()) is not None or first:
            if first:
                await self.response.prepare(self._request)
                first = False
            if line is None:
                return
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


class _Archive:
    """Reads what is compressed; damage is the sender's fault (InvalidError)."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise InvalidError(f"Error processing tar file: {error}") from error


@contextmanager
def open_archive(path: Path) -> Iterator[IO[bytes]]:
    """The archive as a stream of tar, whatever it was packed with."""
    with ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(path.open("rb"))
        start = stream.read(6)
        stream.seek(0)
        if start[:2] == b"\x1f\x8b":
            stream = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=stream)))
        elif start[:3] == b"BZh":
            stream = stack.enter_context(bz2.BZ2File(stream))
        elif start == b"\xfd7zXZ\0":
            stream = stack.enter_context(lzma.LZMAFile(stream))
        elif start[:4] == b"\x28\xb5\x2f\xfd":
            import zstandard

            stream = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(stream))
        yield cast("IO[bytes]", _Archive(stream))
