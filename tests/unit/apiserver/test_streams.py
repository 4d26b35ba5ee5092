"""Logs, exec and attach through the API server to a node that stands in for the real one, by the real protocol."""

import json
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from weft.api.gvr import NODES, PODS
from weft.apiserver.pki import Pki
from weft.core.settings import free_port
from weft.testing.apiserver import RunningServer

EXIT_7 = {
    "metadata": {},
    "status": "Failure",
    "reason": "NonZeroExitCode",
    "message": "command terminated with non-zero exit code: exit status 7",
    "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
}
POD = "/api/v1/namespaces/default/pods/p"


@pytest.fixture
async def node(server: RunningServer) -> AsyncIterator[list[str]]:
    """A node with a pod of one container; the list fills with the requests that it got."""
    seen: list[str] = []
    port = free_port()

    async def logs(request: web.Request) -> web.StreamResponse:
        seen.append(request.path_qs)
        if "previous" in request.query:
            return web.Response(status=400, text='previous terminated container "main" in pod "p" not found')
        response = web.StreamResponse()
        await response.prepare(request)
        for n in range(3):
            await response.write(b"line %d\n" % n)
        return response

    async def connect(request: web.Request) -> web.StreamResponse:
        seen.append(request.path_qs)
        if request.path.endswith("/gone"):
            return web.Response(status=404)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"), max_msg_size=0)
        await socket.prepare(request)
        if request.query.get("command") == "greet":
            await socket.send_bytes(b"\x01hello\n")
            await socket.send_bytes(b"\x02trouble\n")
            await socket.send_bytes(b"\x03" + json.dumps(EXIT_7).encode())
            await socket.close()
            return socket
        async for message in socket:
            if message.data == b"\x00quit":
                await socket.send_bytes(b'\x03{"status":"Success"}')
                break
            await socket.send_bytes(b"\x01" + message.data[1:].upper())
        await socket.close()
        return socket

    pki = Pki(server.settings.paths.pki)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.certificate("kubelet"), pki.key("kubelet"))
    context.load_verify_locations(pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.router.add_get("/containerLogs/{path:.*}", logs)
    app.router.add_get("/{kind:exec|attach|portForward}/{path:.*}", connect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    endpoint = {"weft.dev/kubelet-endpoint": f"https://127.0.0.1:{port}"}
    await server.local.create(NODES, {"metadata": {"name": "n1", "annotations": endpoint}})
    container = {"name": "main", "image": "i"}
    for name, containers in (("p", [container]), ("two", [container, {"name": "gone", "image": "i"}])):
        spec = {"nodeName": "n1", "containers": containers}
        await server.local.create(PODS, {"metadata": {"name": name}, "spec": spec}, "default")
    yield seen
    await runner.cleanup()


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    pki = Pki(server.settings.paths.pki)
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    base = f"https://127.0.0.1:{server.settings.api_port}"
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def test_logs(http: aiohttp.ClientSession, node: list[str]) -> None:
    answer = await http.get(f"{POD}/log?tailLines=5&follow=true&unknown=1")
    assert await answer.text() == "line 0\nline 1\nline 2\n"
    assert answer.content_type == "text/plain"
    assert node == ["/containerLogs/default/p/main?follow=true&tailLines=5"]


async def test_logs_over_a_websocket(http: aiohttp.ClientSession, node: list[str]) -> None:
    async with http.ws_connect(f"{POD}/log?container=main", protocols=["binary.k8s.io"]) as socket:
        assert socket.protocol == "binary.k8s.io"
        assert b"".join([message.data async for message in socket]) == b"line 0\nline 1\nline 2\n"


async def test_kubectl_logs(server: RunningServer, node: list[str]) -> None:
    output = await server.kubectl("logs", "p", "--tail=2", "-f")
    assert output.stdout == b"line 0\nline 1\nline 2\n"
    failed = await server.kubectl("logs", "p", "--previous", check=False)
    assert b'(BadRequest): previous terminated container "main" in pod "p" not found' in failed.stderr


async def test_kubectl_exec(server: RunningServer, node: list[str]) -> None:
    output = await server.kubectl("exec", "p", "--", "greet", check=False)
    assert output.code == 7
    assert output.stdout == b"hello\n"
    assert output.stderr == b"trouble\ncommand terminated with exit code 7\n"
    failed = await server.kubectl("exec", "two", "-c", "gone", "--", "ls", check=False)
    assert b'container not found ("gone")' in failed.stderr


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        (f"{POD}/log?container=x", 400, "container x is not valid for pod p"),
        (f"{POD[:-1]}two/log", 400, "a container name must be specified for pod two, choose one of: [main gone]"),
        (f"{POD}/log?tailLines=few", 400, "tailLines"),
        (f"{POD}/log?sinceTime=noon", 400, "sinceTime"),
        (f"{POD[:-1]}none/log", 404, 'pods "none" not found'),
        (f"{POD}/exec?command=ls&stdout=1", 400, "Upgrade request required"),
    ],
)
async def test_refused(http: aiohttp.ClientSession, node: list[str], path: str, code: int, text: str) -> None:
    answer = await http.get(path)
    body = await answer.json()
    assert (answer.status, body["code"]) == (code, code)
    assert text in body["message"]


