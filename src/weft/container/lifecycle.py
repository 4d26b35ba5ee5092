"""A container's states and the steps between them: launch, end, restart, clean-up.

One lock a container orders the steps; a watcher task waits for the end of its conmon. What conmon reports becomes
the container's state here and nowhere else; `containers.py` asks for steps, `reconcile.py` finds them done.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from weft.container import restart
from weft.container.base import Events, Images
from weft.container.bundle import Bundles
from weft.container.index import Index
from weft.container.records import Life, Record, RecordFiles, resolve_waiters
from weft.container.runtime import cgroups, conmon, pidfd
from weft.container.runtime.commands import OciRuntime
from weft.container.runtime.compiled import CompiledFilters
from weft.container.spec import State
from weft.container.volumes import Volumes
from weft.core.errors import ConflictError, InvalidError, NotFoundError, WeftError
from weft.core.sandbox import Networking, PortBinding, Sandbox
from weft.core.settings import Settings

logger = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
_NOT_FOUND = ("executable file", "no such file or directory", "not found in $path")
_NOT_EXECUTABLE = ("permission denied", "is a directory", "exec format error")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the steps work with."""

    settings: Settings
    images: Images
    networking: Networking
    events: Events
    volumes: Volumes
    bundles: Bundles
    runtime: OciRuntime
    index: Index
    files: RecordFiles
    conmon: str
    monitor_cgroup: str

    @property
    def exits(self) -> Path:
        return self.settings.paths.run / "exits"


