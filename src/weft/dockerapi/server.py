"""Docker's Engine API on a unix socket: docker's CLI and libraries come in, calls of the engine go out.

Each route module exposes `routes(engine) -> list[web.RouteDef]` with paths without a version prefix, such as
`web.get("/containers/json", handler)`; this module mounts them, takes `/vX.Y` off, and turns errors into answers.
"""

from aiohttp import web

from weft.container.engine import Engine
from weft.core.settings import Settings


class DockerApi:
    """Listens on `settings.paths.docker_socket` (mode 0660)."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError
