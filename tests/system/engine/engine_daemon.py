"""The engine, a pod network and the Docker API in one process, for tests: `python engine_daemon.py ROOT`.

It serves until SIGTERM; on its first start it makes the image `busybox:latest` from the machine's busybox-static.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from weft.container.engine import Engine
from weft.core import log
from weft.core.errors import NotFoundError
from weft.core.settings import Settings
from weft.dockerapi.server import DockerApi
from weft.network.cluster.sandboxes import Sandboxes

CONFIG = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}


def make_rootfs(root: Path) -> None:
    binaries = root / "bin"
    for name in ("bin", "etc", "tmp", "root", "home", "data"):
        (root / name).mkdir()
    shutil.copy("/bin/busybox", binaries / "busybox")
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            os.symlink("busybox", binaries / name)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:Bob:/home/bob:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nbob:x:1000:\nweavers:x:2000:bob\n")
    (root / "data/seed").write_text("from the image\n")


async def main(root: Path) -> None:
    log.configure("INFO")
    settings = Settings.load_or_create(root)
    networking = Sandboxes(settings)
    await networking.open()
    engine = await Engine.open(settings, networking)
    try:
        engine.images.resolve("busybox")
    except NotFoundError:
        with tempfile.TemporaryDirectory(dir=root) as directory:
            make_rootfs(Path(directory))
            Path(directory).chmod(0o755)
            image = await engine.images.commit(Path(directory), None, CONFIG)
        engine.images.tag(image.id, "busybox:latest")
    api = DockerApi(engine, settings)
    await api.start()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await api.stop()
    await engine.close()
    await networking.close()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