class Lifecycle:
    """The steps, and the tasks that watch running containers."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._filters = CompiledFilters()
        self.on_running: Callable[[Record], None] = lambda record: None

    def publish(self, record: Record, action: str, attributes: Mapping[str, str] | None = None) -> None:
        container = record.container
        own = {**container.spec.labels, "image": container.spec.image, "name": container.name}
        self.parts.events.publish("container", action, record.id, {**own, **(attributes or {})})

    def save(self, record: Record) -> None:
        self.parts.files.save(record)

    async def start(self, record: Record) -> None:
        """Starts one that does not run; raises what hindered it, with nothing left behind."""
        async with record.lock:
            if record.is_running:
                return
            if record.container.state in (State.REMOVING, State.DEAD):
                raise ConflictError("container is marked for removal and cannot be started")
            record.manually_stopped = False
            try:
                await self._launch(record)
            except (WeftError, OSError) as error:
                code = _start_code(str(error))
                await self.clean_run(record)
                record.change(error=str(error), exit_code=code, pid=0)
                if record.container.state is State.RESTARTING:
                    record.change(state=State.EXITED, finished_at=time.time())
                self.save(record)
                self._abandon(record)
                resolve_waiters(record.exit_waiters, code)
                if record.container.spec.auto_remove:
                    await self.delete(record, volumes=True)
                raise

    async def _launch(self, record: Record) -> None:
        parts, id, spec = self.parts, record.id, record.container.spec
        directory = parts.bundles.directory(id)
        directory.mkdir(parents=True, exist_ok=True)
        parts.exits.mkdir(exist_ok=True)
        (parts.exits / id).unlink(missing_ok=True)
        if parts.runtime.name == "crun":
            cgroups.prepare_host(parts.settings.paths)
        image = parts.images.resolve(record.container.image_id)
        sandbox_task = asyncio.ensure_future(self._sandbox(record))
        try:
            root = await parts.images.prepare(id, image)
        finally:
            await asyncio.wait({sandbox_task})
        sandbox = sandbox_task.result()
        configuration = await parts.bundles.make(record, image, root.path, sandbox, parts.files.path(id))
        filters = self._filters if parts.runtime.name == "crun" else None
        if filters is not None:
            filters.apply(configuration)
        (directory / "config.json").write_bytes(orjson.dumps(configuration))
        job = conmon.Job(
            id=id,
            container_id=id,
            name=record.container.name,
            directory=directory,
            exits=parts.exits,
            log=Path(record.container.log_path) if spec.log else None,
            runtime=parts.runtime.argv,
            tty=spec.tty,
            stdin=spec.open_stdin,
            leave_stdin_open=not spec.stdin_once,
        )
        try:
            monitored = await conmon.create(job, parts.conmon, parts.monitor_cgroup)
            if filters is not None:
                filters.learn(configuration, parts.runtime.root / id)
            for attachment in record.attachments:
                attachment.connected(conmon.connect(directory))
            record.attachments.clear()
            life = Life(
                BOOT_ID,
                pidfd.start_time(monitored.pid),
                monitored.monitor_pid,
                pidfd.start_time(monitored.monitor_pid),
            )
            await parts.runtime.start(id)
        except (conmon.RuntimeFailure, WeftError) as error:
            raise _runtime_error(parts.runtime.name, str(error)) from error
        record.life = life
        record.change(
            state=State.RUNNING,
            pid=monitored.pid,
            exit_code=0,
            error="",
            oom_killed=False,
            started_at=time.time(),
            health=None,
            sandbox_id=sandbox.id if sandbox else "",
        )
        self.save(record)
        self.watch(record)
        self.publish(record, "start")

    async def _sandbox(self, record: Record) -> Sandbox | None:
        spec = record.container.spec
        if spec.network != "bridge":
            return None
        ports = spec.ports
        if spec.publish_all:
            ports += self._exposed(record)
        try:
            return await self.parts.networking.create(record.id, ports)
        except ConflictError as error:
            name = record.container.name
            raise WeftError(
                f"driver failed programming external connectivity on endpoint {name} ({record.id}): {error}"
            ) from error

    def _exposed(self, record: Record) -> tuple[PortBinding, ...]:
        """`-P`: each exposed port that is not published yet gets a free port of the host."""
        image = self.parts.images.resolve(record.container.image_id)
        exposed = {*(image.config.get("config") or {}).get("ExposedPorts", {})}
        exposed |= set(record.container.spec.docker.get("ExposedPorts") or {})
        taken = {(port.container_port, port.protocol) for port in record.container.spec.ports}
        found = []
        for text in sorted(exposed):
            number, _, protocol = text.partition("/")
            if number.isdecimal() and protocol in ("", "tcp", "udp") and (int(number), protocol or "tcp") not in taken:
                found.append(PortBinding(int(number), "udp" if protocol == "udp" else "tcp"))
        return tuple(found)

    def watch(self, record: Record) -> None:
        """Waits for the end of a running container in the background."""
        record.watcher = asyncio.get_running_loop().create_task(self._watch(record), name=f"watch {record.id[:12]}")
        self.on_running(record)

    async def _watch(self, record: Record) -> None:
        life = record.life
        await pidfd.ended(life.monitor_pid, life.monitor_started)
        try:
            async with record.lock:
                if record.life is life and record.is_running:
                    await self.finish(record)
        except Exception:
            logger.exception("cannot clean up after a container", extra={"id": record.id})

    async def finish(self, record: Record, default_code: int = 137) -> None:
        """The container has ended: state, event, waiters, then clean-up, restart or removal. Needs the lock."""
        parts, spec, life = self.parts, record.container.spec, record.life
        code, error = default_code, ""
        try:
            code = int((parts.exits / record.id).read_text())
        except (OSError, ValueError):
            error = "the container's monitor ended without an exit code"
            if pidfd.send(record.container.pid, life.init_started, signal.SIGKILL):
                await pidfd.ended(record.container.pid, life.init_started)
        now = time.time()
        again = restart.should_restart(
            spec.restart, code, record.container.restart_count, manually_stopped=record.manually_stopped
        )
        oom = (parts.bundles.directory(record.id) / "oom").exists()
        ran_for = now - record.container.started_at
        record.change(
            state=State.RESTARTING if again else State.EXITED,
            exit_code=code, error=error, oom_killed=oom, finished_at=now, pid=0,
        )  # fmt: skip
        self.save(record)
        if oom:
            self.publish(record, "oom")
        self.publish(record, "die", {"exitCode": str(code), "execDuration": str(int(ran_for))})
        if not again:
            resolve_waiters(record.exit_waiters, code)
        remove = spec.auto_remove and not again and not record.restarting
        await self.clean_run(record, delete=remove, ended=True)
        if remove:
            await self.delete(record, volumes=True)
        elif again:
            record.restarter = asyncio.get_running_loop().create_task(self._restart(record, ran_for))

    async def _restart(self, record: Record, ran_for: float) -> None:
        record.restart_delay = restart.next_delay(record.restart_delay, ran_for)
        await asyncio.sleep(record.restart_delay)
        if record.container.state is not State.RESTARTING:
            return
        record.change(restart_count=record.container.restart_count + 1)
        try:
            await self.start(record)
        except (WeftError, OSError) as error:
            logger.warning("cannot restart a container", extra={"id": record.id, "cause": error})

    def cancel_restart(self, record: Record) -> None:
        """A user stopped it while it waited to be started again."""
        if record.restarter is not None and record.restarter is not asyncio.current_task():
            record.restarter.cancel()
            record.restarter = None
        if record.container.state is State.RESTARTING:
            record.change(state=State.EXITED)
            self.save(record)
            resolve_waiters(record.exit_waiters, record.container.exit_code)

    def signal(self, record: Record, number: int) -> bool:
        return pidfd.send(record.container.pid, record.life.init_started, number)

    async def stop(self, record: Record, number: int, timeout: float) -> None:
        """Signals, waits (for ever if `timeout` is negative), kills; returns when all is cleaned up."""
        record.manually_stopped = True
        self.cancel_restart(record)
        if not record.is_running:
            return
        self.save(record)
        ended = record.next_exit()
        self.signal(record, number)
        if record.container.state is State.PAUSED:
            await self.resume(record)
        self.publish(record, "kill", {"signal": str(number)})
        done, _ = await asyncio.wait({ended}, timeout=None if timeout < 0 else timeout)
        if not done:
            self.signal(record, signal.SIGKILL)
            self.publish(record, "kill", {"signal": str(int(signal.SIGKILL))})
            await ended
        async with record.lock:
            pass  # its clean-up is done
        self.publish(record, "stop")

    async def pause(self, record: Record) -> None:
        async with record.lock:
            if record.container.state is State.PAUSED:
                raise ConflictError(f"Container {record.id} is already paused")
            if record.container.state is not State.RUNNING:
                raise ConflictError(f"Container {record.id} is not running")
            await self.parts.runtime.pause(record.id)
            record.change(state=State.PAUSED)
            self.save(record)
            self.publish(record, "pause")

    async def resume(self, record: Record) -> None:
        async with record.lock:
            if record.container.state is not State.PAUSED:
                raise ConflictError(f"Container {record.id} is not paused")
            await self.parts.runtime.resume(record.id)
            record.change(state=State.RUNNING)
            self.save(record)
            self.publish(record, "unpause")

    async def remove(self, record: Record, *, volumes: bool) -> None:
        """Removes one that does not run."""
        async with record.lock:
            if self.parts.index.has(record):
                await self.clean_run(record, delete=True)
                await self.delete(record, volumes=volumes)

    async def delete(self, record: Record, *, volumes: bool) -> None:
        """Drops all that is left of it. Needs the lock. If we are killed meanwhile, `reconcile` goes on."""
        parts = self.parts
        record.change(state=State.REMOVING)
        self.save(record)
        await parts.images.release(record.id, delete=True)
        parts.index.discard(record)
        if volumes:
            await self._delete_anonymous_volumes(record)
        await asyncio.to_thread(parts.files.delete, record.id)
        self._abandon(record)
        resolve_waiters(record.exit_waiters, record.container.exit_code)
        resolve_waiters(record.removal_waiters, record.container.exit_code)
        self.publish(record, "destroy")

    async def _delete_anonymous_volumes(self, record: Record) -> None:
        for mount in record.container.spec.mounts:
            if mount.type != "volume":
                continue
            with contextlib.suppress(NotFoundError, ConflictError):
                if self.parts.volumes.get(mount.source).anonymous:
                    await self.parts.volumes.remove(mount.source)

    async def clean_run(self, record: Record, *, delete: bool = False, ended: bool = False) -> None:
        """Undoes a launch: the runtime's state, the sandbox, the mounted root, the files under run.

        `ended`: its processes are gone for sure, so that the steps need not wait for one another.
        """
        parts, id = self.parts, record.id
        directory = parts.bundles.directory(id)
        if not directory.exists():
            return
        steps = []
        if record.container.spec.network == "bridge":
            steps.append(self._logged(record, "remove its sandbox", parts.networking.remove(id)))
        if not delete:  # else `delete` releases it once, for good
            steps.append(self._logged(record, "unmount its root", parts.images.release(id, delete=False)))
        forget = self._logged(record, "delete it from the runtime", parts.runtime.delete(id))
        if ended:
            await asyncio.gather(forget, *steps)
        else:
            await forget
            await self._end_monitor(directory)
            await asyncio.gather(*steps)
        cgroups.remove(parts.bundles.cgroup(record))
        (parts.exits / id).unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)

    async def _logged(self, record: Record, what: str, step: Awaitable[None]) -> None:
        """One step of clean-up that fails must not keep the others from being done."""
        try:
            await step
        except Exception:
            logger.exception("cannot %s", what, extra={"id": record.id})

    async def _end_monitor(self, directory: Path) -> None:
        """A conmon that outlived its container, as when the start was given up half-way."""
        try:
            pid = int((directory / "conmon.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if os.fsencode(directory) in command:
            started = pidfd.start_time(pid)
            if pidfd.send(pid, started, signal.SIGTERM):
                await pidfd.ended(pid, started)

    def _abandon(self, record: Record) -> None:
        for attachment in record.attachments:
            attachment.abandoned()
        record.attachments.clear()


def _start_code(message: str) -> int:
    """The exit code that a shell gives for the same failure, as docker records it: 127, 126, else 128."""
    lower = message.lower()
    if any(text in lower for text in _NOT_FOUND):
        return 127
    return 126 if any(text in lower for text in _NOT_EXECUTABLE) else 128


def _runtime_error(runtime: str, message: str) -> WeftError:
    """In docker's words: its CLI finds the exit code by the lower-case text of the cause."""
    text = f"failed to create task for container: OCI runtime create failed: {runtime}: {message}"
    for cause in ("No such file or directory", "Permission denied", "Is a directory"):
        text = text.replace(cause, cause.lower())
    return InvalidError(text) if _start_code(text) in (126, 127) else WeftError(text)
