"""A SPDY session whose bytes come as messages of a WebSocket, with streams that can be awaited.

In: an accepted WebSocket. Out: `SpdyStream`s as the client opens them. Who is next: `kubelet_streams` and
`port_forward`. Kubernetes's SPDY has no windows, so a stream that nobody reads holds up the whole session, but only
after `_HIGH_WATER` bytes of it are waiting.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import WSMsgType, web

from weft.api.streams import spdy
from weft.api.streams.spdy_headers import Headers
from weft.core.errors import ConflictError, InvalidError

logger = logging.getLogger(__name__)
_HIGH_WATER = 1 << 20


class SpdyStream:
    """One stream that the client opened."""

    def __init__(self, link: "SpdyLink", number: int, headers: Headers, ended: bool) -> None:
        self.number, self.headers = number, headers
        self._link = link
        self._received = bytearray()
        self._ended = ended
        self._unread = False
        self._wake, self._drained = asyncio.Event(), asyncio.Event()
        self._drained.set()

    async def read(self) -> bytes:
        """The next data; empty at the end, also where the end is a reset or the connection's."""
        while not self._received and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        data = bytes(self._received)
        self._received.clear()
        self._drained.set()
        return data

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Raises ConflictError where the stream is closed, ConnectionError where the connection is."""
        self._link.connection.send(self.number, data, fin=end)
        await self._link.flush()

    async def reset(self) -> None:
        self._link.connection.reset(self.number)
        self.leave_unread()
        await self._link.flush()

    def leave_unread(self) -> None:
        """What still comes is dropped, and holds nothing up."""
        self._unread = True
        self._received.clear()
        self._drained.set()

    async def put(self, data: bytes, *, end: bool) -> None:
        """The link's: takes what came, and waits where too much of it is unread."""
        if not self._unread:
            self._received += data
        self._ended = self._ended or end
        self._wake.set()
        if len(self._received) > _HIGH_WATER:
            self._drained.clear()
            await self._drained.wait()

    def end(self) -> None:
        """The link's: nothing more will come."""
        self._ended = True
        self._wake.set()


class SpdyLink:
    """`run` serves the session to its end; `opened` is called for each stream, which has been replied on."""

    def __init__(self, socket: web.WebSocketResponse, opened: Callable[[SpdyStream], None]) -> None:
        self.connection = spdy.Connection("server")
        self._socket = socket
        self._opened = opened
        self._streams: dict[int, SpdyStream] = {}
        self._writing = asyncio.Lock()

    async def flush(self) -> None:
        async with self._writing:
            if data := self.connection.to_send():
                await self._socket.send_bytes(data)

    async def run(self) -> None:
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    for event in self.connection.receive(message.data):
                        await self._take(event)
                    await self.flush()
        except InvalidError as error:
            logger.debug("a client broke SPDY's rules: %s", error)
            await self.flush()
        except ConnectionError as error:
            logger.debug("a SPDY session broke: %s", error)
        finally:
            for stream in self._streams.values():
                stream.end()

    async def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(number, headers, fin):
                stream = self._streams[number] = SpdyStream(self, number, headers, fin)
                try:
                    self.connection.reply(number, {})
                except ConflictError:  # opened for one direction and ended at once
                    return
                self._opened(stream)
            case spdy.Received(number, data, fin):
                await self._streams[number].put(data, end=fin)
                if fin:
                    del self._streams[number]
            case spdy.WasReset(number):
                if (stream_or_none := self._streams.pop(number, None)) is not None:
                    stream_or_none.end()
            case _:
                pass
