"""kubectl exec by WebSocket and, as older clients do, by SPDY: input to its end, both outputs, exit code, terminal."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator
from typing import Literal

import pytest
from forwarding import BULK, node_with_servers

from weft.container.base import ExecSpec
from weft.container.spec import Container
from weft.testing.apiserver import RunningServer
from weft.testing.fakeengine import FakeStream


class Program(FakeStream):
    """`cat`: its input to its end, then a word on stderr and exit code 7. `size`: the terminal's size, once known."""

    def __init__(self, spec: ExecSpec) -> None:
        super().__init__((), 7 if spec.command[0] == "cat" else 0)
        self._spec = spec
        self._pieces: asyncio.Queue[tuple[Literal["stdout", "stderr"], bytes] | None] = asyncio.Queue()
        if spec.command[0] == "cat" and not spec.stdin:
            self._pieces.put_nowait(None)

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        self._pieces.put_nowait(("stdout", data))

    async def close_stdin(self) -> None:
        self._pieces.put_nowait(("stderr", b"end\n"))
        self._pieces.put_nowait(None)

    async def resize(self, width: int, height: int) -> None:
        if self._spec.command[0] == "size":
            self._pieces.put_nowait(("stdout", f"{width}x{height} tty={self._spec.tty}".encode()))
            self._pieces.put_nowait(None)


def run_exec(container: Container, spec: ExecSpec) -> FakeStream:
    return Program(spec)


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with node_with_servers(run_exec) as running:
        yield running


@pytest.fixture(params=["true", "false"], ids=["websocket", "spdy"])
def framing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", request.param)


@pytest.mark.usefixtures("framing")
async def test_input_output_and_exit_code(server: RunningServer) -> None:
    text = BULK[: 1 << 20].hex()
    output = await server.kubectl("exec", "-i", "p", "--", "cat", stdin=text, check=False)
    assert output.code == 7
    assert output.stdout == text.encode()
    assert output.stderr == b"end\ncommand terminated with exit code 7\n"
    plain = await server.kubectl("exec", "p", "--", "cat", check=False)
    assert (plain.code, plain.stdout) == (7, b"")


@pytest.mark.usefixtures("framing")
async def test_a_terminals_size(server: RunningServer) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 121, 0, 0))
    process = await asyncio.create_subprocess_exec(
        "kubectl", f"--kubeconfig={server.kubeconfig}", "exec", "-it", "p", "--", "size",
        stdin=theirs, stdout=theirs, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(server.settings.paths.root)},
    )  # fmt: skip
    os.close(theirs)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    said = b""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 4096):
            said += data
    os.close(ours)
    assert (process.returncode, errors) == (0, b"")
    assert said == b"121x33 tty=True"


async def test_the_first_version_of_channels(server: RunningServer) -> None:
    """As Kubernetes's conformance suite execs: no Status at the end, and an error only in words."""
    import ssl

    import aiohttp

    directory = server.settings.paths.pki
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "admin.crt", directory / "admin.key")
    url = (
        f"https://127.0.0.1:{server.settings.api_port}/api/v1/namespaces/default/pods/p/exec?stdout=1&stderr=1&stdin=1"
    )
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.ws_connect(f"{url}&tty=0&command=cat", protocols=["channel.k8s.io"]) as socket,
    ):
        assert socket.protocol == "channel.k8s.io"
        assert await socket.receive_bytes(timeout=10) == b"\x01"
        await socket.send_bytes(b"\x00hello")
        assert await socket.receive_bytes(timeout=10) == b"\x01hello"
