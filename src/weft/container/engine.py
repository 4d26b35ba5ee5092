"""The engine, put together: images, containers, volumes and events of one instance.

`cli/` opens it with the instance's settings and a network; `dockerapi/` and `node/` are its two faces. Opening it
finds the containers that an earlier process left, running or not; closing it leaves the running ones running.
"""

import asyncio
import shutil
from typing import Self

from weft.container.bundle import Bundles
from weft.container.containers import ContainerManager
from weft.container.events import EventBus
from weft.container.images.store import ImageStore
from weft.container.index import Index
from weft.container.lifecycle import Lifecycle, Parts
from weft.container.reconcile import reconcile, start_all
from weft.container.records import RecordFiles
from weft.container.runtime import cgroups
from weft.container.runtime.commands import OciRuntime, choose
from weft.container.volumes import Volumes
from weft.core.errors import UnsupportedError
from weft.core.sandbox import Networking
from weft.core.settings import Settings


class Engine:
    """One instance's container engine."""

    def __init__(
        self,
        settings: Settings,
        images: ImageStore,
        containers: ContainerManager,
        volumes: Volumes,
        events: EventBus,
        networking: Networking,
        runtime: OciRuntime,
    ) -> None:
        self.settings = settings
        self.images = images
        self.containers = containers
        self.volumes = volumes
        self.events = events
        self.networking = networking
        self.runtime = runtime
        self._starting: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings, networking: Networking) -> Self:
        """Raises UnsupportedError where this machine lacks a runtime or conmon."""
        paths = settings.paths
        for directory in (paths.lib, paths.run):
            directory.mkdir(parents=True, exist_ok=True)
        conmon = shutil.which("conmon")
        if conmon is None:
            raise UnsupportedError("cannot run containers: conmon is not installed")
        runtime = choose(settings.runtime, paths)
        events, index, files = EventBus(), Index(), RecordFiles(paths.lib / "containers")
        images = ImageStore(
            paths.lib,
            events,
            lambda image: [record.id for record in index.all() if record.container.image_id == image],
        )
        volumes = Volumes(
            paths.lib / "volumes",
            events,
            lambda name: [
                record.id
                for record in index.all()
                if any(mount.type == "volume" and mount.source == name for mount in record.container.spec.mounts)
            ],
        )
        parts = Parts(
            settings=settings,
            images=images,
            networking=networking,
            events=events,
            volumes=volumes,
            bundles=Bundles(settings, volumes, networking, index.find),
            runtime=runtime,
            index=index,
            files=files,
            conmon=conmon,
            monitor_cgroup=f"/{settings.instance}/monitors" if cgroups.own_path() != "/" else "",
        )
        await images.open()
        lifecycle = Lifecycle(parts)
        records = files.load()
        for record in records:
            index.add(record)
        wanted = await reconcile(lifecycle, records)
        engine = cls(settings, images, ContainerManager(parts, lifecycle), volumes, events, networking, runtime)
        if wanted:
            engine._starting = asyncio.get_running_loop().create_task(start_all(lifecycle, wanted))
        return engine

    async def close(self) -> None:
        """Lets go of everything; running containers run on."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.containers.close()
        await self.images.close()

    def cleanup_host(self) -> None:
        """For `weft down`, when no container is left: undoes what was done to the host's cgroup mounts."""
        cgroups.cleanup_host(self.settings.paths)
