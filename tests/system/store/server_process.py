"""The real server process (`weft server`) in a directory of its own, and its client."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from weft.client.http import HttpClient
from weft.core.errors import WeftError
from weft.core.settings import Settings, free_port


class Server:
    """`start`, `ready`, and the pid to kill; options are those of `weft server`."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self.options = [*options, "--api-port", str(free_port())]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return Settings.load(self.root)

    def trust(self, other: "Server") -> None:
        """Takes the other's certificate authority."""
        here, there = (server.root / "var/lib/weft/pki" for server in (self, other))
        here.mkdir(parents=True, mode=0o700)
        for name in ("ca.crt", "ca.key"):
            shutil.copy2(there / name, here / name)

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), "server", *self.options]
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, "WEFT_LOG": "INFO"})

    async def ready(self) -> HttpClient:
        """A client, once the server answers."""
        from weft.api.gvr import NAMESPACES

        for _ in range(200):
            with contextlib.suppress(FileNotFoundError, WeftError):
                client = HttpClient.from_kubeconfig(self.settings.paths.kubeconfig)
                try:
                    await client.list(NAMESPACES)
                    return client
                except WeftError:
                    await client.close()
            await asyncio.sleep(0.1)
        raise AssertionError((self.root / "server.log").read_text())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(10)
        self.process = None
        return code
