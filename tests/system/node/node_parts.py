"""One half of a cluster as a process, for tests: `python node_parts.py server|node ROOT`. It serves until SIGTERM.

*server* is API server, controllers and scheduler; *node* is engine, pod network, services, DNS and node agent.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from weft.apiserver.server import ApiServer
from weft.client.http import HttpClient
from weft.container.engine import Engine
from weft.controllers.deployment import DeploymentController
from weft.controllers.endpointslice import EndpointSliceController
from weft.controllers.nodelifecycle import NodeLifecycleController
from weft.controllers.replicaset import ReplicaSetController
from weft.controllers.runner import Context, run_controllers
from weft.core import log
from weft.core.errors import NotFoundError
from weft.core.process import run
from weft.core.settings import Settings
from weft.network.cluster.dns import DnsServer
from weft.network.cluster.sandboxes import Sandboxes
from weft.network.cluster.services import ServiceTable
from weft.node.agent import NodeAgent
from weft.scheduler.scheduler import Scheduler
from weft.store.sqlite import SqliteStore


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    server = ApiServer(settings, SqliteStore(settings.paths.lib / "store.db"))
    await server.start()
    context = Context(server.local)
    controllers = [
        DeploymentController(context),
        ReplicaSetController(context),
        EndpointSliceController(context),
        NodeLifecycleController(context),
    ]
    scheduler = Scheduler(server.local, informers=context.informers)
    tasks = [asyncio.create_task(run_controllers(context, controllers)), asyncio.create_task(scheduler.run())]
    print("ready", flush=True)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.stop()


async def run_node(settings: Settings, stop: asyncio.Event) -> None:
    networking = Sandboxes(settings)
    await networking.open()
    engine = await Engine.open(settings, networking)
    await ensure_busybox(engine)
    dns = DnsServer(networking.nameserver)
    await dns.start()
    client = HttpClient.from_kubeconfig(settings.paths.node_kubeconfig)
    table = ServiceTable(settings, networking.nftables)
    agent = NodeAgent(settings, client, engine, networking, services=table, dns=dns)
    await agent.start()
    print("ready", flush=True)
    await stop.wait()
    await agent.close()
    await dns.stop()
    await client.close()
    await engine.close()
    await networking.close()


async def ensure_busybox(engine: Engine) -> None:
    """`busybox:1`, from the machine's busybox-static."""
    with contextlib.suppress(NotFoundError):
        engine.images.resolve("busybox:1")
        return
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("bin", "etc", "tmp", "root"):
            (root / name).mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        listed = await run("/bin/busybox", "--list")
        for name in listed.stdout.decode().split():
            if name != "busybox":
                (root / "bin" / name).symlink_to("busybox")
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        root.chmod(0o755)
        image = await engine.images.commit(root, None, {"config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]}})
    engine.images.tag(image.id, "busybox:1")


async def main(part: str, root: Path) -> None:
    log.configure("INFO")
    settings = Settings.load(root)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await (serve if part == "server" else run_node)(settings, stop)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
