"""A pod network of the test's own, and talk over sockets that live in its sandboxes; nothing may be left behind."""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from weft.core.errors import ConflictError
from weft.core.sandbox import PortBinding, Sandbox
from weft.core.settings import Settings
from weft.network.cluster.cleanup import remove_all
from weft.network.cluster.sandboxes import Sandboxes
from weft.network.southbound import netns
from weft.testing import leftovers

SECONDS = 5.0


def new_settings() -> Settings:
    root = Path(tempfile.mkdtemp(prefix="weft-g-", dir="/tmp")).resolve()
    return Settings.load_or_create(root, api_port=0, registry_port=0, kubelet_port=0)


def open_socket(where: Sandbox | None, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket in the sandbox, or in the host's namespace."""

    def work() -> socket.socket:
        opened = socket.socket(socket.AF_INET, kind)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setblocking(False)
        return opened

    return work() if where is None else netns.inside(Path(where.netns_path), work)


@dataclass
class Network:
    """An instance's pod network, and what talks over it."""

    settings: Settings
    sandboxes: Sandboxes
    _servers: list[asyncio.Server] = field(default_factory=list)
    _transports: list[asyncio.BaseTransport] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def pod(self, name: str, *ports: PortBinding) -> Sandbox:
        return await self.sandboxes.create(name, ports)

    async def serve(self, where: Sandbox | None, port: int, name: str, address: str = "0.0.0.0") -> int:
        """Says its name and whom it sees to everyone who connects, then echoes; returns the port."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                writer.write(f"{name} {writer.get_extra_info('peername')[0]}\n".encode())
                while line := await reader.readline():
                    writer.write(line)
            writer.close()
            self._tasks.discard(task)

        opened = open_socket(where)
        opened.bind((address, port))
        self._servers.append(await asyncio.start_server(talk, sock=opened))
        return int(opened.getsockname()[1])

    async def serve_udp(self, where: Sandbox | None, port: int, name: str) -> None:
        """Says its name and whom it sees for each datagram."""

        class Talk(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
                self.transport = transport

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                self.transport.sendto(f"{name} {addr[0]}\n".encode(), addr)

        opened = open_socket(where, socket.SOCK_DGRAM)
        opened.bind(("0.0.0.0", port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Talk, sock=opened)
        self._transports.append(transport)

    async def reopen(self) -> None:
        """Another process takes over."""
        await self.sandboxes.close()
        self.sandboxes = Sandboxes(self.settings)
        await self.sandboxes.open()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sandboxes.close()


async def connect(where: Sandbox | None, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    opened = open_socket(where)
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(opened, (address, port))
        return await asyncio.open_connection(sock=opened)
    except BaseException:
        opened.close()
        raise


async def ask(where: Sandbox | None, address: str, port: int) -> tuple[str, str]:
    """(name, whom it saw) of the server that answers."""
    reader, writer = await connect(where, address, port)
    try:
        async with asyncio.timeout(SECONDS):
            name, seen = (await reader.readline()).decode().split()
    finally:
        writer.close()
    return name, seen


async def ask_udp(where: Sandbox | None, address: str, port: int) -> tuple[str, str]:
    loop = asyncio.get_running_loop()
    with open_socket(where, socket.SOCK_DGRAM) as opened:
        await loop.sock_connect(opened, (address, port))
        await loop.sock_sendall(opened, b"?")
        async with asyncio.timeout(SECONDS):
            name, seen = (await loop.sock_recv(opened, 100)).decode().split()
    return name, seen


async def shell(*argv: str, check: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert not check or process.returncode == 0, f"{' '.join(argv)}: {output.decode()}"
    return output.decode()


@contextlib.asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Network]:
    """Up, then down; what bears the instance's name afterwards is a failure."""
    for _ in range(5):
        settings = settings or new_settings()
        run = settings.paths.run
        before = leftovers.snapshot(run)
        sandboxes = Sandboxes(settings)
        try:
            await sandboxes.open()
            break
        except ConflictError:  # another test, at the same time, chose the same subnet
            await sandboxes.close()
            shutil.rmtree(settings.paths.root)
            settings = None
    assert settings is not None
    network = Network(settings, sandboxes)
    try:
        yield network
    finally:
        await network.close()
        await remove_all(settings)
    after = leftovers.snapshot(run)
    left = leftovers.new(before, after, only=(settings.instance, str(run)))
    empty = {f"run files: {path}" for path in (run, run / "netns", run / "sandboxes")}
    assert set(left) <= empty
    shutil.rmtree(settings.paths.root)
