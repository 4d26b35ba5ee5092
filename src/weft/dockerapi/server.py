"""Docker's Engine API on a unix socket: docker's CLI and libraries come in, calls of the engine go out.

Each route module exposes `routes(engine) -> list[web.RouteDef]` with paths without a version prefix, such as
`web.get("/containers/json", handler)`; this module mounts them with and without `/vX.Y`, and turns errors into answers.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from weft.container.engine import Engine
from weft.core.errors import WeftError
from weft.core.settings import Settings
from weft.core.upgraded import Done
from weft.dockerapi import (
    archive,
    build,
    containers,
    execs,
    images,
    lifecycle,
    networks,
    streams,
    swarm,
    system,
    version,
    volumes,
)
from weft.dockerapi.errors import error_response, status_of

logger = logging.getLogger(__name__)

_ROUTES: Sequence[Callable[[Engine], Sequence[web.RouteDef]]] = (
    system.routes,
    containers.routes,
    lifecycle.routes,
    streams.routes,
    execs.routes,
    archive.routes,
    images.routes,
    build.routes,
    volumes.routes,
    networks.routes,
    swarm.routes,
)
_BODY_LIMIT = 16 << 20  # of JSON; archives and images are streamed


class DockerApi:
    """Listens on `settings.paths.docker_socket` (mode 0660)."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._path = settings.paths.docker_socket
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError where the socket cannot be made."""
        app = web.Application(middlewares=[_errors], client_max_size=_BODY_LIMIT)
        app.on_response_prepare.append(_headers)
        for routes in _ROUTES:
            for route in routes(self._engine):
                app.router.add_route(route.method, route.path, route.handler)
                app.router.add_route(route.method, "/v{version:[0-9]+[.][0-9]+}" + route.path, route.handler)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o117)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(mask)
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self._path.unlink(missing_ok=True)


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Api-Version"] = version.API_VERSION
    response.headers["Docker-Experimental"] = "false"
    response.headers["Ostype"] = "linux"
    response.headers["Server"] = f"Weft/{version.WEFT_VERSION} (linux)"


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one place where an engine's error becomes an answer."""
    try:
        if asked := request.match_info.get("version"):
            version.check(asked)
        return await handler(request)
    except WeftError as error:
        return error_response(status_of(error), str(error))
    except web.HTTPNotFound:
        return error_response(404, "page not found")
    except web.HTTPException as error:
        return error_response(error.status, error.text or error.reason)
    except ConnectionError:
        return Done()  # the client went away
    except Exception as error:
        logger.exception("a Docker request failed", extra={"method": request.method, "path": request.path})
        return error_response(500, f"{type(error).__name__}: {error}")
