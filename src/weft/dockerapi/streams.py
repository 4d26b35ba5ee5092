"""/containers/{id}: attach and logs; and `pump`, which joins a process's stdio with a hijacked connection."""

import asyncio
import contextlib

from aiohttp import web

from weft.container.base import ProcessStream
from weft.container.engine import Engine
from weft.container.spec import Container
from weft.core.errors import InvalidError
from weft.core.upgraded import Done, UpgradedStream
from weft.dockerapi.detach import Keys, parse
from weft.dockerapi.hijack import MULTIPLEXED, RAW, hijack
from weft.dockerapi.requests import flag, point_in_time, rfc3339_nano
from weft.dockerapi.stdcopy import frame


def routes(engine: Engine) -> list[web.RouteDef]:
    containers = engine.containers

    async def attach(request: web.Request) -> web.StreamResponse:
        container = containers.get(request.match_info["id"])
        streams = _streams(request)
        detach_keys = parse(request.query.get("detachKeys", ""))
        stdin = flag(request, "stdin") and container.spec.open_stdin
        process = await containers.attach(container.id, stdin=stdin) if flag(request, "stream") else None
        client = hijack(request, RAW if container.spec.tty else MULTIPLEXED)
        try:
            if flag(request, "logs"):
                async for line in containers.logs(container.id):
                    if line.stream in streams:
                        await client.write(line.data if container.spec.tty else frame(line.stream, line.data))
            if process is not None:
                keys = Keys(detach_keys) if container.spec.tty and stdin else None
                await pump(client, process, tty=container.spec.tty, stdin=stdin, streams=streams, keys=keys)
        finally:
            if process is not None:
                await process.close()
            client.close()
        return Done()

    async def logs(request: web.Request) -> web.StreamResponse:
        container = containers.get(request.match_info["id"])
        streams = _streams(request)
        if not streams:
            raise InvalidError("Bad parameters: you must choose at least one stream")
        lines = containers.logs(
            container.id,
            follow=flag(request, "follow"),
            stdout="stdout" in streams,
            stderr="stderr" in streams,
            since=point_in_time(request.query.get("since")),
            until=point_in_time(request.query.get("until")),
            tail=_tail(request.query.get("tail")),
        )
        response = web.StreamResponse(headers={"Content-Type": RAW if container.spec.tty else MULTIPLEXED})
        await response.prepare(request)
        await response.write(b"")
        stamped, whole = flag(request, "timestamps"), True
        async for line in lines:
            data = line.data
            if stamped and whole:
                data = rfc3339_nano(line.time).encode() + b" " + data
            whole = line.data.endswith(b"\n")
            await response.write(_shown(container, line.stream == "stderr", data))
        return response

    return [web.post("/containers/{id}/attach", attach), web.get("/containers/{id}/logs", logs)]


def _shown(container: Container, is_error: bool, data: bytes) -> bytes:
    return data if container.spec.tty else frame("stderr" if is_error else "stdout", data)


def _streams(request: web.Request) -> frozenset[str]:
    return frozenset(name for name in ("stdout", "stderr") if flag(request, name))


def _tail(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None  # "all", and what is no number, is all


async def pump(
    client: UpgradedStream,
    process: ProcessStream,
    *,
    tty: bool,
    stdin: bool,
    streams: frozenset[str] = frozenset(("stdout", "stderr")),
    keys: Keys | None = None,
) -> bool:
    """Carries bytes both ways until the process has no more output, or the client is gone or has typed the detach
    keys; whether it was those."""
    left = False

    async def inward() -> None:
        nonlocal left
        while data := await client.read():
            if keys is not None:
                data, left = keys.feed(data)
            if stdin and data:
                await process.write(data)
            if left:
                outward.cancel()
                return
        if stdin:
            await process.close_stdin()

    async def out() -> None:
        while output := await process.read():
            stream, data = output
            if stream in streams or tty:
                await client.write(data if tty else frame(stream, data))

    outward = asyncio.get_running_loop().create_task(out())
    feeding = asyncio.get_running_loop().create_task(inward())
    try:
        await asyncio.wait({outward})
        if not outward.cancelled():
            outward.result()
    finally:
        for task in (outward, feeding):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return left
