"""A container engine and a network that only pretend, for tests of what stands on them; no root, no processes.

They honour `weft.container.base` and `weft.core.sandbox`: the same states, errors and events. A test plays the world:
`engine.containers.exit(id, code)` ends a container, `engine.containers.run_exec` answers execs,
`engine.images.published` is the registry.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from weft.container.base import Credentials, ExecSpec, Image, LogLine, ProgressSink, RootFilesystem
from weft.container.events import EventBus
from weft.container.spec import Container, ContainerSpec, State
from weft.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from weft.core.ids import hex_id
from weft.core.sandbox import PortBinding, Sandbox

_LIVE = (State.RUNNING, State.PAUSED)


def image(reference: str, config: Mapping[str, Any] | None = None) -> Image:
    """An image value named by one reference."""
    digest = "sha256:" + hashlib.sha256(reference.encode()).hexdigest()
    return Image(digest, (reference,), (), {"config": dict(config or {})}, (), 1000, time.time())


class FakeImages:
    """`present` is the local store, `published` what a pull finds."""

    def __init__(self, *references: str) -> None:
        self.present = {reference: image(reference) for reference in references}
        self.published: dict[str, Image] = {}
        self.pulls: list[str] = []

    def resolve(self, reference: str) -> Image:
        if not reference or reference != reference.lower():
            raise InvalidError("invalid reference format")
        for found in self.present.values():
            if reference in found.references or found.id == reference:
                return found
        raise NotFoundError(f"No such image: {reference}")

    def list(self) -> Sequence[Image]:
        return list(self.present.values())

    async def pull(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> Image:
        self.pulls.append(reference)
        await asyncio.sleep(0)
        if reference not in self.published:
            raise NotFoundError(f"manifest for {reference} not found")
        self.present[reference] = self.published[reference]
        return self.present[reference]

    async def push(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> str:
        self.published[reference] = self.resolve(reference)
        return self.published[reference].id

    def tag(self, source: str, target: str) -> None:
        found = self.resolve(source)
        self.present[target] = replace(found, references=(*found.references, target))

    async def remove(
        self, reference: str, *, force: bool = False
    ) -> Sequence[tuple[Literal["Untagged", "Deleted"], str]]:
        self.resolve(reference)
        del self.present[reference]
        return [("Untagged", reference)]

    async def commit(self, upper: Path, parent: Image | None, config: Mapping[str, Any], comment: str = "") -> Image:
        made = image(f"committed-{hex_id()[:12]}", config.get("config"))
        self.present[made.references[0]] = made
        return made

    async def prepare(self, container_id: str, image: Image) -> RootFilesystem:
        raise UnavailableError("a fake engine has no file systems")

    async def release(self, container_id: str, *, delete: bool) -> None:
        return


class FakeStream:
    """An exec or attachment whose output and exit code are known beforehand; `written` is its input."""

    def __init__(self, output: Sequence[tuple[Literal["stdout", "stderr"], bytes]], code: int = 0) -> None:
        self._output = list(output)
        self._code = code
        self.written = b""
        self.size = (0, 0)

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        return self._output.pop(0) if self._output else None

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close_stdin(self) -> None:
        return

    async def resize(self, width: int, height: int) -> None:
        self.size = (width, height)

    async def wait(self) -> int:
        return self._code

    async def close(self) -> None:
        return


@dataclass
class _Entry:
    container: Container
    log: list[LogLine] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class FakeContainers:
    """Containers as values in a dictionary; the state machine is the engine's."""

    def __init__(self, images: FakeImages, events: EventBus) -> None:
        self._images, self._events = images, events
        self._entries: dict[str, _Entry] = {}
        self.run_exec: Callable[[Container, ExecSpec], FakeStream] = lambda container, spec: FakeStream(())
        self.unstartable: dict[str, str] = {}  # image reference -> why
        self.stubborn = False  # ignores the stop signal
        self.broken: Exception | None = None  # what `list` raises, once

    # What a test does to the world

    def exit(self, key: str, code: int = 0, *, oom_killed: bool = False) -> None:
        """The container's process ends."""
        entry = self._entry(key)
        self._end(entry, code, oom_killed)

    def say(self, key: str, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        entry = self._entry(key)
        entry.log.append(LogLine(stream, time.time(), text.encode()))
        self._tell(entry)

    # The contract

    async def create(self, spec: ContainerSpec) -> Container:
        found = self._images.resolve(spec.image)
        if any(entry.container.name == spec.name for entry in self._entries.values()):
            raise ConflictError(f'The container name "/{spec.name}" is already in use')
        container = Container(hex_id(), spec.name or hex_id()[:12], spec, found.id, time.time())
        self._entries[container.id] = _Entry(container)
        self._publish(container, "create")
        return container

    def get(self, key: str) -> Container:
        return self._entry(key).container

    def list(self, *, labels: Mapping[str, str] | None = None) -> Sequence[Container]:
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        wanted = (labels or {}).items()
        found = [entry.container for entry in self._entries.values()]
        found = [container for container in found if wanted <= container.spec.labels.items()]
        return sorted(found, key=lambda container: container.created_at, reverse=True)

    async def start(self, key: str) -> Container:
        entry = self._entry(key)
        await asyncio.sleep(0)
        if entry.container.spec.image in self.unstartable:
            error = self.unstartable[entry.container.spec.image]
            entry.container = replace(entry.container, error=error, exit_code=127)
            raise InvalidError(error)
        if entry.container.state not in _LIVE:
            entry.container = replace(entry.container, state=State.RUNNING, pid=4_000_000, started_at=time.time())
            self._publish(entry.container, "start")
        return entry.container

    async def stop(self, key: str, timeout: float | None = None) -> Container:
        entry = self._entry(key)
        if entry.container.state in _LIVE:
            if self.stubborn:
                await self._ended(entry, 10.0 if timeout is None else timeout)
            self._end(entry, 137 if self.stubborn else 143)
        return entry.container

    async def kill(self, key: str, signal: str = "SIGKILL") -> None:
        entry = self._entry(key)
        if entry.container.state not in _LIVE:
            raise ConflictError(f"cannot kill container: {key}: container {entry.container.id} is not running")
        if signal == "SIGKILL":
            self._end(entry, 137)

    async def pause(self, key: str) -> None:
        self._change(key, State.RUNNING, State.PAUSED)

    async def unpause(self, key: str) -> None:
        self._change(key, State.PAUSED, State.RUNNING)

    async def rename(self, key: str, name: str) -> None:
        entry = self._entry(key)
        entry.container = replace(entry.container, name=name)

    async def remove(self, key: str, *, force: bool = False, volumes: bool = False) -> None:
        entry = self._entry(key)
        if entry.container.state in _LIVE:
            if not force:
                raise ConflictError(f'cannot remove container "/{entry.container.name}": container is running')
            self._end(entry, 137)
        del self._entries[entry.container.id]
        self._publish(entry.container, "destroy")
        self._tell(entry)

    async def wait(self, key: str, condition: Literal["not-running", "next-exit", "removed"] = "not-running") -> int:
        entry = self._entry(key)
        while entry.container.state in _LIVE or (condition == "removed" and entry.container.id in self._entries):
            await entry.changed.wait()
        return entry.container.exit_code

    async def logs(
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
        entry = self._entry(key)
        index = max(len(entry.log) - tail, 0) if tail is not None else 0
        while True:
            while index < len(entry.log):
                line = entry.log[index]
                index += 1
                if (stdout if line.stream == "stdout" else stderr) and line.time >= since:
                    yield line
            if not follow or entry.container.state not in _LIVE:
                return
            await entry.changed.wait()

    async def attach(self, key: str, *, stdin: bool = False) -> FakeStream:
        entry = self._entry(key)
        return FakeStream([(line.stream, line.data) for line in entry.log], entry.container.exit_code)

    async def resize(self, key: str, width: int, height: int) -> None:
        self._entry(key)

    async def exec(self, key: str, spec: ExecSpec) -> FakeStream:
        container = self._entry(key).container
        if container.state is not State.RUNNING:
            raise ConflictError(f"container {container.id} is not running")
        return self.run_exec(container, spec)

    async def top(self, key: str, ps_args: Sequence[str] = ()) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        self._entry(key)
        return ("PID",), ()

    async def stats(self, key: str) -> Mapping[str, Any]:
        return {"id": self._entry(key).container.id}

    # Inside

    def _entry(self, key: str) -> _Entry:
        for entry in self._entries.values():
            if key in (entry.container.id, entry.container.name):
                return entry
        raise NotFoundError(f"No such container: {key}")

    def _change(self, key: str, before: State, after: State) -> None:
        entry = self._entry(key)
        if entry.container.state is not before:
            raise ConflictError(f"Container {entry.container.id} is {entry.container.state}")
        entry.container = replace(entry.container, state=after)

    async def _ended(self, entry: _Entry, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while entry.container.state in _LIVE:
                    await entry.changed.wait()
        except TimeoutError:
            return

    def _end(self, entry: _Entry, code: int, oom_killed: bool = False) -> None:
        if entry.container.state not in _LIVE:
            return
        entry.container = replace(
            entry.container,
            state=State.EXITED, exit_code=code, oom_killed=oom_killed, pid=0, finished_at=time.time(),
        )  # fmt: skip
        self._publish(entry.container, "die", {"exitCode": str(code)})
        self._tell(entry)

    def _tell(self, entry: _Entry) -> None:
        entry.changed.set()
        entry.changed = asyncio.Event()

    def _publish(self, container: Container, action: str, more: Mapping[str, str] | None = None) -> None:
        own = {**container.spec.labels, "image": container.spec.image, "name": container.name}
        self._events.publish("container", action, container.id, {**own, **(more or {})})


class FakeEngine:
    """Images, containers and events that belong together."""

    def __init__(self, *references: str) -> None:
        self.images = FakeImages(*references)
        self.events = EventBus()
        self.containers = FakeContainers(self.images, self.events)


class FakeNetworking:
    """Sandboxes with addresses from 10.9.0.0/24 and no kernel behind them."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Sandbox] = {}
        self._last = 1

    async def create(self, sandbox_id: str, ports: Sequence[PortBinding] = ()) -> Sandbox:
        await asyncio.sleep(0)
        if sandbox_id in self._sandboxes:
            return self._sandboxes[sandbox_id]
        taken = {port.host_port for each in self._sandboxes.values() for port in each.ports}
        for port in ports:
            if port.host_port in taken:
                raise ConflictError(f"port {port.host_port} is already allocated")
        self._last += 1
        address, path = f"10.9.0.{self._last}", f"/run/fake/{sandbox_id}"
        sandbox = Sandbox(sandbox_id, path, address, 24, "10.9.0.1", "02:42:0a:09:00:02", tuple(ports))
        self._sandboxes[sandbox_id] = sandbox
        return sandbox

    async def remove(self, sandbox_id: str) -> None:
        self._sandboxes.pop(sandbox_id, None)

    def get(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.get(sandbox_id)

    def list(self) -> Sequence[Sandbox]:
        return tuple(self._sandboxes.values())

    @property
    def nameserver(self) -> str:
        return "127.0.0.1"
