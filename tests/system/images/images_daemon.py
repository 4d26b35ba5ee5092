"""Engine, pod network, Docker API and registry in one process, for tests: `python images_daemon.py ROOT`.

It serves until SIGTERM; on its first start it makes `busybox:latest` by Weft's own recipe.
"""

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from weft.container.content import ContentStore
from weft.container.engine import Engine
from weft.container.images import bootstrap
from weft.core import log
from weft.core.errors import NotFoundError
from weft.core.settings import Settings
from weft.dockerapi.server import DockerApi
from weft.network.cluster.sandboxes import Sandboxes
from weft.registry.server import Registry

CONFIG = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}


async def ensure_busybox(engine: Engine, cache: Path) -> None:
    try:
        engine.images.resolve("busybox")
    except NotFoundError:
        made = bootstrap.make("busybox", cache, lambda line: None)
        with made.archive.open("rb") as file:
            image = await engine.images.import_tar(lambda: file.read(1 << 20), CONFIG)
        engine.images.tag(image.id, "busybox:latest")


async def main(root: Path) -> None:
    log.configure("INFO")
    settings = Settings.load_or_create(root)
    networking = Sandboxes(settings)
    await networking.open()
    engine = await Engine.open(settings, networking)
    await ensure_busybox(engine, settings.paths.lib / "cache")
    store = settings.paths.lib / "registry"

    def elsewhere(digest: str) -> Path | None:
        path = engine.images.content.path(digest)
        return path if path.exists() else None

    registry = Registry(
        settings.registry_address, settings.registry_port, ContentStore(store, keep_writers=True),
        store / "catalog.db", elsewhere=elsewhere,
    )  # fmt: skip
    await registry.start()
    api = DockerApi(engine, settings)
    await api.start()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await api.stop()
    await registry.stop()
    await engine.close()
    await networking.close()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
