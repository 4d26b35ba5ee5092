"""kubectl port-forward and the Python client's, through API server and node into a pod's network namespace."""

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator

import kubernetes
import kubernetes.stream
import pytest
from forwarding import BULK, DIGEST, ECHO, SOURCE, node_with_servers

from weft.api.gvr import SERVICES
from weft.testing.apiserver import RunningServer


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with node_with_servers() as running:
        yield running


class Forward:
    """A running `kubectl port-forward`; `ports` are the local ones, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ports: list[int] = []

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()


@contextlib.asynccontextmanager
async def forward(server: RunningServer, *arguments: str, ports: int = 1, spdy: bool = False) -> AsyncIterator[Forward]:
    websockets = str(not spdy).lower()
    home = str(server.settings.paths.root)
    process = await asyncio.create_subprocess_exec(
        "kubectl", f"--kubeconfig={server.kubeconfig}", "port-forward", "--address=127.0.0.1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": home, "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets},
    )  # fmt: skip
    running = Forward(process)
    try:
        while len(running.ports) < ports:
            line = await running.line()
            found = re.match(r"Forwarding from 127.0.0.1:(\d+) -> \d+", line)
            assert found, line
            running.ports.append(int(found[1]))
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def ask(port: int, data: bytes) -> bytes:
    """Sends, ends, and reads to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    answer = await asyncio.wait_for(reader.read(), 30)
    await sending
    writer.close()
    return answer


@pytest.mark.parametrize("spdy", [False, True], ids=["websocket", "spdy"])
async def test_large_transfers_both_ways(server: RunningServer, spdy: bool) -> None:
    async with forward(server, "pod/p", f":{DIGEST}", f":{SOURCE}", f":{ECHO}", ports=3, spdy=spdy) as running:
        digest, source, echo = running.ports
        wanted = hashlib.sha256(BULK).hexdigest().encode()
        answers = await asyncio.gather(ask(digest, BULK), ask(source, b""), ask(echo, BULK), ask(digest, BULK))
        assert answers[0] == answers[3] == wanted
        assert hashlib.sha256(answers[1]).digest() == hashlib.sha256(BULK).digest()
        assert answers[2] == BULK
        small = [ask(echo, b"%d" % n) for n in range(40)]
        assert await asyncio.gather(*small) == [b"%d" % n for n in range(40)]


async def test_to_a_service_by_the_name_of_a_port(server: RunningServer) -> None:
    ports = [{"name": "www", "port": 8080, "targetPort": "digest"}]
    await server.local.create(
        SERVICES, {"metadata": {"name": "s"}, "spec": {"selector": {"app": "p"}, "ports": ports}}, "default"
    )
    async with forward(server, "service/s", ":www") as running:
        assert await ask(running.ports[0], b"x") == hashlib.sha256(b"x").hexdigest().encode()


async def test_a_port_where_nobody_listens(server: RunningServer) -> None:
    async with forward(server, "p", ":4711", f":{ECHO}", ports=2) as running:
        with contextlib.suppress(ConnectionError):
            assert await ask(running.ports[0], b"hello") == b""
        lines = [await running.line()]
        while "error" not in lines[-1].lower():
            lines.append(await running.line())
        assert re.search(
            r"an error occurred forwarding \d+ -> 4711: error forwarding port 4711 to pod [0-9a-f-]+, uid : "
            r"dial tcp 127.0.0.1:4711: connect: connection refused",
            lines[-1],
        )


async def test_pods_that_are_not_there(server: RunningServer) -> None:
    output = await server.kubectl("port-forward", "none", ":80", check=False)
    assert output.stderr == b'Error from server (NotFound): pods "none" not found\n'


@pytest.fixture
def core(server: RunningServer) -> Iterator[kubernetes.client.CoreV1Api]:
    client = kubernetes.config.new_client_from_config(str(server.kubeconfig))
    yield kubernetes.client.CoreV1Api(client)
    client.close()


async def test_python_client(core: kubernetes.client.CoreV1Api) -> None:
    def talk() -> tuple[bytes, bytes, str | None, str | None]:
        ports = f"{ECHO},{SOURCE},4711"
        stream = kubernetes.stream.portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports=ports)
        echo, source = stream.socket(ECHO), stream.socket(SOURCE)
        echo.settimeout(20)
        source.settimeout(20)
        echo.sendall(b"hello")
        answer = echo.recv(100)
        bulk = b""
        while len(bulk) < len(BULK) and (data := source.recv(1 << 20)):
            bulk += data
        while stream.error(4711) is None:
            pass
        errors = stream.error(ECHO), stream.error(4711)
        stream.close()
        while stream.connected:
            pass
        return answer, bulk, *errors

    answer, bulk, none, refused = await asyncio.wait_for(asyncio.to_thread(talk), 40)
    assert (answer, none) == (b"hello", None)
    assert bulk == BULK
    assert refused is not None
    assert refused.endswith("connection refused")
