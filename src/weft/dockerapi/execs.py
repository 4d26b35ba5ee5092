"""/exec: create, start, inspect, resize. Sessions live in memory, as the connections that use them do."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from weft.container.attach import AttachStream
from weft.container.base import ExecSpec
from weft.container.engine import Engine
from weft.container.execs import check_running
from weft.core.errors import ConflictError, InvalidError, NotFoundError, WeftError
from weft.core.ids import hex_id
from weft.core.upgraded import Done
from weft.dockerapi import detach
from weft.dockerapi.hijack import MULTIPLEXED, RAW, hijack
from weft.dockerapi.requests import json_body, number
from weft.dockerapi.stdcopy import frame
from weft.dockerapi.streams import pump

_KEPT = 256  # ended sessions that can still be inspected


@dataclass(eq=False)
class Session:
    """An exec from its creation to some time after its end."""

    container_id: str
    spec: ExecSpec
    id: str = field(default_factory=hex_id)
    stream: AttachStream | None = None
    exit_code: int | None = None
    watcher: "asyncio.Task[None] | None" = None
    detach_keys: bytes = detach.DEFAULT


class Sessions:
    """Handlers and their sessions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, Session] = {}

    def _find(self, request: web.Request) -> Session:
        id = request.match_info["id"]
        try:
            return self._sessions[id]
        except KeyError:
            raise NotFoundError(f"No such exec instance: {id}")

    async def create(self, request: web.Request) -> web.Response:
        container = self._engine.containers.get(request.match_info["id"])
        check_running(container)
        body = await json_body(request)
        command = body.get("Cmd") or []
        command = [command] if isinstance(command, str) else command
        if not command:
            raise InvalidError("No exec command specified")
        try:
            spec = ExecSpec(
                command=tuple(str(word) for word in command),
                env=tuple(body.get("Env") or ()),
                working_dir=body.get("WorkingDir") or None,
                user=body.get("User") or None,
                tty=bool(body.get("Tty")),
                stdin=bool(body.get("AttachStdin")),
                privileged=bool(body.get("Privileged")),
            )
        except TypeError as error:
            raise InvalidError(f"invalid exec configuration: {error}") from error
        ended = [session.id for session in self._sessions.values() if session.exit_code is not None]
        for id in ended[: max(0, len(ended) - _KEPT)]:
            del self._sessions[id]
        session = Session(container.id, spec, detach_keys=detach.parse(str(body.get("DetachKeys") or "")))
        self._sessions[session.id] = session
        return web.json_response({"Id": session.id}, status=201)

    async def start(self, request: web.Request) -> web.StreamResponse:
        session = self._find(request)
        body = await json_body(request)
        if session.stream is not None or session.exit_code is not None:
            raise ConflictError(f"Error: Exec command {session.id} has already run")
        check_running(self._engine.containers.get(session.container_id))
        if body.get("Detach"):
            await (await self._begin(session, body)).close()
            return web.Response()
        # As in dockerd, it is the start that says whether output is framed, not the exec's own terminal.
        raw = bool(body.get("Tty"))
        client = hijack(request, RAW if raw else MULTIPLEXED)
        try:
            stream = await self._begin(session, body)
        except WeftError as error:  # too late for a status; dockerd says it on the stream too
            text = f"{error}\r\n".encode()
            await client.write(text if raw else frame("stdout", text))
            client.close()
            return Done()
        try:
            keys = detach.Keys(session.detach_keys) if session.spec.tty else None
            left = await pump(client, stream, tty=raw, stdin=session.spec.stdin, keys=keys)
            if session.watcher is not None and not left:  # clients ask for the exit code as soon as the connection ends
                await asyncio.shield(session.watcher)
        finally:
            await stream.close()
            client.close()
        return Done()

    async def _begin(self, session: Session, body: Mapping[str, Any]) -> AttachStream:
        try:
            stream = await self._engine.containers.exec(session.container_id, session.spec)
        except WeftError as error:
            session.exit_code = 126 if "permission denied" in str(error) else 127
            raise
        session.stream = stream
        session.watcher = asyncio.get_running_loop().create_task(self._watch(session, stream))
        size = body.get("ConsoleSize")
        if isinstance(size, list) and len(size) == 2 and session.spec.tty:
            await stream.resize(int(size[1]), int(size[0]))
        return stream

    async def _watch(self, session: Session, stream: AttachStream) -> None:
        session.exit_code = await stream.wait()
        self._engine.events.publish(
            "container", "exec_die", session.container_id, {"execID": session.id, "exitCode": str(session.exit_code)}
        )

    async def inspect(self, request: web.Request) -> web.Response:
        session = self._find(request)
        spec = session.spec
        found: dict[str, Any] = {
            "ID": session.id,
            "Running": session.stream is not None and session.exit_code is None,
            "ExitCode": session.exit_code,
            "ProcessConfig": {
                "tty": spec.tty,
                "entrypoint": spec.command[0],
                "arguments": list(spec.command[1:]),
                "privileged": spec.privileged,
                "user": spec.user or "",
            },
            "OpenStdin": spec.stdin,
            "OpenStderr": True,
            "OpenStdout": True,
            "CanRemove": session.exit_code is not None,
            "ContainerID": session.container_id,
            "DetachKeys": session.detach_keys.decode("latin-1") if session.detach_keys != detach.DEFAULT else "",
            "Pid": session.stream.pid if session.stream is not None else 0,
        }
        return web.json_response(found)

    async def resize(self, request: web.Request) -> web.Response:
        session = self._find(request)
        if session.stream is None:
            raise ConflictError(f"exec {session.id} is not running")
        await session.stream.resize(number(request, "w") or 0, number(request, "h") or 0)
        return web.Response()


def routes(engine: Engine) -> list[web.RouteDef]:
    sessions = Sessions(engine)
    return [
        web.post("/containers/{id}/exec", sessions.create),
        web.post("/exec/{id}/start", sessions.start),
        web.get("/exec/{id}/json", sessions.inspect),
        web.post("/exec/{id}/resize", sessions.resize),
    ]
