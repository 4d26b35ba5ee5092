"""The API server's own figures, beside raw etcd's on the same machine and disk. Every write is durable (fsync) before
it is acknowledged. Server and clients share the machine; clients are connections over TLS that send the next request
when the last was answered. The peer is a loop of etcd puts of as many bytes, without API, by as many callers."""

import asyncio
import contextlib
import functools
import json
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.measure import Row
from weft.core.settings import Settings, free_port

CLIENTS = (1, 16, 128)
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
_CONTINUE = re.compile(rb'"continue":"([^"]+)"')
_SECONDS = 3.0
_WATCHERS = 1000
_MANY = 10_000
_OBJECTS = 50_000


class Server:
    """`weft server` in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings.load_or_create(root, api_port=free_port())

    def start(self) -> float:
        """Seconds until the API answers."""
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), "server"]
        began = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError, FileNotFoundError):
                socket.create_connection(("127.0.0.1", self.settings.api_port), 1).close()
                return time.perf_counter() - began
            time.sleep(0.005)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def memory(self) -> float:
        """Megabytes in RAM."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu(self) -> float:
        """Seconds of processor time, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def context(self) -> ssl.SSLContext:
        pki = self.settings.paths.pki
        context = ssl.create_default_context(cafile=pki / "ca.crt")
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context


class Connection(asyncio.Protocol):
    """HTTP/1.1 with as little work as can be: what is measured is the server."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self.on_line: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.on_line is not None:
            self.on_line(data)
            return
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._buffer.find(b"Content-Length: ", 0, head) + 16
        end = head + 4 + int(self._buffer[start : self._buffer.index(b"\r\n", start)])
        if len(self._buffer) >= end and self._answer is not None:
            answer, self._buffer = bytes(self._buffer[:end]), self._buffer[end:]
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def send(self, request: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        answer = await self._answer
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(answer[:1000].decode(errors="replace"))
        return answer


def request(method: str, path: str, body: bytes = b"", media: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
    if body:
        head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def pod(name: str) -> bytes:
    """A pod of the size that controllers make; no scheduler looks at it, for that would be more writes."""
    labels = {"app": "web", "tier": "front", "pod-template-hash": "78vmd6mmzq"}
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    container = {
        "name": "web",
        "image": "registry.example.com/team/web:1.2.3",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "MODE", "value": "production"}, {"name": "LEVEL", "value": "info"}],
        "resources": resources,
    }
    spec = {"schedulerName": "none", "containers": [container]}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    ).encode()


@contextlib.asynccontextmanager
async def connections(server: Server, count: int) -> AsyncIterator[list[Connection]]:
    loop, context = asyncio.get_running_loop(), server.context()
    made: list[Connection] = []
    for _ in range(count):
        _, connection = await loop.create_connection(Connection, "127.0.0.1", server.settings.api_port, ssl=context)
        made.append(connection)
    yield made
    for connection in made:
        connection.transport.close()
    await asyncio.sleep(0)


@dataclass(frozen=True)
class Rate:
    """`cpu` is the server's, in microseconds a request: what is left of noise where others use the machine too."""

    per_second: float
    cpu: float


async def rate(server: Server, count: int, make: Callable[[int], bytes], seconds: float = _SECONDS) -> Rate:
    """Of so many clients; `make` gives the n-th request."""
    async with connections(server, count) as clients:
        await asyncio.sleep(0.5)  # the server ends its handshakes after the clients do
        done = 0
        until = 0.0

        async def work(client: Connection) -> None:
            nonlocal done
            while time.perf_counter() < until:
                done += 1
                await client.send(make(done))

        began, spent = time.perf_counter(), server.cpu()
        until = began + seconds
        await asyncio.gather(*(work(client) for client in clients))
        return Rate(done / (time.perf_counter() - began), (server.cpu() - spent) / done * 1e6)


async def fill(server: Server, path: str, make: Callable[[int], bytes], count: int) -> None:
    async with connections(server, 64) as clients:
        numbers = iter(range(count))

        async def work(client: Connection) -> None:
            for n in numbers:
                await client.send(request("POST", path, make(n)))

        await asyncio.gather(*(work(client) for client in clients))


async def timed(server: Server, path: str, runs: int = 5) -> float:
    """Milliseconds of a GET."""
    times = []
    async with connections(server, 1) as (client,):
        for _ in range(runs):
            began = time.perf_counter()
            await client.send(request("GET", path))
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def paged(server: Server, path: str, limit: int) -> float:
    """Milliseconds of a whole list in pages."""
    async with connections(server, 1) as (client,):
        began, token = time.perf_counter(), ""
        while True:
            answer = await client.send(request("GET", f"{path}?limit={limit}&continue={token}"))
            found = _CONTINUE.search(answer)
            if found is None:
                return (time.perf_counter() - began) * 1000
            token = found[1].decode()


