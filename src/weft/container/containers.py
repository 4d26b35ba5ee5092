"""The engine's containers, as `dockerapi/` and `node/` use them; satisfies `weft.container.base.Containers`."""

import asyncio
import contextlib
import signal as signals
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from weft.container import health, logs, stats
from weft.container.attach import AttachStream
from weft.container.base import ExecSpec, Image, LogLine, RootFilesystem
from weft.container.bundle import has_swap_accounting
from weft.container.execs import Execs
from weft.container.lifecycle import Lifecycle, Parts
from weft.container.records import Record
from weft.container.runtime import conmon, oci_spec
from weft.container.spec import Container, ContainerSpec, Health, Mount, State
from weft.core.errors import ConflictError, InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.ids import hex_id
from weft.core.process import ProcessError, run

_STOP_SECONDS = 10.0  # Docker's default

WaitCondition = Literal["not-running", "next-exit", "removed"]


class ContainerManager:
    """All calls take an id, a unique prefix of one, or a name."""

    def __init__(self, parts: Parts, lifecycle: Lifecycle) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._execs = Execs(parts)
        lifecycle.on_running = self._look_after
        for record in parts.index.all():
            if record.is_running:
                self._look_after(record)

    def _look_after(self, record: Record) -> None:
        """Checks the health of one that has begun to run, or that still runs."""
        if record.prober is not None:
            record.prober.cancel()
            record.prober = None
        check = self._health_check(record.container.spec, record.container.image_id)
        if check is None:
            return
        if record.container.health is None:
            record.change(health=Health())
        record.prober = asyncio.get_running_loop().create_task(
            health.watch(record, check, self._execs.start, self._health_changed), name=f"health {record.id[:12]}"
        )

    def _health_check(self, spec: ContainerSpec, image: str) -> health.HealthCheck | None:
        try:
            config: Mapping[str, Any] = self._parts.images.resolve(image).config.get("config") or {}
        except NotFoundError:
            config = {}
        shell = tuple(config.get("Shell") or ("/bin/sh", "-c"))
        return health.read(spec.healthcheck, config.get("Healthcheck"), shell)

    def _health_changed(self, record: Record, status: str) -> None:
        self._parts.files.save(record)
        if status:
            self._lifecycle.publish(record, f"health_status: {status}")

    async def update(self, key: str, spec: ContainerSpec) -> Container:
        """Other limits and another restart policy, also while it runs; `spec` is the old one with those changed.

        Raises what the runtime says where it cannot; nothing has changed then.
        """
        record = self._parts.index.find(key)
        if record.container.state in (State.REMOVING, State.DEAD):
            raise ConflictError(f'Container {record.id} is marked for removal and cannot be "update".')
        if spec.auto_remove and spec.restart.name != "no":
            raise ConflictError(
                f"Restart policy cannot be updated because AutoRemove is enabled for the container {record.id}"
            )
        async with record.lock:
            if record.is_running and spec.resources != record.container.spec.resources:
                try:
                    await self._parts.runtime.update(record.id, oci_spec.limits(spec.resources, has_swap_accounting()))
                except ProcessError as error:
                    raise WeftError(f"Cannot update container {record.id}: {error.stderr.strip()}") from error
            record.change(spec=spec)
            self._parts.files.save(record)
        self._lifecycle.publish(record, "update")
        return record.container

    async def create(self, spec: ContainerSpec) -> Container:
        parts = self._parts
        image = parts.images.resolve(spec.image)
        image_config: Mapping[str, Any] = image.config.get("config") or {}
        oci_spec.command(spec, image_config)
        oci_spec.capability_set(spec, frozenset())
        health.read(spec.healthcheck, image_config.get("Healthcheck"), ())
        for mode in (spec.network, spec.ipc, spec.pid):
            if mode.startswith("container:"):
                parts.index.find(mode.partition(":")[2])
        name = spec.name.removeprefix("/") or parts.index.free_name()
        parts.index.check_name(name)
        spec = replace(spec, name=name, mounts=_mounts(spec, image_config))
        id = hex_id()
        directory = parts.files.path(id)
        container = Container(
            id=id,
            name=name,
            spec=spec,
            image_id=image.id,
            created_at=time.time(),
            log_path=str(directory / "container.log"),
        )
        record = Record(container)
        made: list[Mount] = []
        for mount in spec.mounts:
            if mount.type == "volume" and not mount.source:
                made.append(replace(mount, source=parts.volumes.create().name))
            elif mount.type == "volume":
                parts.volumes.create(mount.source)
                made.append(mount)
            else:
                made.append(mount)
        record.change(spec=replace(spec, mounts=tuple(made)))
        directory.mkdir()
        (directory / "container.log").touch(0o640)
        parts.files.save(record)
        parts.index.add(record)
        self._lifecycle.publish(record, "create")
        return record.container

    def get(self, key: str) -> Container:
        return self._parts.index.find(key).container

    def list(self, *, labels: Mapping[str, str] | None = None) -> Sequence[Container]:
        wanted = (labels or {}).items()
        found = [record.container for record in self._parts.index.all()]
        found = [container for container in found if wanted <= container.spec.labels.items()]
        return sorted(found, key=lambda container: container.created_at, reverse=True)

    async def start(self, key: str) -> Container:
        record = self._parts.index.find(key)
        if record.container.state is State.PAUSED:
            raise ConflictError("cannot start a paused container, try unpause instead")
        self._lifecycle.cancel_restart(record)
        await self._lifecycle.start(record)
        return record.container

    async def stop(self, key: str, timeout: float | None = None, signal: str | None = None) -> Container:
        record = self._parts.index.find(key)
        spec = record.container.spec
        if timeout is None:
            timeout = float(spec.stop_timeout) if spec.stop_timeout is not None else _STOP_SECONDS
        await self._lifecycle.stop(record, self._stop_signal(record, signal), timeout)
        return record.container

    def _stop_signal(self, record: Record, wished: str | None) -> int:
        if wished or record.container.spec.stop_signal:
            return signal_number(wished or record.container.spec.stop_signal or "")
        try:
            config = self._parts.images.resolve(record.container.image_id).config.get("config") or {}
        except NotFoundError:
            config = {}
        return signal_number(str(config.get("StopSignal") or "SIGTERM"))

    async def restart(self, key: str, timeout: float | None = None, signal: str | None = None) -> Container:
        """Stops it if it runs, and starts it."""
        record = self._parts.index.find(key)
        record.restarting = True
        try:
            await self.stop(key, timeout, signal)
        finally:
            record.restarting = False
        await self._lifecycle.start(record)
        self._lifecycle.publish(record, "restart")
        return record.container

    async def kill(self, key: str, signal: str = "SIGKILL") -> None:
        record, number = self._parts.index.find(key), signal_number(signal)
        if not record.is_running:
            raise ConflictError(f"cannot kill container: {key}: container {record.id} is not running")
        record.manually_stopped = True
        ended = record.next_exit()
        self._lifecycle.signal(record, number)
        self._lifecycle.publish(record, "kill", {"signal": str(number)})
        if number == signals.SIGKILL:  # as dockerd: who asks next finds that it has ended
            await asyncio.wait({ended}, timeout=_STOP_SECONDS)

    async def pause(self, key: str) -> None:
        await self._lifecycle.pause(self._parts.index.find(key))

    async def unpause(self, key: str) -> None:
        await self._lifecycle.resume(self._parts.index.find(key))

    async def rename(self, key: str, name: str) -> None:
        record = self._parts.index.find(key)
        old = record.container.name
        name = name.removeprefix("/")
        if name == old:
            raise InvalidError("Renaming a container with the same name as its current name")
        async with record.lock:
            self._parts.index.rename(record, name)
            record.change(spec=replace(record.container.spec, name=name))
            self._lifecycle.save(record)
        self._lifecycle.publish(record, "rename", {"oldName": f"/{old}"})

    async def remove(self, key: str, *, force: bool = False, volumes: bool = False) -> None:
        record = self._parts.index.find(key)
        if record.is_running or record.container.state is State.RESTARTING:
            if not force:
                doing = "paused" if record.container.state is State.PAUSED else "running"
                hint = "stop the container before removing or force remove"
                if doing == "paused":
                    hint = "unpause and then stop the container before removing or force remove"
                raise ConflictError(f'cannot remove container "/{record.container.name}": container is {doing}: {hint}')
            await self._lifecycle.stop(record, signals.SIGKILL, 10)
        await self._lifecycle.remove(record, volumes=volumes)

    def waiter(self, key: str, condition: WaitCondition = "not-running") -> "asyncio.Future[int]":
        """The exit code to come; it counts from this call on, awaited or not."""
        record = self._parts.index.find(key)
        if condition == "removed":
            return record.next_removal()
        if condition == "next-exit" or record.is_running or record.container.state is State.RESTARTING:
            return record.next_exit()
        now: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        now.set_result(record.container.exit_code)
        return now

    async def wait(self, key: str, condition: WaitCondition = "not-running") -> int:
        return await self.waiter(key, condition)

    def logs(
        self,
        key: str,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: float = 0,
        until: float = 0,
        tail: int | None = None,
    ) -> AsyncIterator[LogLine]:
        record = self._parts.index.find(key)
        if not self._parts.index.find(key).container.spec.log:
            raise UnsupportedError("configured logging driver does not support reading")
        selection = logs.Selection(stdout, stderr, since, until, tail)
        path = self._parts.files.path(record.id) / "container.log"
        return logs.read(path, selection, self.waiter(record.id) if follow else None)

    async def attach(self, key: str, *, stdin: bool = False) -> AttachStream:
        """To a container that does not run: connects when it starts, before its first byte."""
        record = self._parts.index.find(key)
        if record.container.state is State.PAUSED:
            raise ConflictError(f"container {record.id} is paused, unpause the container before attach")
        spec, directory = record.container.spec, self._parts.bundles.directory(record.id)
        ended = record.next_exit() if not record.is_running else self.waiter(record.id)

        async def wait() -> int:
            return await asyncio.shield(ended)

        stream = AttachStream(
            stdin=stdin and spec.open_stdin,
            hang_up=not (spec.open_stdin and spec.stdin_once),
            wait=wait,
            resize=lambda width, height: conmon.resize(directory, width, height),
        )
        if record.is_running:
            try:
                stream.connected(conmon.connect(directory))
            except OSError:
                stream.abandoned()  # it has just ended
        else:
            record.attachments.append(stream)
        self._lifecycle.publish(record, "attach")
        return stream

    async def resize(self, key: str, width: int, height: int) -> None:
        record = self._parts.index.find(key)
        if not record.is_running:
            raise ConflictError(f"container {record.id} is not running")
        conmon.resize(self._parts.bundles.directory(record.id), width, height)
        self._lifecycle.publish(record, "resize", {"height": str(height), "width": str(width)})

    async def exec(self, key: str, spec: ExecSpec) -> AttachStream:
        record = self._parts.index.find(key)
        stream = await self._execs.start(record, spec)
        self._lifecycle.publish(record, f"exec_start: {' '.join(spec.command)}")
        return stream

    async def top(self, key: str, ps_args: Sequence[str] = ()) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """`ps` of the host, cut down to the container's processes."""
        record = self._parts.index.find(key)
        if not record.is_running:
            raise ConflictError(f"container {record.id} is not running")
        own = {str(pid) for pid in stats.pids(self._parts.bundles.cgroup(record))}
        try:
            output = await run("ps", *(ps_args or ("-ef",)))
        except ProcessError as error:
            raise InvalidError(f"error running ps: {error.stderr.strip()}") from error
        first, *lines = output.stdout.decode(errors="replace").splitlines()
        titles = first.split()
        if "PID" not in titles:
            raise InvalidError("Couldn't find PID field in ps output")
        column = titles.index("PID")
        rows = [line.split(None, len(titles) - 1) for line in lines]
        return titles, [row for row in rows if len(row) > column and row[column] in own]

    async def stats(self, key: str) -> Mapping[str, Any]:
        """One reading, in the shape of Docker's API; the sums are zero while it does not run."""
        record = self._parts.index.find(key)
        found = stats.read(self._parts.bundles.cgroup(record), record.container.pid)
        return found | {"id": record.id, "name": f"/{record.container.name}"}

    @contextlib.asynccontextmanager
    async def root(self, key: str) -> AsyncIterator[RootFilesystem]:
        """The container's files, whether it runs or not."""
        record = self._parts.index.find(key)
        image = self._parts.images.resolve(record.container.image_id)
        if record.is_running:
            yield await self._parts.images.prepare(record.id, image)
            return
        async with record.lock:
            try:
                yield await self._parts.images.prepare(record.id, image)
            finally:
                await self._parts.images.release(record.id, delete=False)

    def image_of(self, key: str) -> Image | None:
        """The image that a container was made from, if it is still there."""
        try:
            return self._parts.images.resolve(self._parts.index.find(key).container.image_id)
        except NotFoundError:
            return None

    async def close(self) -> None:
        """Stops watching; containers run on."""
        await self._execs.close()
        tasks = [
            task
            for record in self._parts.index.all()
            for task in (record.watcher, record.restarter, record.prober)
            if task
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def signal_number(name: str) -> int:
    """`SIGTERM`, `term`, `15`, `SIGRTMIN+3`; raises InvalidError."""
    text = name.upper()
    if text.isdecimal() and 0 < int(text) <= signals.SIGRTMAX:
        return int(text)
    text = text if text.startswith("SIG") else f"SIG{text}"
    base, plus, offset = text.partition("+")
    try:
        return int(signals.Signals[base]) + (int(offset) if plus else 0)
    except (KeyError, ValueError):
        raise InvalidError(f"Invalid signal: {name}")


def _mounts(spec: ContainerSpec, image_config: Mapping[str, Any]) -> tuple[Mount, ...]:
    """The specification's, and an anonymous volume for each VOLUME of the image that nothing else is mounted at."""
    targets = [mount.target.rstrip("/") for mount in spec.mounts]
    if len(set(targets)) != len(targets):
        double = next(target for target in targets if targets.count(target) > 1)
        raise InvalidError(f"Duplicate mount point: {double}")
    for mount in spec.mounts:
        if not mount.target.startswith("/") or not mount.target.strip("/"):
            raise InvalidError(f"invalid mount path: '{mount.target}' mount path must be absolute and not '/'")
    missing = [path for path in image_config.get("Volumes") or {} if path.rstrip("/") not in targets]
    return spec.mounts + tuple(Mount(path, type="volume") for path in missing)
