"""Taking an HTTP connection over: from then on it carries raw bytes both ways, half-close included.

In: aiohttp's request, and the head of the answer. Out: a stream to read and to write. Docker's attach and exec and
Kubernetes's SPDY are carried so (RFC 9110, 7.8, "Upgrade").
"""

import asyncio

from aiohttp import web

from weft.core.errors import InvalidError

_HIGH_WATER = 1 << 18


class UpgradedStream(asyncio.Protocol):
    """Reads until the client closes its sending side; writes wait for a slow client."""

    def __init__(self, transport: asyncio.Transport, former: asyncio.BaseProtocol) -> None:
        self._transport = transport
        self._former = former
        self._received = bytearray()
        self._eof = False
        self._lost = False
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _HIGH_WATER:
            self._transport.pause_reading()
        self._wake.set()

    # aiohttp hands over what it has read already by these two (RequestHandler.set_parser)
    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        self.eof_received()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake.set()
        return self._transport.get_extra_info("sslcontext") is None  # without TLS, the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        self._eof = self._lost = True
        self._wake.set()
        self._writable.set()
        self._former.connection_lost(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._received and not self._eof:
            self._wake.clear()
            await self._wake.wait()
        data = bytes(self._received)
        self._received.clear()
        if not self._eof and not self._transport.is_reading():
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if not self._lost:
            self._transport.write(data)
            await self._writable.wait()

    def close(self) -> None:
        self._transport.close()


class Done(web.StreamResponse):
    """What the handler of a connection that was taken over returns: nothing more is to be sent."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def take_over(request: web.Request, head: str) -> UpgradedStream:
    """Answers with `head` (status line and headers) and takes over. The body, if any, must have been read."""
    transport = request.transport
    if transport is None:
        raise InvalidError("cannot take the connection over: the client is gone")
    former = request.protocol
    stream = UpgradedStream(transport, former)
    former.set_parser(stream)  # type: ignore[arg-type]  # it wants feed_data and feed_eof
    transport.set_protocol(stream)
    if not transport.is_reading():
        transport.resume_reading()
    transport.write(f"{head}\r\n".encode())
    return stream
