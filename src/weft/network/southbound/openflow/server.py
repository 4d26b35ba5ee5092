"""Listens for switches and carries their channels: asyncio around `connection`, with one write a turn of the loop.

In: a `Handler` that is told of switches and what they send. Out: `Switch`, by which the handler asks and sends.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast

from weft.core.clock import Clock, SystemClock
from weft.core.errors import UnavailableError
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.connection import Connection, Dead, Done, Ready, Received

P = TypeVar("P", m.FlowStats, m.GroupDesc, m.GroupStats, m.PortStats, m.Port)


class Switch(asyncio.Protocol):
    """One switch while its channel lives."""

    def __init__(self, server: "OpenFlowServer") -> None:
        self._server = server
        self._clock = server.clock
        self._core = Connection(self._clock.monotonic(), echo_after=server.echo_after, dead_after=server.dead_after)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._cause = "the switch closed the channel"
        self._announced = False

    @property
    def datapath(self) -> int:
        if self._core.features is None:
            raise UnavailableError("cannot name the switch: it has not said who it is")
        return self._core.features.datapath

    # What users do.

    def send(self, message: m.Message) -> None:
        self._core.send(message)
        self._flush_soon()

    async def request(self, message: m.Request) -> Done:
        return await self._wait(self._core.request(message))

    async def batch(self, messages: Sequence[m.Message]) -> Done:
        return await self._wait(self._core.batch(messages))

    async def bundle(self, messages: Sequence[m.FlowMod | m.GroupMod]) -> Done:
        return await self._wait(self._core.bundle(messages))

    async def read(self, request: m.StatsRequest, kind: type[P]) -> list[P]:
        """All parts of a multipart reply; UnavailableError if the switch refuses."""
        done = await self.request(request)
        if done.failures:
            raise UnavailableError(f"cannot read {kind.__name__}: {done.failures[0].error}")
        return [
            part for each in done.replies if isinstance(each, m.Multipart) for part in each.parts
            if isinstance(part, kind)
        ]  # fmt: skip

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _wait(self, xid: int) -> Done:
        if self._transport is None or self._core.is_dead:
            raise UnavailableError("cannot ask the switch: its channel is closed")
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[xid] = future
        self._flush_soon()
        try:
            return await future
        finally:
            self._waiting.pop(xid, None)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # not an instance with uvloop
        self._server.channels.add(self)
        self._flush_soon()
        self._tick()

    def data_received(self, data: bytes) -> None:
        self._carry_out(self._core.receive(data, self._clock.monotonic()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.channels.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(UnavailableError(f"cannot hear from the switch: {self._cause}"))
        if self._announced:
            self._server.handler.disconnected(self, self._cause)

    def _carry_out(self, events: Sequence[Ready | Received | Done | Dead]) -> None:
        for event in events:
            match event:
                case Ready():
                    self._announced = True
                    self._server.handler.connected(self)
                case Received():
                    if self._announced:  # what comes before is told again by the first reading of the switch
                        self._server.handler.received(self, event.message)
                case Done():
                    future = self._waiting.get(event.xid)
                    if future is not None and not future.done():
                        future.set_result(event)
                case Dead():
                    self._cause = event.cause
                    self._flush()
                    self.close()
        if self._core.has_output:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and self._core.has_output:
            self._transport.write(self._core.take())

    def _tick(self) -> None:
        if self._transport is None:
            return
        self._carry_out(self._core.tick(self._clock.monotonic()))
        wait = max(0.01, self._core.deadline - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)


class Handler(Protocol):
    """Who is told; all calls come from the loop and must not block."""

    def connected(self, switch: Switch) -> None: ...
    def received(self, switch: Switch, message: m.Message) -> None: ...
    def disconnected(self, switch: Switch, cause: str) -> None: ...


class OpenFlowServer:
    """`listen` on a TCP port of the loopback (0 takes a free one, see `port`) or on a Unix socket."""

    def __init__(
        self, handler: Handler, *, clock: Clock | None = None, echo_after: float = 5.0, dead_after: float = 10.0
    ) -> None:
        self.handler = handler
        self.clock = clock or SystemClock()
        self.echo_after, self.dead_after = echo_after, dead_after
        self.channels: set[Switch] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self, where: Path | tuple[str, int] = ("127.0.0.1", 6653)) -> None:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(where, Path):
                self._server = await loop.create_unix_server(lambda: Switch(self), str(where))
            else:
                self._server = await loop.create_server(lambda: Switch(self), *where)
                self.port = self._server.sockets[0].getsockname()[1]
        except OSError as error:
            raise UnavailableError(f"cannot listen for switches at {where}: {error}")

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for switch in list(self.channels):
            switch.close()
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.sleep(0)  # lets the channels say that they are lost
