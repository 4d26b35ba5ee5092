"""The *server* process: store, Kubernetes API, controllers, scheduler. It needs no root."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.cli import process

if TYPE_CHECKING:
    from weft.api.gvr import GVR
    from weft.apiserver.server import ApiServer
    from weft.controllers import runner


async def serve(root: Path, stop: asyncio.Event) -> None:
    """Runs until `stop`; the supervisor is told as soon as the API answers."""
    from weft.api.gvr import NETWORK_GROUP
    from weft.apiserver.server import ApiServer
    from weft.controllers import runner
    from weft.core.settings import Settings
    from weft.core.tasks import Tasks
    from weft.network.topology.reader import validate_topology
    from weft.network.topology.resources import crds
    from weft.scheduler.scheduler import Scheduler
    from weft.store.sqlite import SqliteStore

    settings = Settings.load(root)
    api = ApiServer(
        settings,
        SqliteStore(settings.paths.lib / "store.db"),
        extra_validators={(NETWORK_GROUP, "Topology"): validate_topology},
        crds=crds(),
    )
    await api.start()
    tasks = Tasks()
    try:
        context = runner.Context(api.local)
        controllers = _controllers(context, api)
        scheduler = Scheduler(api.local, informers=context.informers)
        tasks.start("controllers", lambda: runner.run_controllers(context, controllers))
        tasks.start("scheduler", scheduler.run)
        process.report("ready")
        await stop.wait()
    finally:
        await tasks.close()
        await api.stop()


def _controllers(context: "runner.Context", api: "ApiServer") -> "Sequence[runner.Controller]":
    from weft.controllers.deployment import DeploymentController
    from weft.controllers.endpointslice import EndpointSliceController
    from weft.controllers.garbage import GarbageCollector
    from weft.controllers.namespace import NamespaceController
    from weft.controllers.network import NetworkController
    from weft.controllers.nodelifecycle import NodeLifecycleController
    from weft.controllers.replicaset import ReplicaSetController
    from weft.controllers.serviceaccount import ServiceAccountController

    return [
        DeploymentController(context),
        ReplicaSetController(context),
        EndpointSliceController(context),
        NamespaceController(context, _collections(api, namespaced_only=True)),
        ServiceAccountController(context),
        NodeLifecycleController(context),
        NetworkController(context),
        GarbageCollector(context, _collections(api, namespaced_only=False)),
    ]


def _collections(api: "ApiServer", *, namespaced_only: bool) -> "Callable[[], Sequence[GVR]]":
    """What can be listed and deleted now, custom kinds included."""

    def kinds() -> "Sequence[GVR]":
        return [
            rtype.gvr
            for rtype in api.api.kinds.all()
            if {"list", "watch", "delete"} <= set(rtype.verbs) and (rtype.namespaced or not namespaced_only)
        ]

    return kinds


if __name__ == "__main__":
    sys.exit(process.main("server", serve, sys.argv))
