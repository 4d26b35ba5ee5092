"""Logs, exec, attach and port-forward: handed on to the node that runs the pod.

In: a client's request on a pod. Out: the node's answer, as it comes. The node's address stands in an annotation of
its Node; the API server shows it the certificate `apiserver-kubelet-client`. WebSocket messages are passed one by
one, each side waiting for the other to take them; the bytes of a client that speaks bare SPDY are carried in such
messages too. Paths are the kubelet's (kubernetes, `pkg/kubelet/server`). What is in them, the node knows.
"""

import asyncio
import contextlib
import ssl
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import web

from weft.api.gvr import NODES
from weft.api.status import ApiError, bad_request
from weft.api.streams import channels
from weft.apiserver.api import Api, Object
from weft.apiserver.pki import Pki
from weft.apiserver.request import Request, flag, number
from weft.apiserver.verbs.get import get
from weft.core.clock import parse_rfc3339
from weft.core.errors import InvalidError
from weft.core.upgraded import Done, UpgradedStream, take_over

ENDPOINT_ANNOTATION = "weft.dev/kubelet-endpoint"
_LOG_OPTIONS = ("follow", "tailLines", "previous", "timestamps", "sinceSeconds", "sinceTime", "limitBytes")
_CHUNK = 64 * 1024
_CHANNELS = (channels.V5, channels.V4, channels.V1)


class Streams:
    """Connections to nodes; opened when they are first needed."""

    def __init__(self, api: Api, pki: Pki) -> None:
        self._api = api
        self._pki = pki
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def serve(self, http: web.Request, request: Request) -> web.StreamResponse:
        pod = get(self._api, request)
        if request.subresource == "log":
            return await self._log(http, request, pod)
        return await self._connect(http, request, pod)

    async def _log(self, http: web.Request, request: Request, pod: Object) -> web.StreamResponse:
        _check_log_options(http)
        container = _container(pod, http.query.get("container", ""))
        headers = {"Content-Type": "text/plain", "Cache-Control": "no-cache, private"}
        if not pod["spec"].get("nodeName"):
            return web.Response(headers=headers)
        options = {name: http.query[name] for name in _LOG_OPTIONS if name in http.query}
        url = self._url(pod, "containerLogs", container) + "?" + urlencode(options)
        try:
            async with self._client().get(url, timeout=aiohttp.ClientTimeout(sock_connect=10)) as answer:
                if answer.status != 200:
                    raise _node_error(answer.status, await answer.text())
                if http.headers.get("Upgrade", "").lower() == "websocket":
                    return await _log_messages(http, answer.content)
                response = web.StreamResponse(headers=headers)
                response.enable_chunked_encoding()
                await response.prepare(http)
                with contextlib.suppress(aiohttp.ClientError):  # the node went: what came is what there is
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientConnectionError as error:
            raise _unreachable(pod, error) from None

    async def _connect(self, http: web.Request, request: Request, pod: Object) -> web.StreamResponse:
        kind = request.subresource
        upgrade = http.headers.get("Upgrade", "").lower()
        if upgrade != "websocket" and "spdy" not in upgrade:
            raise bad_request("Upgrade request required")
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {request.name} does not have a host assigned")
        phase = (pod.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            raise bad_request(f"cannot {kind} into a container in a completed pod; current phase is {phase}")
        offered = [p.strip() for p in http.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
        container = ""
        if kind == "portforward":
            try:
                ports = channels.ports_of(http.query.getall("ports", []))
            except InvalidError as error:
                raise bad_request(str(error)) from None
            url = self._url(pod, "portForward", "") + "?" + urlencode([("ports", port) for port in ports])
        else:
            container = _container(pod, http.query.get("container", ""))
            _check_streams(http)
            options = [(key, value) for key, value in http.query.items() if key != "container"]
            url = self._url(pod, kind, container) + "?" + urlencode(options)
        bare = upgrade != "websocket"
        tunnel = channels.PORT_FORWARD_TUNNEL if kind == "portforward" else channels.COMMAND_TUNNEL
        if bare:
            version = _spdy_version(http, channels.PORT_FORWARD_VERSION if kind == "portforward" else channels.V4)
            offered = [tunnel]
        else:
            known = (channels.PORT_FORWARD_TUNNEL, channels.V4) if kind == "portforward" else _CHANNELS
            offered = [protocol for protocol in offered if protocol in known]
            if not offered:
                raise bad_request(f"unable to upgrade: offer one of the subprotocols {', '.join(known)}")
        try:
            async with self._client().ws_connect(url, protocols=offered, max_msg_size=0) as node:
                if bare:
                    return await _serve_bare(http, node, version)
                client = web.WebSocketResponse(protocols=(node.protocol,) if node.protocol else (), max_msg_size=0)
                await client.prepare(http)
                await _pump_both(client, node)
                return client
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 404 and container:
                text = f'unable to upgrade connection: container not found ("{container}")'
                raise ApiError("NotFound", text) from None
            raise _node_error(error.status, f"unable to upgrade connection: the node answered {error.status}") from None
        except aiohttp.ClientConnectionError as error:
            raise _unreachable(pod, error) from None

    def _url(self, pod: Object, what: str, container: str) -> str:
        metadata = pod["metadata"]
        parts = [self._endpoint(pod["spec"]["nodeName"]), what, metadata["namespace"], metadata["name"]]
        if container:
            parts.append(container)
        return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:])])

    def _endpoint(self, name: str) -> str:
        rtype = self._api.kinds.by_gvr(NODES)
        node = self._api.objects.get(rtype, None, name) if rtype is not None else None
        if node is None:
            raise ApiError("NotFound", f'nodes "{name}" not found', kind="nodes", name=name)
        endpoint = (node["metadata"].get("annotations") or {}).get(ENDPOINT_ANNOTATION)
        if isinstance(endpoint, str) and endpoint:
            return endpoint.rstrip("/")
        status = node.get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        for address in status.get("addresses") or []:
            if address.get("type") == "InternalIP" and port:
                return f"https://{address['address']}:{port}"
        raise ApiError("ServiceUnavailable", f"node {name} has not said where it can be reached")

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=str(self._pki.ca))
            name = "apiserver-kubelet-client"
            context.load_cert_chain(self._pki.certificate(name), self._pki.key(name))
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_CHUNK)
        return self._session


