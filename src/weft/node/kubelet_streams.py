"""exec and attach: a process's stdio, carried to and from a client through a WebSocket from the API server.

In: the client's messages, as channels (`weft.api.streams.channels`) or as a SPDY session (`spdy_command`), and a
process. Out: its output, and in the end a Status.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from weft.api.streams.channels import CLOSE, COMMAND_TUNNEL, ERROR, RESIZE, STDERR, STDIN, STDOUT, V1, V4, V5
from weft.container.base import ProcessStream
from weft.core.errors import WeftError

logger = logging.getLogger(__name__)

PROTOCOLS = (V5, V4, V1, COMMAND_TUNNEL)
_TRUE = ("true", "1")
_CHUNK = 32 * 1024

Open = Callable[[], Awaitable[ProcessStream]]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which streams the client wants."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @classmethod
    def read(cls, query: Mapping[str, str], *, tty: bool | None = None) -> "Wish":
        asked = query.get("tty") in _TRUE if tty is None else tty
        values = {key: query.get(key) in _TRUE for key in ("stdin", "stdout", "stderr")}
        return cls(values["stdin"], values["stdout"], values["stderr"], asked)


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for the process's stdin; none of them is its end."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A new size of the client's terminal."""

    width: int
    height: int


class Remote(Protocol):
    """The client's end of a session, in whichever framing."""

    async def begin(self) -> None:
        """Tells the client that the process is there."""
        ...

    async def receive(self) -> Input | Resize | None:
        """What the client sends; None when it has hung up."""
        ...

    async def send(self, channel: int, data: bytes) -> None: ...

    async def finish(self, status: Mapping[str, Any]) -> None: ...


async def serve(request: web.Request, wish: Wish, open_stream: Open, *, report_exit: bool) -> web.StreamResponse:
    """Runs the session to its end. With `report_exit` the final Status bears the process's exit code."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    if not socket.can_prepare(request):
        return web.Response(status=400, text="unable to upgrade: a WebSocket is needed")
    await socket.prepare(request)
    if socket.ws_protocol == COMMAND_TUNNEL:
        from weft.node.spdy_command import remote_of

        async with remote_of(socket, wish) as remote:
            if remote is not None:
                await _session(remote, wish, open_stream, report_exit=report_exit)
    elif socket.ws_protocol in PROTOCOLS:
        await _session(_Channels(socket, wish), wish, open_stream, report_exit=report_exit)
    else:
        await socket.close(code=1002, message=b"offer v5.channel.k8s.io or v4.channel.k8s.io")
    return socket


async def _session(remote: Remote, wish: Wish, open_stream: Open, *, report_exit: bool) -> None:
    try:
        stream = await open_stream()
    except WeftError as error:
        await remote.finish(failure("InternalError", f"error executing command in container: {error}", 500))
        return
    await remote.begin()
    reader = asyncio.create_task(_from_client(remote, stream, wish))
    writer = asyncio.create_task(_to_client(remote, stream, wish))
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        if not writer.done():  # the client went away
            return
        writer.result()
        code = await stream.wait() if report_exit else 0
        await remote.finish(exit_status(code))
    except (ConnectionError, WeftError) as error:
        logger.debug("a stream broke: %s", error)
    finally:
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)
        await stream.close()


async def _from_client(remote: Remote, stream: ProcessStream, wish: Wish) -> None:
    """Input and sizes to the process, until the client hangs up; the end of its input is not the end."""
    open_stdin = wish.stdin
    while (message := await remote.receive()) is not None:
        if isinstance(message, Resize):
            with contextlib.suppress(WeftError, OSError):
                await stream.resize(message.width, message.height)
        elif open_stdin and message.data:
            await stream.write(message.data)
        elif open_stdin:
            open_stdin = False
            await stream.close_stdin()


async def _to_client(remote: Remote, stream: ProcessStream, wish: Wish) -> None:
    while (piece := await stream.read()) is not None:
        name, data = piece
        channel = STDERR if name == "stderr" else STDOUT
        if not (wish.stderr if channel == STDERR else wish.stdout):
            continue
        for start in range(0, len(data), _CHUNK):
            await remote.send(channel, data[start : start + _CHUNK])


def size_of(payload: bytes) -> Resize | None:
    """A terminal's size as clients send it; None where it is none."""
    try:
        size = json.loads(payload)
        return Resize(int(size["Width"]), int(size["Height"]))
    except (ValueError, TypeError, KeyError):
        return None


class _Channels:
    """A client that speaks v4 or v5.channel.k8s.io."""

    def __init__(self, socket: web.WebSocketResponse, wish: Wish) -> None:
        self._socket, self._wish = socket, wish

    async def begin(self) -> None:
        # An empty message tells the client that the process is there (kubernetes, remotecommand/websocket.go).
        wish = self._wish
        await self._socket.send_bytes(bytes([STDOUT if wish.stdout else STDERR if wish.stderr else ERROR]))

    async def receive(self) -> Input | Resize | None:
        async for message in self._socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            data = message.data.encode() if isinstance(message.data, str) else message.data
            channel, payload = data[:1], data[1:]
            if channel == bytes([STDIN]) and payload:
                return Input(payload)
            if channel == bytes([CLOSE]) and payload[:1] == bytes([STDIN]) and self._socket.ws_protocol == V5:
                return Input(b"")
            if channel == bytes([RESIZE]) and (size := size_of(payload)) is not None:
                return size
        return None

    async def send(self, channel: int, data: bytes) -> None:
        await self._socket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            if self._socket.ws_protocol != V1:
                await self.send(ERROR, json.dumps(status).encode())
            elif status["status"] != "Success":
                await self.send(ERROR, str(status["message"]).encode())
            await self._socket.close()


def exit_status(code: int) -> dict[str, Any]:
    """The Status of a process that has ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    message = f"command terminated with non-zero exit code: exit status {code}"
    status = failure("NonZeroExitCode", message, None)
    return status | {"details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}


def failure(reason: str, message: str, code: int | None) -> dict[str, Any]:
    status: dict[str, Any] = {"metadata": {}, "status": "Failure", "message": message, "reason": reason}
    return status | ({"code": code} if code is not None else {})
