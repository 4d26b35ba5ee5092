"""The *node* process: engine, Docker API, registry, node agent, pod network and labs. It needs root."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from weft.cli import process

if TYPE_CHECKING:
    from weft.client.http import HttpClient
    from weft.core.settings import Settings

_KUBECONFIG_SECONDS = 30.0


async def serve(root: Path, stop: asyncio.Event) -> None:
    """Runs until `stop`; containers, sandboxes and labs stay for the next process."""
    from weft.container.content import ContentStore
    from weft.container.engine import Engine
    from weft.core.errors import UnavailableError
    from weft.core.settings import Settings
    from weft.core.tasks import Tasks
    from weft.dockerapi.server import DockerApi
    from weft.network.cluster import dns as cluster_dns
    from weft.network.cluster.sandboxes import Sandboxes
    from weft.network.cluster.services import ServiceTable
    from weft.node.agent import NodeAgent
    from weft.node.bgp import BgpSpeaker
    from weft.node.lab import LabAgent
    from weft.registry.server import Registry

    settings = Settings.load(root)
    async with AsyncExitStack() as parts:
        network = Sandboxes(settings)
        await network.open()
        parts.push_async_callback(network.close)
        dns = cluster_dns.server(settings)
        await dns.start()
        parts.push_async_callback(dns.stop)
        engine = await Engine.open(settings, network)
        parts.push_async_callback(engine.close)

        def blob_of_engine(digest: str) -> Path | None:
            path = engine.images.content.path(digest)
            return path if path.exists() else None

        store = settings.paths.lib / "registry"
        registry = Registry(
            settings.registry_address,
            settings.registry_port,
            ContentStore(store, keep_writers=True),
            store / "catalog.db",
            elsewhere=blob_of_engine,
        )
        try:
            await registry.start()
        except OSError as error:
            where = f"{settings.registry_address}:{settings.registry_port}"
            raise UnavailableError(f"cannot serve the registry at {where}: {error.strerror or error}") from error
        parts.push_async_callback(registry.stop)
        docker = DockerApi(engine, settings)
        await docker.start()
        parts.push_async_callback(docker.stop)

        client = await _client(settings, stop)
        if client is None:
            return
        parts.push_async_callback(client.close)
        table = ServiceTable(settings, network.nftables)
        agent = NodeAgent(settings, client, engine, network, services=table, dns=dns)
        await agent.start()
        parts.push_async_callback(agent.close)
        tasks = Tasks()
        parts.push_async_callback(tasks.close)
        tasks.start("labs", LabAgent(settings, client).run)
        tasks.start("BGP", BgpSpeaker(settings, client, table).run)
        process.report("ready")
        await stop.wait()


async def _client(settings: "Settings", stop: asyncio.Event) -> "HttpClient | None":
    """With the node's kubeconfig, which the server writes before it first listens; None where `stop` comes first."""
    from weft.client.http import HttpClient
    from weft.core.errors import UnavailableError

    for _ in range(int(_KUBECONFIG_SECONDS / 0.02)):
        if settings.paths.node_kubeconfig.exists():
            return HttpClient.from_kubeconfig(settings.paths.node_kubeconfig, agent="weft-node")
        if stop.is_set():
            return None
        await asyncio.sleep(0.02)
    raise UnavailableError(f"there is no {settings.paths.node_kubeconfig}: does the server run?")


if __name__ == "__main__":
    sys.exit(process.main("node", serve, sys.argv))
