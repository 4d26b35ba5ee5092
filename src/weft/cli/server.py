"""The *server* process: store, Kubernetes API, controllers, scheduler. It needs no root."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weft.cli import process

if TYPE_CHECKING:
    from weft.api.gvr import GVR
    from weft.apiserver.server import ApiServer
    from weft.controllers import runner

# How soon the service `kubernetes` leads to the leading server again after another has started.
_POINT_SECONDS = 10.0


async def serve(root: Path, stop: asyncio.Event) -> None:
    """Runs until `stop`; the supervisor is told as soon as the API answers."""
    from weft.api.gvr import NETWORK_GROUP
    from weft.apiserver.server import ApiServer
    from weft.core.settings import Settings
    from weft.core.tasks import Tasks
    from weft.network.routing.bgp import validate_advertisement, validate_peer
    from weft.network.routing.policy import validate_policy
    from weft.network.topology.reader import validate_topology
    from weft.network.topology.resources import crds
    from weft.store import opening

    settings = Settings.load(root)
    api = ApiServer(
        settings,
        opening.open_store(settings),
        extra_validators={
            (NETWORK_GROUP, "Topology"): validate_topology,
            (NETWORK_GROUP, "RoutingPolicy"): validate_policy,
            (NETWORK_GROUP, "BGPPeer"): validate_peer,
            (NETWORK_GROUP, "BGPAdvertisement"): validate_advertisement,
        },
        crds=crds(),
    )
    await api.start()
    tasks = Tasks()
    try:
        if opening.is_shared(settings):
            tasks.start("election", partial(_lead, api))
        else:
            tasks.start("controllers", partial(_control, api))
        process.report("ready")
        await stop.wait()
    finally:
        await tasks.close()
        await api.stop()


async def _control(api: "ApiServer") -> None:
    """Runs controllers and scheduler until cancelled."""
    from weft.controllers import runner
    from weft.core.tasks import Tasks
    from weft.scheduler.scheduler import Scheduler

    context = runner.Context(api.local)
    controllers = controllers_of(context, api)
    scheduler = Scheduler(api.local, informers=context.informers)
    tasks = Tasks()
    try:
        tasks.start("scheduler", scheduler.run)
        await runner.run_controllers(context, controllers)
    finally:
        await tasks.close()


async def _lead(api: "ApiServer") -> None:
    """As `_control`, while this server is the one of several that should."""
    import socket
    import uuid

    from weft.client.election import Election
    from weft.core.tasks import Tasks

    identity = f"{socket.gethostname()}_{uuid.uuid4()}"

    async def work() -> None:
        tasks = Tasks()
        tasks.start("endpoints", partial(_point_here, api))
        try:
            await _control(api)
        finally:
            await tasks.close()

    await Election(api.local, "weft-controllers", identity).lead(work)


async def _point_here(api: "ApiServer") -> None:
    """Pods reach the API at the server that leads: the others may have died since they were last seen."""
    while True:
        await api.point_here()
        await asyncio.sleep(_POINT_SECONDS)


def controllers_of(context: "runner.Context", api: "ApiServer") -> "Sequence[runner.Controller]":
    from weft.controllers.cronjob import CronJobController
    from weft.controllers.daemonset_controller import DaemonSetController
    from weft.controllers.deployment import DeploymentController
    from weft.controllers.disruption import DisruptionController
    from weft.controllers.endpointslice import EndpointSliceController
    from weft.controllers.garbage import GarbageCollector
    from weft.controllers.job_controller import JobController
    from weft.controllers.namespace import NamespaceController
    from weft.controllers.network import NetworkController
    from weft.controllers.nodelifecycle import NodeLifecycleController
    from weft.controllers.quota import QuotaController
    from weft.controllers.replicaset import ReplicaSetController
    from weft.controllers.replication import ReplicationControllerController
    from weft.controllers.serviceaccount import ServiceAccountController
    from weft.controllers.statefulset_controller import StatefulSetController

    return [
        DeploymentController(context),
        ReplicaSetController(context),
        ReplicationControllerController(context),
        StatefulSetController(context),
        DaemonSetController(context),
        JobController(context),
        CronJobController(context),
        DisruptionController(context),
        EndpointSliceController(context),
        QuotaController(context, _collections(api, namespaced_only=True)),
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