@pytest.mark.parametrize("kind", ["exec", "attach"])
@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_streams(http: aiohttp.ClientSession, node: list[str], kind: str, protocol: str) -> None:
    url = f"{POD}/{kind}?command=a%20b&command=c&stdin=true&stdout=true"
    async with http.ws_connect(url, protocols=["other", protocol], max_msg_size=0) as socket:
        assert socket.protocol == protocol
        big = b"x" * 1_000_000
        for data in (b"hello", big):
            await socket.send_bytes(b"\x00" + data)
            assert await socket.receive_bytes(timeout=5) == b"\x01" + data.upper()
        await socket.send_bytes(b"\x00quit")
        assert await socket.receive_bytes(timeout=5) == b'\x03{"status":"Success"}'
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    assert node == [f"/{kind}/default/p/main?command=a+b&command=c&stdin=true&stdout=true"]


async def test_refused_upgrades(http: aiohttp.ClientSession, server: RunningServer, node: list[str]) -> None:
    spdy = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    answer = await http.post(f"{POD[:-1]}two/exec?command=ls&stdout=1&container=gone", headers=spdy)
    assert answer.status == 404
    assert 'container not found ("gone")' in (await answer.json())["message"]
    old = spdy | {"X-Stream-Protocol-Version": "v2.channel.k8s.io, channel.k8s.io"}
    answer = await http.post(f"{POD}/exec?command=ls&stdout=1", headers=old)
    assert answer.status == 403
    assert "unable to negotiate protocol" in (await answer.json())["message"]
    for url, protocols, code in (
        (f"{POD}/exec?stdout=1", ["v5.channel.k8s.io"], 400),
        (f"{POD}/exec?command=ls", ["v5.channel.k8s.io"], 400),
        (f"{POD}/exec?command=ls&stdout=1", ["v1.channel.k8s.io"], 400),
        (f"{POD}/portforward?ports=70000", ["v4.channel.k8s.io"], 400),
        (f"{POD}/portforward?ports=80", ["v1.channel.k8s.io"], 400),
        (f"{POD[:-1]}two/exec?command=ls&stdout=1&container=gone", ["v5.channel.k8s.io"], 404),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(url, protocols=protocols)
        assert caught.value.status == code


async def test_a_node_that_is_away(server: RunningServer) -> None:
    gone = {"weft.dev/kubelet-endpoint": f"https://127.0.0.1:{free_port()}"}
    await server.local.create(NODES, {"metadata": {"name": "n2", "annotations": gone}})
    spec = {"nodeName": "n2", "containers": [{"name": "main", "image": "i"}]}
    await server.local.create(PODS, {"metadata": {"name": "q"}, "spec": spec}, "default")
    failed = await server.kubectl("logs", "q", check=False)
    assert b"cannot reach node n2 of pod q" in failed.stderr
    failed = await server.kubectl("exec", "q", "--", "ls", check=False)
    assert b"cannot reach node n2 of pod q" in failed.stderr
