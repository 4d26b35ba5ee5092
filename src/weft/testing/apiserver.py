"""A real API server for tests: in this process, on free ports, in a directory of its own, without root.

    async with api_server() as server:
        await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
        subprocess.run(["kubectl", f"--kubeconfig={server.kubeconfig}", "get", "all"])

There are no controllers and no nodes; `local` is the client in process, `client` the one over HTTPS.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.apiserver.api import Validator
from weft.apiserver.local import LocalClient
from weft.apiserver.server import ApiServer
from weft.client.http import HttpClient
from weft.core.clock import Clock
from weft.core.process import Output
from weft.core.settings import Settings, free_port
from weft.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What a test gets."""

    server: ApiServer
    settings: Settings
    client: HttpClient
    local: LocalClient

    @property
    def kubeconfig(self) -> Path:
        return self.settings.paths.kubeconfig

    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Output:
        """Runs the kubectl of this machine against the server; raises AssertionError where it fails, with `check`."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.settings.paths.root}/kubectl-cache",
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self.settings.paths.root)},
        )
        stdout, stderr = await process.communicate(stdin.encode() if stdin is not None else None)
        code = process.returncode or 0
        if check and code != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {stderr.decode()}")
        return Output(code, stdout, stderr)


@contextlib.asynccontextmanager
async def api_server(
    root: Path | None = None,
    *,
    extra_validators: Mapping[tuple[str, str], Validator] | None = None,
    crds: Sequence[dict[str, Any]] = (),
    clock: Clock | None = None,
) -> AsyncIterator[RunningServer]:
    """Starts a server, in a new directory unless `root` is given, and stops it at the end."""
    with contextlib.ExitStack() as stack:
        if root is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-api-")))
        settings = Settings.load_or_create(root, api_port=free_port())
        store = SqliteStore(settings.paths.lib / "store.db")
        server = ApiServer(settings, store, extra_validators=extra_validators, crds=crds, clock=clock)
        await server.start()
        client = HttpClient.from_kubeconfig(settings.paths.kubeconfig)
        try:
            yield RunningServer(server, settings, client, server.local)
        finally:
            await client.close()
            await server.stop()