def _spdy_version(http: web.Request, supported: str) -> str:
    """The version of the streams inside SPDY; raises ApiError in Kubernetes's words (apimachinery, httpstream)."""
    values = http.headers.getall("X-Stream-Protocol-Version", [])
    offered = [each.strip() for value in values for each in value.split(",") if each.strip()]
    if offered and supported not in offered:
        text = (
            f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts [{supported}]"
        )
        raise ApiError("Forbidden", text)
    return supported


async def _log_messages(http: web.Request, content: aiohttp.StreamReader) -> web.WebSocketResponse:
    """A log as messages of a WebSocket, for browsers (apimachinery, wsstream `Reader`)."""
    socket = web.WebSocketResponse(protocols=("binary.k8s.io",))
    await socket.prepare(http)
    with contextlib.suppress(aiohttp.ClientError):
        async for chunk in content.iter_any():
            await socket.send_bytes(chunk)
    await socket.close()
    return socket


async def _serve_bare(http: web.Request, node: aiohttp.ClientWebSocketResponse, version: str) -> web.StreamResponse:
    """Carries the bytes of the client's SPDY session in messages to the node, and back."""
    await http.read()
    head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    client = take_over(http, f"{head}X-Stream-Protocol-Version: {version}\r\n")
    pumps = [asyncio.create_task(_from_bare(client, node)), asyncio.create_task(_to_bare(node, client))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        client.close()
    return Done()


async def _from_bare(client: UpgradedStream, node: aiohttp.ClientWebSocketResponse) -> None:
    while data := await client.read():
        await node.send_bytes(data)


async def _to_bare(node: aiohttp.ClientWebSocketResponse, client: UpgradedStream) -> None:
    async for message in node:
        if message.type is aiohttp.WSMsgType.BINARY:
            await client.write(message.data)


async def _pump_both(client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse) -> None:
    """Passes messages both ways until either side closes; then closes the other with the same code."""
    pumps = [asyncio.create_task(_pump(client, node)), asyncio.create_task(_pump(node, client))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for side, other in ((client, node), (node, client)):
            if not side.closed:
                # Codes that stand for "none was sent" (1005, 1006) may not be sent (RFC 6455, 7.4.1).
                code = other.close_code
                await side.close(code=code if code and code not in (1005, 1006) else 1000)


async def _pump(source: Any, sink: Any) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)


def _container(pod: Object, asked: str) -> str:
    """The container that is meant; raises ApiError 400 in Kubernetes's words."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [c["name"] for c in spec.get("containers") or []]
    init = [c["name"] for c in spec.get("initContainers") or []]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or []]
    if asked:
        if asked not in (*main, *init, *ephemeral):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in main:
        return str(default)
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(text)


def _check_streams(http: web.Request) -> None:
    stdin, tty = flag(http.query, "stdin"), flag(http.query, "tty")
    # attach without any is refused too: nothing could be seen.
    if not (stdin or flag(http.query, "stdout") or flag(http.query, "stderr")):
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    if tty and flag(http.query, "stderr"):
        raise bad_request("tty and stderr cannot both be true")
    if http.path.endswith("/exec") and not http.query.getall("command", []):
        raise bad_request("you must specify at least 1 command for the container")


def _check_log_options(http: web.Request) -> None:
    for name in ("follow", "previous", "timestamps"):
        flag(http.query, name)
    for name in ("tailLines", "sinceSeconds", "limitBytes"):
        number(http.query, name)
    if "sinceTime" in http.query:
        if "sinceSeconds" in http.query:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        try:
            parse_rfc3339(http.query["sinceTime"])
        except ValueError:
            raise bad_request(f'sinceTime: "{http.query["sinceTime"]}" is not an RFC 3339 time') from None


def _node_error(status: int, text: str) -> ApiError:
    """The node's own error: a Status object where it sent one, else its text."""
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return ApiError.from_json(value)
    reasons = {400: "BadRequest", 404: "NotFound", 409: "Conflict", 503: "ServiceUnavailable"}
    return ApiError(reasons.get(status, "InternalError"), text.strip() or f"the node answered {status}")


def _unreachable(pod: Object, error: Exception) -> ApiError:
    return ApiError(
        "ServiceUnavailable", f"cannot reach node {pod['spec']['nodeName']} of pod {pod['metadata']['name']}: {error}"
    )
