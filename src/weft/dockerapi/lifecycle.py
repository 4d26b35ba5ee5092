"""/containers/{id}: start, stop, restart, kill, pause, unpause, wait, resize."""

import json
from typing import get_args

from aiohttp import web

from weft.container.containers import WaitCondition
from weft.container.engine import Engine
from weft.container.spec import State
from weft.core.errors import InvalidError
from weft.dockerapi.requests import number


def routes(engine: Engine) -> list[web.RouteDef]:
    containers = engine.containers

    async def start(request: web.Request) -> web.Response:
        container = containers.get(request.match_info["id"])
        if container.state is State.RUNNING:
            return web.Response(status=304)
        await containers.start(container.id)
        return web.Response(status=204)

    async def stop(request: web.Request) -> web.Response:
        container = containers.get(request.match_info["id"])
        if container.state not in (State.RUNNING, State.PAUSED, State.RESTARTING):
            return web.Response(status=304)
        await containers.stop(container.id, _timeout(request), request.query.get("signal"))
        return web.Response(status=204)

    async def restart(request: web.Request) -> web.Response:
        await containers.restart(request.match_info["id"], _timeout(request), request.query.get("signal"))
        return web.Response(status=204)

    async def kill(request: web.Request) -> web.Response:
        await containers.kill(request.match_info["id"], request.query.get("signal") or "SIGKILL")
        return web.Response(status=204)

    async def pause(request: web.Request) -> web.Response:
        await containers.pause(request.match_info["id"])
        return web.Response(status=204)

    async def unpause(request: web.Request) -> web.Response:
        await containers.unpause(request.match_info["id"])
        return web.Response(status=204)

    async def resize(request: web.Request) -> web.Response:
        await containers.resize(request.match_info["id"], number(request, "w") or 0, number(request, "h") or 0)
        return web.Response()

    async def wait(request: web.Request) -> web.StreamResponse:
        """The head is sent at once: clients start the container when they have it."""
        condition = request.query.get("condition") or "not-running"
        if condition not in get_args(WaitCondition):
            raise InvalidError(f'invalid condition: "{condition}"')
        waiter = containers.waiter(request.match_info["id"], condition)  # type: ignore[arg-type]  # checked above
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b"")
        code = await waiter
        await response.write(json.dumps({"StatusCode": code}).encode() + b"\n")
        return response

    return [
        web.post("/containers/{id}/start", start),
        web.post("/containers/{id}/stop", stop),
        web.post("/containers/{id}/restart", restart),
        web.post("/containers/{id}/kill", kill),
        web.post("/containers/{id}/pause", pause),
        web.post("/containers/{id}/unpause", unpause),
        web.post("/containers/{id}/resize", resize),
        web.post("/containers/{id}/wait", wait),
    ]


def _timeout(request: web.Request) -> float | None:
    seconds = number(request, "t")
    return None if seconds is None else float(seconds)