async def watch_delays(server: Server, writes: int = 20) -> list[float]:
    """Milliseconds from sending a write to its arrival, for each of many watchers."""
    delays: list[float] = []
    async with connections(server, _WATCHERS) as watchers, connections(server, 1) as (writer,):
        sent = 0.0
        arrived = 0
        all_there = asyncio.Event()

        def on_line(data: bytes) -> None:
            nonlocal arrived
            if b"watched-" not in data:
                return
            delays.append((time.perf_counter() - sent) * 1000)
            arrived += 1
            if arrived == len(watchers):
                all_there.set()

        answer = await writer.send(request("GET", f"{MAPS}?limit=1"))
        version = json.loads(answer.partition(b"\r\n\r\n")[2])["metadata"]["resourceVersion"]
        for watcher in watchers:
            watcher.on_line = on_line
            watcher.transport.write(request("GET", f"{MAPS}?watch=1&resourceVersion={version}"))
        await asyncio.sleep(2)
        for n in range(writes):
            arrived, sent = 0, time.perf_counter()
            all_there.clear()
            await writer.send(request("POST", MAPS, json.dumps({"metadata": {"name": f"watched-{n}"}}).encode()))
            await asyncio.wait_for(all_there.wait(), 30)
    return sorted(delays)


@contextlib.contextmanager
def raw_etcd(directory: Path) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = ["etcd", "--data-dir", str(directory / "etcd"), "--log-level", "error"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += [
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        f"default={peer}",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield client.removeprefix("http://")
    finally:
        process.terminate()
        process.wait(20)


def etcd_puts(directory: Path, size: int) -> dict[int, float]:
    """Puts per second by number of callers."""
    from weft.store.base import Put
    from weft.store.etcd import TXN
    from weft.store.etcd_address import Address
    from weft.store.etcd_link import Link
    from weft.store.etcd_wire import Wire

    async def puts(endpoint: str, count: int) -> float:
        link = Link(Address.parse(f"etcd://{endpoint}"))
        wire, value = Wire(), b"x" * size
        done, began = 0, time.perf_counter()

        async def work() -> None:
            nonlocal done
            while time.perf_counter() < began + _SECONDS:
                done += 1
                await link.call(TXN, wire.txn(b"", [], [Put(f"/{done}", value)]))

        await asyncio.gather(*(work() for _ in range(count)))
        result = done / (time.perf_counter() - began)
        await link.close()
        return result

    with raw_etcd(directory) as endpoint:
        time.sleep(2)
        return {count: uvloop.run(puts(endpoint, count)) for count in CLIENTS}


def api_rates(server: Server) -> dict[tuple[str, int], Rate]:
    """By verb and number of clients."""
    asked: dict[str, Callable[[int, int], bytes]] = {
        "create": lambda count, n: request("POST", PODS, pod(f"c{count}-{n}")),
        "get": lambda count, n: request("GET", f"{PODS}/c1-{1 + n % 100}"),
        "list of 100": lambda count, n: request("GET", f"{PODS}?limit=100"),
        "patch": lambda count, n: request(
            "PATCH",
            f"{PODS}/c16-{1 + n % 1000}",
            json.dumps({"metadata": {"annotations": {"n": str(n)}}}).encode(),
            "application/merge-patch+json",
        ),
    }
    return {
        (verb, count): uvloop.run(rate(server, count, functools.partial(make, count)))
        for verb, make in asked.items()
        for count in CLIENTS
    }


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="weft-bench-", dir="/var/tmp") as directory:  # a disk, not memory
        root = Path(directory)
        server = Server(root / "rates")
        server.start()
        rates = api_rates(server)
        server.stop()
        size = len(pod("c128-1000")) + 1500  # what a pod takes as stored: with defaults and managed fields
        puts = etcd_puts(root, size)
        for (verb, count), value in rates.items():
            note = f"more is better; {value.cpu:.0f} µs of the server's CPU each"
            peer, theirs = ("etcd put", puts[count]) if verb == "create" else ("", None)
            yield Row(f"{verb}, {count} clients", "1/s", value.per_second, peer, theirs, note)

        server = Server(root / "watches")
        server.start()
        delays = uvloop.run(watch_delays(server))
        server.stop()
        yield Row(f"watch delay, {_WATCHERS} watchers, p50", "ms", statistics.median(delays))
        yield Row(f"watch delay, {_WATCHERS} watchers, p99", "ms", delays[int(len(delays) * 0.99)])

        server = Server(root / "many")
        server.start()
        time.sleep(2)
        empty = server.memory()
        uvloop.run(fill(server, PODS, lambda n: pod(f"p-{n:05}"), _MANY))
        yield Row("memory of an empty server", "MB", empty)
        yield Row(f"memory with {_MANY} pods", "MB", server.memory())
        yield Row(f"list of {_MANY} pods, whole", "ms", uvloop.run(timed(server, PODS)))
        yield Row(f"list of {_MANY} pods, pages of 500", "ms", uvloop.run(paged(server, PODS, 500)))
        uvloop.run(fill(server, MAPS, _config_map, _OBJECTS - _MANY))
        server.stop()
        yield Row(f"start with {_OBJECTS} objects", "ms", server.start() * 1000)
        server.stop()


def _config_map(number: int) -> bytes:
    return json.dumps({"metadata": {"name": f"m-{number:05}"}, "data": {"key": "value" * 20}}).encode()
