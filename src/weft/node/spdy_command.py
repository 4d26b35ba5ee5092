"""exec and attach in SPDY: a stream each for stdin, stdout, stderr, the terminal's sizes and the final Status.

In: a WebSocket that carries the session. Out: a `Remote` for `kubelet_streams`, once the client has opened all of the
streams that its query announced (kubernetes, `apimachinery/pkg/util/remotecommand`, version v4.channel.k8s.io).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from weft.api.streams.channels import STDERR, STDOUT
from weft.core.errors import ConflictError
from weft.node.kubelet_streams import Input, Remote, Resize, Wish, size_of
from weft.node.spdy_link import SpdyLink, SpdyStream

_OPEN_SECONDS = 30.0


@contextlib.asynccontextmanager
async def remote_of(socket: web.WebSocketResponse, wish: Wish) -> AsyncIterator[Remote | None]:
    """The client; None where it hung up or took too long before all of its streams were open."""
    wanted = {"error"} | ({"resize"} if wish.tty else set())
    for name in ("stdin", "stdout", "stderr"):
        wanted |= {name} if getattr(wish, name) else set()
    streams: dict[str, SpdyStream] = {}
    complete = asyncio.Event()

    def opened(stream: SpdyStream) -> None:
        streams.setdefault(stream.headers.get("streamtype", ""), stream)
        if wanted <= set(streams):
            complete.set()

    link = asyncio.create_task(SpdyLink(socket, opened).run())
    waiting = asyncio.create_task(complete.wait())
    try:
        await asyncio.wait({link, waiting}, timeout=_OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() or link.done():
            yield None
            return
        remote = _Spdy(streams, link)
        try:
            yield remote
        finally:
            await remote.stop()
    finally:
        for task in (link, waiting):
            task.cancel()
        await asyncio.gather(link, waiting, return_exceptions=True)
        await socket.close()


class _Spdy:
    def __init__(self, streams: Mapping[str, SpdyStream], link: "asyncio.Task[None]") -> None:
        self._streams = streams
        self._messages: asyncio.Queue[Input | Resize | None] = asyncio.Queue(maxsize=4)
        self._tasks = [asyncio.create_task(self._hung_up(link))]
        if "stdin" in streams:
            self._tasks.append(asyncio.create_task(self._input(streams["stdin"])))
        if "resize" in streams:
            self._tasks.append(asyncio.create_task(self._sizes(streams["resize"])))
        for name in ("stdout", "stderr", "error"):
            if name in streams:
                streams[name].leave_unread()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hung_up(self, link: "asyncio.Task[None]") -> None:
        await asyncio.wait({link})
        await self._messages.put(None)

    async def _input(self, stream: SpdyStream) -> None:
        while data := await stream.read():
            await self._messages.put(Input(data))
        await self._messages.put(Input(b""))

    async def _sizes(self, stream: SpdyStream) -> None:
        """Sizes are JSON values one after another, with nothing between."""
        text, decoder = "", json.JSONDecoder()
        while data := await stream.read():
            text += data.decode("utf-8", "replace")
            with contextlib.suppress(ValueError):
                while text := text.lstrip():
                    _, end = decoder.raw_decode(text)
                    if (size := size_of(text[:end].encode())) is not None:
                        await self._messages.put(size)
                    text = text[end:]
            text = text[-1024:]

    async def begin(self) -> None:
        """The replies on its streams have told the client."""

    async def receive(self) -> Input | Resize | None:
        return await self._messages.get()

    async def send(self, channel: int, data: bytes) -> None:
        stream = self._streams[{STDOUT: "stdout", STDERR: "stderr"}[channel]]
        with contextlib.suppress(ConflictError):  # the client wants no more of it
            await stream.write(data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            for name in ("stdout", "stderr", "error"):
                if name in self._streams:
                    data = json.dumps(status).encode() if name == "error" else b""
                    with contextlib.suppress(ConflictError):
                        await self._streams[name].write(data, end=True)
