"""exec and attach over a WebSocket: subprotocols v4.channel.k8s.io and v5.channel.k8s.io (KEP-4006).

A message's first byte is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final Status as JSON, 4 a terminal's size;
in v5, 255 followed by a channel's number closes that channel. In: messages and a process. Out: the same, reversed.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from weft.container.base import ProcessStream
from weft.core.errors import WeftError

logger = logging.getLogger(__name__)

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
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


async def serve(request: web.Request, wish: Wish, open_stream: Open, *, report_exit: bool) -> web.StreamResponse:
    """Runs the session to its end. With `report_exit` the final Status bears the process's exit code."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    if not socket.can_prepare(request):
        return web.Response(status=400, text="unable to upgrade: a WebSocket is needed")
    await socket.prepare(request)
    if socket.ws_protocol not in PROTOCOLS:
        await socket.close(code=1002, message=b"offer v5.channel.k8s.io or v4.channel.k8s.io")
        return socket
    try:
        stream = await open_stream()
    except WeftError as error:
        await _finish(socket, failure("InternalError", f"error executing command in container: {error}", 500))
        return socket
    # An empty message tells the client that the process is there (kubernetes, remotecommand/websocket.go).
    await socket.send_bytes(bytes([STDOUT if wish.stdout else STDERR if wish.stderr else ERROR]))
    reader = asyncio.create_task(_from_client(socket, stream, wish))
    writer = asyncio.create_task(_to_client(socket, stream, wish))
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        if not writer.done():  # the client went away
            return socket
        writer.result()
        code = await stream.wait() if report_exit else 0
        await _finish(socket, exit_status(code))
    except (ConnectionError, WeftError) as error:
        logger.debug("a stream broke: %s", error)
    finally:
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)
        await stream.close()
    return socket


async def _from_client(socket: web.WebSocketResponse, stream: ProcessStream, wish: Wish) -> None:
    """Input and sizes to the process, until the client hangs up; the end of its input is not the end."""
    open_stdin = wish.stdin
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            continue
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if not data:
            continue
        channel, payload = data[0], data[1:]
        if channel == STDIN and open_stdin:
            await stream.write(payload)
        elif channel == CLOSE and payload[:1] == bytes([STDIN]) and socket.ws_protocol == PROTOCOLS[0]:
            if open_stdin:
                open_stdin = False
                await stream.close_stdin()
        elif channel == RESIZE:
            with contextlib.suppress(ValueError, TypeError, KeyError, WeftError, OSError):
                size = json.loads(payload)
                await stream.resize(int(size["Width"]), int(size["Height"]))


async def _to_client(socket: web.WebSocketResponse, stream: ProcessStream, wish: Wish) -> None:
    while (piece := await stream.read()) is not None:
        name, data = piece
        channel = STDERR if name == "stderr" else STDOUT
        if not (wish.stderr if channel == STDERR else wish.stdout):
            continue
        for start in range(0, len(data), _CHUNK):
            await socket.send_bytes(bytes([channel]) + data[start : start + _CHUNK])


async def _finish(socket: web.WebSocketResponse, status: Mapping[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await socket.close()


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
