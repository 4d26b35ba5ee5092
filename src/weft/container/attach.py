"""The stdio of a container or exec, over conmon's attach socket.

conmon sends packets of one byte that names the stream (2 stdout, 3 stderr) and the data; what it receives is stdin.
It closes a container's stdin when an attached client closes its sending side, unless told to leave it open: that is
how `docker run -i` (StdinOnce) ends its input, and why a client that has no stdin must not hang up (`_linger`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Literal

_PACKET = 65536
_CHUNK = 8192  # conmon's own buffer is larger in all versions

Output = tuple[Literal["stdout", "stderr"], bytes]


class AttachStream:
    """Satisfies `ProcessStream`. It may be made before the container starts; it is connected then."""

    def __init__(
        self,
        *,
        stdin: bool,
        hang_up: bool,
        wait: Callable[[], Awaitable[int]],
        resize: Callable[[int, int], None],
        pid: int = 0,
    ) -> None:
        self.pid = pid
        self._stdin, self._hang_up = stdin, hang_up
        self._wait, self._resize = wait, resize
        self._connection: asyncio.Future[socket.socket | None] = asyncio.get_running_loop().create_future()
        self._lingering: asyncio.Task[None] | None = None

    def connected(self, connection: socket.socket) -> None:
        if self._connection.done():
            connection.close()
        else:
            self._connection.set_result(connection)

    def abandoned(self) -> None:
        """There will be no connection: the start failed or the container was removed."""
        if not self._connection.done():
            self._connection.set_result(None)

    async def read(self) -> Output | None:
        connection = await asyncio.shield(self._connection)
        if connection is None:
            return None
        try:
            packet = await asyncio.get_running_loop().sock_recv(connection, _PACKET)
        except OSError:
            return None
        if not packet:
            return None
        return ("stderr" if packet[0] == 3 else "stdout", packet[1:])

    async def write(self, data: bytes) -> None:
        connection = await asyncio.shield(self._connection)
        if connection is None or not self._stdin:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # it has ended; reading tells
            for start in range(0, len(data), _CHUNK):
                await loop.sock_sendall(connection, data[start : start + _CHUNK])

    async def close_stdin(self) -> None:
        connection = await asyncio.shield(self._connection)
        if connection is not None and self._stdin:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    async def resize(self, width: int, height: int) -> None:
        self._resize(width, height)

    async def wait(self) -> int:
        return await self._wait()

    async def close(self) -> None:
        if not self._connection.done():
            self.abandoned()
            return
        connection = self._connection.result()
        if connection is None or connection.fileno() < 0:
            return
        if self._hang_up or self._stdin:
            connection.close()
        else:
            self._lingering = asyncio.get_running_loop().create_task(self._linger(connection))

    async def _linger(self, connection: socket.socket) -> None:
        """Keeps the socket, so that stdin stays open for others, and drops what comes."""
        loop = asyncio.get_running_loop()
        try:
            while await loop.sock_recv(connection, _PACKET):
                pass
        except OSError:
            pass
        finally:
            connection.close()
