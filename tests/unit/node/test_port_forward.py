"""Port-forward's two framings over a real WebSocket, to servers of this test's own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weft.api.streams import spdy
from weft.api.streams.channels import PORT_FORWARD_TUNNEL, V4
from weft.core.errors import NotFoundError
from weft.node import port_forward

POD = {"metadata": {"uid": "u-1"}, "spec": {}}


async def dial(ports: dict[int, int], port: int) -> socket.socket:
    """Port 1 leads to an echo, 2 to a server that says "bye"; 3 has no network, and nobody listens at others."""
    if port == 3:
        raise NotFoundError("the pod has no network namespace now")
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", ports.get(port, 1)))
    except OSError:
        sock.close()
        raise
    return sock


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def _bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"bye")
    writer.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        await asyncio.start_server(_echo, "127.0.0.1") as echo,
        await asyncio.start_server(_bye, "127.0.0.1") as bye,
    ):
        ports = {1: echo.sockets[0].getsockname()[1], 2: bye.sockets[0].getsockname()[1]}

        async def handle(request: web.Request) -> web.StreamResponse:
            return await port_forward.serve(request, POD, partial(dial, ports))

        app = web.Application()
        app.router.add_get("/", handle)
        async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
            yield session


class Spdy:
    """A client's side; collects what each stream gets."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = spdy.Connection("client")
        self._socket = socket
        self.got: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()

    async def open(self, kind: str, port: int, pair: str, *, fin: bool = False) -> int:
        headers = {"streamtype": kind, "port": str(port)} | ({"requestid": pair} if pair else {})
        number = self.connection.open(headers, fin=fin)
        self.got[number] = b""
        await self.flush()
        return number

    async def flush(self) -> None:
        await self._socket.send_bytes(self.connection.to_send())

    async def until(self, *streams: int) -> None:
        """Receives until these have ended."""
        while not set(streams) <= self.ended | self.reset:
            for event in self.connection.receive(await self._socket.receive_bytes(timeout=5)):
                if isinstance(event, spdy.Received):
                    self.got[event.stream] += event.data
                    self.ended |= {event.stream} if event.fin else set()
                elif isinstance(event, spdy.WasReset):
                    self.reset.add(event.stream)


async def test_spdy_pairs(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/", protocols=[PORT_FORWARD_TUNNEL]) as socket:
        peer = Spdy(socket)
        # Two connections at once, the streams of the second in the other order.
        error_one = await peer.open("error", 1, "0", fin=True)
        data_two = await peer.open("data", 2, "1")
        data_one = await peer.open("data", 1, "0")
        error_two = await peer.open("error", 2, "1", fin=True)
        for piece in (b"hello ", b"world"):
            peer.connection.send(data_one, piece)
        peer.connection.send(data_one, b"", fin=True)
        peer.connection.send(data_two, b"", fin=True)
        await peer.flush()
        await peer.until(error_one, data_one, error_two, data_two)
        assert peer.got == {error_one: b"", data_one: b"hello world", error_two: b"", data_two: b"bye"}
        assert not peer.reset


async def test_spdy_without_numbers_of_pairs(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/", protocols=[PORT_FORWARD_TUNNEL]) as socket:
        peer = Spdy(socket)
        await peer.open("error", 2, "", fin=True)
        data = await peer.open("data", 2, "")
        await peer.until(data)
        assert peer.got[data] == b"bye"


@pytest.mark.parametrize(
    ("port", "why"),
    [(3, b"the pod has no network namespace now"), (9, b"dial tcp 127.0.0.1:9: connect: connection refused")],
)
async def test_spdy_errors_of_one_connection_leave_the_session(
    client: aiohttp.ClientSession, port: int, why: bytes
) -> None:
    async with client.ws_connect("/", protocols=[PORT_FORWARD_TUNNEL]) as socket:
        peer = Spdy(socket)
        error, data = await peer.open("error", port, "0", fin=True), await peer.open("data", port, "0")
        await peer.until(error, data)
        assert peer.got[error] == b"error forwarding port %d to pod u-1, uid : %s" % (port, why)
        for kind, bad in (("shell", 1), ("data", 70000)):
            await peer.until(await peer.open(kind, bad, kind))
        twice = [await peer.open("data", 1, "x"), await peer.open("data", 1, "x")]
        await peer.until(twice[1])
        assert len(peer.reset) == 3
        again = await peer.open("error", 2, "2", fin=True), await peer.open("data", 2, "2")
        await peer.until(again[1])
        assert peer.got[again[1]] == b"bye"


async def test_what_is_no_spdy_ends_the_session(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/", protocols=[PORT_FORWARD_TUNNEL]) as socket:
        await socket.send_bytes(bytes.fromhex("80020001 00000000"))
        assert (await socket.receive_bytes(timeout=5))[:4] == bytes.fromhex("80030007")
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_channels(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/?ports=1,2&ports=9", protocols=[V4]) as socket:
        begun = [await socket.receive_bytes(timeout=5) for _ in range(6)]
        assert begun == [
            bytes([channel, port, 0]) for channel, port in ((0, 1), (1, 1), (2, 2), (3, 2), (4, 9), (5, 9))
        ]
        await socket.send_bytes(b"\x00hello")
        await socket.send_bytes(b"\x07nobody's")
        got: dict[int, bytes] = {}
        while len(got) < 3 or got.get(0) != b"hello":
            message = await socket.receive_bytes(timeout=5)
            got[message[0]] = got.get(message[0], b"") + message[1:]
        assert got[2] == b"bye"
        assert got[5].endswith(b"connection refused")


async def test_channels_end_when_all_connections_have(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/?port=2", protocols=[V4]) as socket:
        messages = [message.data async for message in socket]
        assert messages == [b"\x00\x02\x00", b"\x01\x02\x00", b"\x00bye"]


@pytest.mark.parametrize("query", ["", "?ports=0", "?ports=x", "?ports=1,65536"])
async def test_what_is_refused(client: aiohttp.ClientSession, query: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(f"/{query}", protocols=[V4])
    assert caught.value.status == 400
