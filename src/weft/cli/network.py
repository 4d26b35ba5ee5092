"""The *network* process: labs and announcements of services on a Kubernetes of whatever make, by its kubeconfig.

In: a kubeconfig. Out: on that cluster the definitions of net.weft.dev, on this machine labs and BGP sessions; the
objects' statuses. Of several such processes on one cluster one is elected. It needs root, and no other part of Weft.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weft.cli import process
from weft.core.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from weft.client.base import Client
    from weft.core.settings import Settings

_LEASE = "weft-network"
_ESTABLISHED_SECONDS = 30.0
_POLL_SECONDS = 0.1


class _OwnProxy:
    """Other clusters have a kube-proxy of their own: it lets in what comes for services."""

    async def announce(self, addresses: frozenset[str]) -> None:
        pass


def serve(kubeconfig: Path) -> Callable[[Path, asyncio.Event], Awaitable[None]]:
    """What `process.main` runs."""
    return partial(_serve, kubeconfig)


async def _serve(kubeconfig: Path, root: Path, stop: asyncio.Event) -> None:
    """Runs until `stop`; labs stay as they are for the next process."""
    import socket
    import uuid

    from weft.client.election import Election
    from weft.client.http import HttpClient
    from weft.core.settings import Settings
    from weft.core.tasks import Tasks

    settings = Settings.load(root)
    point_at(settings, kubeconfig)
    async with HttpClient.from_kubeconfig(kubeconfig, agent="weft-network") as client:
        await define(client)
        tasks = Tasks()
        try:
            election = Election(client, _LEASE, f"{socket.gethostname()}_{uuid.uuid4()}")
            tasks.start("election", partial(election.lead, partial(_work, settings, client)))
            process.report("ready")
            await stop.wait()
        finally:
            await tasks.close()


async def _work(settings: "Settings", client: "Client") -> None:
    """The network controllers and the lab agent, until cancelled."""
    from weft.controllers.network import NetworkController
    from weft.controllers.runner import Context, run_controllers
    from weft.core.tasks import Tasks
    from weft.node.bgp import BgpSpeaker
    from weft.node.lab import LabAgent

    context = Context(client)
    tasks = Tasks()
    try:
        tasks.start("labs", LabAgent(settings, client).run)
        tasks.start("BGP", BgpSpeaker(settings, client, _OwnProxy()).run)
        await run_controllers(context, [NetworkController(context)])
    finally:
        await tasks.close()


def point_at(settings: "Settings", kubeconfig: Path) -> None:
    """From now on `weft lab` in this root means that cluster; raises ConflictError where Weft has one of its own."""
    link = settings.paths.kubeconfig
    if link.exists() and not link.is_symlink():
        raise ConflictError(f"{settings.paths.root} has a Kubernetes of its own: choose another directory by --root")
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(kubeconfig.resolve())
    temporary.replace(link)


async def define(client: "Client") -> None:
    """Our kinds, as this version has them, and served; raises UnavailableError where that does not come about."""
    from weft.api.gvr import CRDS
    from weft.api.status import ApiError
    from weft.network.topology.resources import crds

    definitions = crds()
    for crd in definitions:
        try:
            await client.create(CRDS, crd)
        except ApiError as error:
            if error.code != 409:
                raise
            patch = {"spec": crd["spec"]}
            await client.patch(CRDS, crd["metadata"]["name"], patch, "application/merge-patch+json")
    deadline = asyncio.get_running_loop().time() + _ESTABLISHED_SECONDS
    for crd in definitions:
        name = crd["metadata"]["name"]
        while True:
            status = (await client.get(CRDS, name)).get("status") or {}
            conditions = status.get("conditions") or []
            if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
                break
            if asyncio.get_running_loop().time() > deadline:
                raise UnavailableError(f"{name} is not served after {_ESTABLISHED_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
