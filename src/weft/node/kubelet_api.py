"""The node's own HTTPS server: logs, exec, attach and port-forward, asked for by the API server only.

In: requests with a client certificate of our CA, paths as the kubelet has them (kubernetes, `pkg/kubelet/server`).
Out: log text, WebSockets (`kubelet_streams`, `port_forward`), or an error that the API server hands on to the user.
"""

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from weft.client.base import Object
from weft.container.base import Containers, ExecSpec, LogLine, ProcessStream
from weft.container.spec import Container, State
from weft.core.clock import parse_rfc3339
from weft.core.errors import WeftError
from weft.core.settings import Settings
from weft.node import kubelet_streams, port_forward
from weft.node.pods.names import CONTAINER_NAME, POD_UID, RESTART_COUNT

logger = logging.getLogger(__name__)

FindPod = Callable[[str, str], Object | None]
Dial = Callable[[Object, int], Awaitable[socket.socket]]
_TRUE = ("true", "1")


class KubeletApi:
    """`start` listens on loopback; `find_pod` is the agent's, `dial` connects to a port inside a pod."""

    def __init__(self, settings: Settings, containers: Containers, find_pod: FindPod, dial: Dial) -> None:
        self._settings, self._containers, self._find_pod, self._dial = settings, containers, find_pod, dial
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError where the port is taken or the certificates are missing."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                web.get("/exec/{namespace}/{pod}/{container}", self._exec),
                web.get("/attach/{namespace}/{pod}/{container}", self._attach),
                web.get("/portForward/{namespace}/{pod}", self._port_forward),
            ]
        )
        pki = self._settings.paths.pki
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pki / "kubelet.crt", pki / "kubelet.key")
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self._settings.kubelet_port, ssl_context=context, reuse_address=True
        )
        await site.start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container = self._running(request)
        command = tuple(request.query.getall("command", []))
        if not command:
            raise web.HTTPBadRequest(text="you must specify at least 1 command for the container")
        wish = kubelet_streams.Wish.read(request.query)

        async def open_stream() -> ProcessStream:
            return await self._containers.exec(container.id, ExecSpec(command, tty=wish.tty, stdin=wish.stdin))

        return await kubelet_streams.serve(request, wish, open_stream, report_exit=True)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        container = self._running(request)
        wish = kubelet_streams.Wish.read(request.query, tty=container.spec.tty)

        async def open_stream() -> ProcessStream:
            return await self._containers.attach(container.id, stdin=wish.stdin)

        return await kubelet_streams.serve(request, wish, open_stream, report_exit=False)

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        return await port_forward.serve(request, pod, partial(self._dial, pod))

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        container = self._logged(request, previous=query.get("previous") in _TRUE)
        try:
            options = _LogOptions(query)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"invalid log option: {error}") from None
        lines = self._containers.logs(container.id, follow=options.follow, since=options.since, tail=options.tail)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for piece in _texts(lines, options):
                await response.write(piece)
        except WeftError as error:
            await response.write(f"cannot read the log: {error}\n".encode())
        await response.write_eof()
        return response

    # Finding containers

    def _pod(self, request: web.Request) -> Object:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        pod = self._find_pod(namespace, name)
        if pod is None:
            raise web.HTTPNotFound(text=f'pod "{name}" not found in namespace "{namespace}"')
        return pod

    def _attempts(self, request: web.Request) -> list[Container]:
        """The containers made for this one of the pod, newest first."""
        pod = self._pod(request)
        labels = {POD_UID: pod["metadata"]["uid"], CONTAINER_NAME: request.match_info["container"]}
        found = [each for each in self._containers.list(labels=labels) if each.state is not State.REMOVING]
        return sorted(found, key=lambda each: int(each.spec.labels.get(RESTART_COUNT, "0")), reverse=True)

    def _running(self, request: web.Request) -> Container:
        for each in self._attempts(request)[:1]:
            if each.state in (State.RUNNING, State.PAUSED):
                return each
        name = request.match_info["container"]
        raise web.HTTPNotFound(text=f'unable to upgrade connection: container not found ("{name}")')

    def _logged(self, request: web.Request, *, previous: bool) -> Container:
        attempts = self._attempts(request)
        name, pod_name = request.match_info["container"], request.match_info["pod"]
        if previous:
            # In a crash loop the last one has ended and no other runs yet: that is the previous one then.
            ended = [each for each in attempts if each.state in (State.EXITED, State.DEAD)]
            if not ended:
                text = f'previous terminated container "{name}" in pod "{pod_name}" not found'
                raise web.HTTPBadRequest(text=text)
            return ended[0]
        started = [each for each in attempts if each.started_at or each.state is not State.CREATED]
        if not started:
            reason = self._waiting_reason(request)
            text = f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}'
            raise web.HTTPBadRequest(text=text)
        return started[0]

    def _waiting_reason(self, request: web.Request) -> str:
        pod = self._find_pod(request.match_info["namespace"], request.match_info["pod"]) or {}
        status: Mapping[str, Any] = pod.get("status") or {}
        for each in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]:
            if each["name"] == request.match_info["container"]:
                waiting = (each.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
                    return "trying and failing to pull image"
                return str(waiting.get("reason") or "ContainerCreating")
        return "ContainerCreating"


class _LogOptions:
    """v1.PodLogOptions; raises ValueError."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self.follow = query.get("follow") in _TRUE
        self.timestamps = query.get("timestamps") in _TRUE
        self.tail = int(query["tailLines"]) if "tailLines" in query else None
        self.limit = int(query["limitBytes"]) if "limitBytes" in query else None
        self.since = 0.0
        if "sinceSeconds" in query:
            self.since = datetime.now(UTC).timestamp() - int(query["sinceSeconds"])
        elif "sinceTime" in query:
            self.since = parse_rfc3339(query["sinceTime"])


async def _texts(lines: AsyncIterator[LogLine], options: _LogOptions) -> AsyncIterator[bytes]:
    """The lines as they are sent; a time stands before the first piece of each line of each stream."""
    left = options.limit
    in_line: dict[str, bool] = {}
    async for line in lines:
        data = line.data
        if options.timestamps and not in_line.get(line.stream):
            data = f"{_nano(line.time)} ".encode() + data
        in_line[line.stream] = not line.data.endswith(b"\n")
        if left is not None:
            data, left = data[:left], left - len(data)
        yield data
        if left is not None and left <= 0:
            return


def _nano(seconds: float) -> str:
    """RFC3339Nano, as the CRI's log format."""
    whole = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int((seconds - int(seconds)) * 1e9):09d}Z"
