"""The node agent: one worker for each pod that is bound to this node, and what workers share.

In: the API (pods with spec.nodeName of ours), the engine's events. Out: containers, statuses, the Node object, and
logs, exec and attach for the API server. After a restart of this process, however it ended, workers find their pods'
containers by label and go on; what belongs to no pod any more is removed once the API has been heard.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from weft.api.gvr import PODS, SERVICES
from weft.client.base import Client, Object
from weft.client.informer import Informers
from weft.client.recorder import Recorder
from weft.container.base import Containers, EngineEvent, Images
from weft.core.clock import Clock, SystemClock
from weft.core.errors import NotFoundError
from weft.core.sandbox import Networking
from weft.core.settings import Settings
from weft.core.tasks import Tasks
from weft.node import machine
from weft.node.dns import DnsFeed, RecordSink
from weft.node.handlers import Handlers
from weft.node.images import Puller
from weft.node.kubelet_api import KubeletApi
from weft.node.pods.names import POD_UID, is_pod_uid
from weft.node.pods.operations import Machine, Parts
from weft.node.pods.worker import PodWorker
from weft.node.port_forward import PodDialer
from weft.node.references import References
from weft.node.registration import Registration
from weft.node.services import ServiceFeed, Table
from weft.node.volumes.manager import Volumes

logger = logging.getLogger(__name__)


class EventSource(Protocol):
    """The part of the engine's events that is needed here."""

    def subscribe(self, since: float | None = None) -> AsyncIterator[EngineEvent]: ...


class NodeEngine(Protocol):
    """What is asked of an engine; `weft.container.engine.Engine` is one."""

    @property
    def images(self) -> Images: ...
    @property
    def containers(self) -> Containers: ...
    @property
    def events(self) -> EventSource: ...


class NodeAgent:
    """`start` listens and begins, `close` lets go of everything; containers run on."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        engine: NodeEngine,
        networking: Networking,
        *,
        services: Table | None = None,
        dns: RecordSink | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`services` and `dns` are kept up to date with Services and EndpointSlices, where given."""
        clock = clock or SystemClock()
        settings.paths.lib.mkdir(parents=True, exist_ok=True)
        facts = machine.read(settings.paths.lib)
        address = networking.nameserver
        self._engine = engine
        self._informers = Informers(client)
        self._pods = self._informers.of(PODS, field_selector=f"spec.nodeName={settings.node_name}")
        self._services = self._informers.of(SERVICES)
        self._recorder = Recorder(client, "kubelet", host=settings.node_name, clock=clock)
        self._registration = Registration(settings, client, clock, facts, address)
        self._feeds: list[ServiceFeed | DnsFeed] = []
        if services is not None:
            self._feeds.append(ServiceFeed(self._informers, services))
        if dns is not None:
            self._feeds.append(DnsFeed(self._informers, dns, settings))
        self._parts = Parts(
            settings=settings,
            client=client,
            containers=engine.containers,
            networking=networking,
            puller=Puller(engine.images),
            volumes=Volumes(settings.paths.lib / "pods"),
            references=References(client),
            handlers=Handlers(engine.containers),
            recorder=self._recorder,
            services=self._services.list,
            clock=clock,
            machine=Machine(address, facts.memory, facts.allocatable()),
        )
        self._api = KubeletApi(settings, engine.containers, self._pod, PodDialer(networking).dial)
        self._workers: dict[str, PodWorker] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()

    def _pod(self, namespace: str, name: str) -> Object | None:
        return self._pods.get(namespace, name)

    async def start(self) -> None:
        """Begins; raises OSError where the kubelet's port is taken."""
        await self._api.start()
        tasks = self._tasks
        events = self._engine.events.subscribe()
        tasks.start("engine events", lambda: self._follow(events))
        self._pods.on_change(self._pod_changed)
        for informer in self._informers.all():
            tasks.start(f"informer {informer.gvr}", informer.run)
        tasks.start("recorder", self._recorder.run)
        tasks.start("registration", self._registration.run)
        for feed in self._feeds:
            tasks.start(feed.name, feed.run)
        tasks.start("orphans", self._adopt_orphans)

    async def close(self) -> None:
        await self._api.stop()
        await self._tasks.close()
        workers = list(self._running.values())
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._parts.puller.close()
        await self._parts.references.close()
        await self._parts.handlers.close()

    async def run(self) -> None:
        """Starts, and closes when cancelled."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    # Pods

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            worker = self._workers.get(old["metadata"]["uid"])
            if worker is not None:
                worker.update(None)
        if new is not None:
            self._give(new["metadata"]["uid"], new)

    def _give(self, uid: str, pod: Object | None) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        worker = self._workers[uid] = PodWorker(self._parts, uid, pod)
        self._running[uid] = asyncio.get_running_loop().create_task(self._work(uid, worker), name=f"pod {uid}")

    async def _work(self, uid: str, worker: PodWorker) -> None:
        """Runs a worker to its end; one that fails is made anew, as it keeps nothing that cannot be seen."""
        delay = 0.1
        try:
            await self._services_known()
            while True:
                try:
                    await worker.run()
                    return
                except Exception:
                    logger.exception("the worker of pod %s failed", uid, extra={"delay": delay})
                await asyncio.sleep(delay)
                delay = min(delay * 2, 30.0)
                worker = self._workers[uid] = PodWorker(self._parts, uid, worker.pod)
        finally:
            self._workers.pop(uid, None)
            self._running.pop(uid, None)

    async def _services_known(self) -> None:
        """Containers are told of the services around them when they are made, so these must be known first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._services.synced(), 5.0)

    async def _follow(self, events: AsyncIterator[EngineEvent]) -> None:
        async for event in events:
            if event.type != "container":
                continue
            uid = event.attributes.get(POD_UID)
            if uid is None:
                with contextlib.suppress(NotFoundError):
                    uid = self._engine.containers.get(event.id).spec.labels.get(POD_UID)
            if uid in self._workers:
                self._workers[uid].wake()

    async def _adopt_orphans(self) -> None:
        """What has no pod gets a worker too, whose only work is to remove it."""
        await self._pods.synced()
        known = {pod["metadata"]["uid"] for pod in self._pods.list()}
        found = {container.spec.labels.get(POD_UID, "") for container in self._parts.containers.list()}
        found |= {sandbox.id for sandbox in self._parts.networking.list()}
        found |= set(self._parts.volumes.uids())
        for uid in sorted(found - known):
            if is_pod_uid(uid):
                logger.info("removing what is left of pod %s", uid)
                self._give(uid, None)
