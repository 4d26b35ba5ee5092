"""/swarm, /nodes, /services, /tasks, /secrets, /configs: this engine is in no swarm, and says so as Docker's does."""

from aiohttp import web

from weft.container.engine import Engine
from weft.core.errors import UnavailableError, UnsupportedError

_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def routes(engine: Engine) -> list[web.RouteDef]:
    async def no_manager(request: web.Request) -> web.Response:
        raise UnavailableError(_MANAGER)

    async def no_swarm(request: web.Request) -> web.Response:
        raise UnavailableError("This node is not part of a swarm")

    async def no_way(request: web.Request) -> web.Response:
        raise UnsupportedError("cannot make a swarm: Weft runs several machines by Kubernetes, see `weft node --help`")

    found = [web.post("/swarm/leave", no_swarm), web.post("/swarm/init", no_way), web.post("/swarm/join", no_way)]
    for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"):
        found += [web.route("*", path, no_manager), web.route("*", path + "/{rest:.+}", no_manager)]
    return found
