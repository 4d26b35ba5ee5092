"""Port-forward: connections of a client's machine, taken to a port inside a pod.

In: a WebSocket from the API server, in one of two forms. SPDY (kubectl): for each connection a stream for errors and
one for data, with the port and a number that pairs them in their headers. Channels (the Python client): one
connection to each port that the query names. Out: TCP connections in the pod's network namespace.
Sources: kubernetes, `pkg/kubelet/.../portforward/{httpstream,websocket}.go`; KEP-4006.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from aiohttp import WSMsgType, web

from weft.api.streams import channels
from weft.client.base import Object
from weft.core.errors import ConflictError, InvalidError, NotFoundError, WeftError
from weft.core.sandbox import Networking
from weft.network.southbound import netns
from weft.node.spdy_link import SpdyLink, SpdyStream

logger = logging.getLogger(__name__)
PROTOCOLS = (channels.PORT_FORWARD_TUNNEL, channels.V4)
_CHUNK = 64 * 1024
_PAIR_SECONDS = 30.0

Dial = Callable[[int], Awaitable[socket.socket]]
"""Connects to a port of the pod; raises OSError or WeftError."""


class PodDialer:
    """Connects to ports inside pods, as a process there would to localhost."""

    def __init__(self, networking: Networking) -> None:
        self._networking = networking

    async def dial(self, pod: Object, port: int) -> socket.socket:
        """Raises OSError where nobody listens, NotFoundError where the pod has no network."""
        path = None
        if not pod["spec"].get("hostNetwork"):
            sandbox = self._networking.get(pod["metadata"]["uid"])
            if sandbox is None:
                raise NotFoundError("the pod has no network namespace now")
            path = Path(sandbox.netns_path)
        refused: OSError | None = None
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                return await _connect(path, family, address, port)
            except OSError as error:
                refused = refused or error  # IPv4's is told: it is what most servers listen on
        assert refused is not None
        raise refused


async def _connect(path: Path | None, family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    # A socket belongs to the namespace that it was made in, whichever thread uses it (network_namespaces(7)).
    sock = make() if path is None else await asyncio.to_thread(netns.inside, path, make)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _all_of(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def serve(request: web.Request, pod: Object, dial: Dial) -> web.StreamResponse:
    """Forwards until the client hangs up or, in channels, every connection has ended."""
    websocket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    if not websocket.can_prepare(request).ok:
        return web.Response(status=400, text="unable to upgrade: a WebSocket is needed")
    try:
        ports = channels.ports_of(request.query.getall("ports", []) + request.query.getall("port", []))
    except InvalidError as error:
        return web.Response(status=400, text=str(error))
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    tunnelled = channels.PORT_FORWARD_TUNNEL in offered
    if not tunnelled and not ports:
        return web.Response(status=400, text='query parameter "ports" is required')
    await websocket.prepare(request)
    if tunnelled:
        await _Pairs(websocket, pod, dial).run()
    elif websocket.ws_protocol == channels.V4:
        await _Channels(websocket, pod, dial, ports).run()
    else:
        await websocket.close(code=1002, message=f"offer one of {', '.join(PROTOCOLS)}".encode())
    return websocket


def _refusal(pod: Object, port: int, error: Exception) -> str:
    """In the kubelet's words."""
    cause = str(error)
    if isinstance(error, OSError) and error.errno:
        cause = f"dial tcp 127.0.0.1:{port}: connect: {os.strerror(error.errno).lower()}"
    return f"error forwarding port {port} to pod {pod['metadata']['uid']}, uid : {cause}"


class _Pairs:
    """A session in SPDY."""

    def __init__(self, websocket: web.WebSocketResponse, pod: Object, dial: Dial) -> None:
        self._pod, self._dial = pod, dial
        self._link = SpdyLink(websocket, self._opened)
        self._waiting: dict[str, SpdyStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            await self._link.run()
        finally:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _opened(self, stream: SpdyStream) -> None:
        kind, pair = stream.headers.get("streamtype", ""), stream.headers.get("requestid", "")
        try:
            if kind not in ("error", "data") or not channels.ports_of([stream.headers.get("port", "")]):
                raise InvalidError(f'"{kind}" is not a stream type: error or data is expected')
        except InvalidError as error:
            self._start(self._refuse(stream, str(error)))
            return
        # Clients that send no number open the error stream first and the data stream right after it.
        pair = pair or str(stream.number - (2 if kind == "data" else 0))
        other = self._waiting.pop(pair, None)
        if other is None:
            self._waiting[pair] = stream
            self._start(self._expire(pair, stream))
        elif other.headers["streamtype"] == kind:
            self._start(self._refuse(stream, f"pair {pair} has two {kind} streams"))
        else:
            data, errors = (stream, other) if kind == "data" else (other, stream)
            self._start(self._forward(data, errors))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            with contextlib.suppress(ConnectionError, ConflictError):  # the client ended it
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refuse(self, stream: SpdyStream, why: str) -> None:
        logger.debug("a stream of port-forward is refused: %s", why)
        await stream.reset()

    async def _expire(self, pair: str, stream: SpdyStream) -> None:
        await asyncio.sleep(_PAIR_SECONDS)
        if self._waiting.get(pair) is stream:
            del self._waiting[pair]
            await stream.reset()

    async def _forward(self, data: SpdyStream, errors: SpdyStream) -> None:
        port = int(data.headers["port"])
        errors.leave_unread()
        try:
            sock = await self._dial(port)
        except (OSError, WeftError) as error:
            data.leave_unread()
            await errors.write(_refusal(self._pod, port, error).encode(), end=True)
            await data.write(b"", end=True)
            return
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            upwards = asyncio.create_task(self._upwards(data, writer))
            try:
                await self._downwards(reader, data)
                await upwards
            finally:
                upwards.cancel()
                await asyncio.gather(upwards, return_exceptions=True)
            await errors.write(b"", end=True)
        finally:
            data.leave_unread()
            writer.close()

    async def _upwards(self, data: SpdyStream, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # the pod hears no more: what it says may still be read
            while piece := await data.read():
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

    async def _downwards(self, reader: asyncio.StreamReader, data: SpdyStream) -> None:
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(_CHUNK):
                await data.write(piece)
        await data.write(b"", end=True)


class _Channels:
    """A session in channels."""

    def __init__(self, websocket: web.WebSocketResponse, pod: Object, dial: Dial, ports: list[int]) -> None:
        self._websocket, self._pod, self._dial, self._ports = websocket, pod, dial, ports
        self._writers: list[asyncio.Future[asyncio.StreamWriter | None]] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._writers = [loop.create_future() for _ in self._ports]
        for index, port in enumerate(self._ports):
            for message in channels.first_messages(index, port):
                await self._websocket.send_bytes(message)
        connections = [asyncio.create_task(self._connection(index)) for index in range(len(self._ports))]
        client = asyncio.create_task(self._from_client())
        ended = asyncio.create_task(_all_of(connections))
        try:
            await asyncio.wait({client, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (client, *connections):
                task.cancel()
            await asyncio.gather(client, ended, return_exceptions=True)
            await self._websocket.close()

    async def _connection(self, index: int) -> None:
        port = self._ports[index]
        try:
            sock = await self._dial(port)
        except (OSError, WeftError) as error:
            self._writers[index].set_result(None)
            message = _refusal(self._pod, port, error).encode()
            await self._websocket.send_bytes(bytes([2 * index + 1]) + message)
            return
        reader, writer = await asyncio.open_connection(sock=sock)
        self._writers[index].set_result(writer)
        try:
            with contextlib.suppress(ConnectionResetError):
                while piece := await reader.read(_CHUNK):
                    await self._websocket.send_bytes(bytes([2 * index]) + piece)
        finally:
            writer.close()

    async def _from_client(self) -> None:
        async for message in self._websocket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            index, is_error = divmod(message.data[0], 2)
            if is_error or index >= len(self._ports):
                continue
            writer = await self._writers[index]
            if writer is not None and not writer.is_closing():
                writer.write(message.data[1:])
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
