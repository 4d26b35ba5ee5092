"""A node with containers that are not there, but a real network namespace for each pod, in which servers listen."""

import asyncio
import contextlib
import hashlib
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from weft.api.gvr import PODS
from weft.container.base import ExecSpec
from weft.container.spec import Container
from weft.core.sandbox import PortBinding, Sandbox
from weft.core.settings import free_port
from weft.network.southbound import netns
from weft.node.agent import NodeAgent
from weft.testing.apiserver import RunningServer, api_server
from weft.testing.fakeengine import FakeEngine, FakeNetworking, FakeStream

ECHO, DIGEST, SOURCE = 7, 80, 19
"""Ports: what comes goes back; what came is answered with its SHA-256 at its end; BULK comes, then the end."""
RunExec = Callable[[Container, ExecSpec], FakeStream]
BULK = hashlib.sha512(b"weft").digest() * 200_000  # 12.8 MB


class Namespaces(FakeNetworking):
    """Sandboxes that are no more than a namespace with its loopback up."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    async def create(self, sandbox_id: str, ports: Sequence[PortBinding] = ()) -> Sandbox:
        made = await super().create(sandbox_id, ports)
        path = self._directory / sandbox_id
        if not netns.exists(path):
            netns.create(path)
            netns.inside(path, lambda: subprocess.run(["ip", "link", "set", "lo", "up"], check=True))
        return replace(made, netns_path=str(path))

    def get(self, sandbox_id: str) -> Sandbox | None:
        found = super().get(sandbox_id)
        return found and replace(found, netns_path=str(self._directory / sandbox_id))

    def remove_all(self) -> None:
        for path in self._directory.iterdir():
            netns.delete(path)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    digest = hashlib.sha256()
    while data := await reader.read(65536):
        digest.update(data)
    writer.write(digest.hexdigest().encode())
    writer.close()


async def _source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(BULK)
    await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def node_with_servers(run_exec: RunExec | None = None) -> AsyncIterator[RunningServer]:
    """An API server, its node, and the pod default/p (label app=p) with the three servers above on its 127.0.0.1.

    `run_exec` makes what `kubectl exec` runs in it.
    """
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(api_server())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wtpf", dir="/run")))
        networking = Namespaces(directory)
        stack.callback(networking.remove_all)
        settings = replace(running.settings, kubelet_port=free_port())
        engine = FakeEngine("busybox:1")
        if run_exec is not None:
            engine.containers.run_exec = run_exec
        agent = NodeAgent(settings, running.local, engine, networking)
        await agent.start()
        stack.push_async_callback(agent.close)
        container = {"name": "main", "image": "busybox:1", "ports": [{"name": "digest", "containerPort": DIGEST}]}
        pod = {
            "metadata": {"name": "p", "labels": {"app": "p"}},
            "spec": {"nodeName": "weft", "containers": [container]},
        }
        made = await running.local.create(PODS, pod, "default")
        while (await running.local.get(PODS, "p", "default")).get("status", {}).get("phase") != "Running":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        path = directory / made["metadata"]["uid"]
        for port, handler in ((ECHO, _echo), (DIGEST, _digest), (SOURCE, _source)):

            def listen(port: int = port) -> socket.socket:
                return socket.create_server(("127.0.0.1", port))

            server = await asyncio.start_server(handler, sock=netns.inside(path, listen))
            stack.callback(server.close)
        yield running
