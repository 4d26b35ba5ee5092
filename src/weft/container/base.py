"""The engine's contracts: what images give to containers, and what both give to `node/` and `dockerapi/`.

Errors are those of `weft.core.errors`: NotFoundError, ConflictError, InvalidError, UnsupportedError, UnavailableError;
a call that raises leaves nothing half made.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from weft.container.spec import Container, ContainerSpec


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the local store. `id` is the config's digest (`sha256:...`), `config` the OCI image config, whole."""

    id: str
    references: tuple[str, ...]
    repo_digests: tuple[str, ...]
    config: Mapping[str, Any]
    diff_ids: tuple[str, ...]
    size: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Credentials:
    """For a registry; `identity_token` is a refresh token of OAuth2."""

    username: str = ""
    password: str = ""
    identity_token: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a pull or push, as docker prints it: `id` is a layer's short id or empty."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    aux: Mapping[str, Any] = field(default_factory=dict)


ProgressSink = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """Overlay mount of a container: mounted at `path`, the container's own changes in `upper`."""

    path: Path
    upper: Path


class Images(Protocol):
    """Local images by reference (`busybox`, `localhost:5000/shop:v1`, `name@sha256:...`), id or unique id prefix."""

    def resolve(self, reference: str) -> Image:
        """Raises NotFoundError ("No such image: X")."""
        ...

    def list(self) -> Sequence[Image]: ...

    async def pull(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> Image: ...

    async def push(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> str:
        """Returns the manifest's digest."""
        ...

    def tag(self, source: str, target: str) -> None: ...

    async def remove(
        self, reference: str, *, force: bool = False
    ) -> Sequence[tuple[Literal["Untagged", "Deleted"], str]]:
        """Raises ConflictError where a container uses it (see `in_use`)."""
        ...

    async def commit(self, upper: Path, parent: Image | None, config: Mapping[str, Any], comment: str = "") -> Image:
        """A new image: `parent` with the changes in `upper` as one more layer (none if empty) and `config`."""
        ...

    async def prepare(self, container_id: str, image: Image) -> RootFilesystem:
        """Mounts a writable root for the container; doing so again returns the same."""
        ...

    async def release(self, container_id: str, *, delete: bool) -> None:
        """Unmounts; with `delete` also drops the container's changes. One that does not exist is no error."""
        ...


@dataclass(frozen=True, slots=True)
class LogLine:
    """A piece of a container's output; `data` keeps its newline, and has none where the line was not finished."""

    stream: Literal["stdout", "stderr"]
    time: float
    data: bytes


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A further process in a running container."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False
    privileged: bool = False


class ProcessStream(Protocol):
    """The stdio of an attached container or exec. With a TTY all output is `stdout`."""

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        """The next output; None at the end."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int:
        """The exit code, once the process has ended."""
        ...

    async def close(self) -> None:
        """Detaches; an exec's process that still runs goes on."""
        ...


class Containers(Protocol):
    """Containers by id, unique id prefix or name. They outlive this process; their monitor is conmon."""

    async def create(self, spec: ContainerSpec) -> Container:
        """Raises NotFoundError ("No such image"), ConflictError (name taken), InvalidError."""
        ...

    def get(self, key: str) -> Container:
        """Raises NotFoundError ("No such container: X")."""
        ...

    def list(self, *, labels: Mapping[str, str] | None = None) -> Sequence[Container]:
        """All, whatever their state, newest first; `labels` must all match."""
        ...

    async def start(self, key: str) -> Container: ...
    async def stop(self, key: str, timeout: float | None = None) -> Container: ...
    async def kill(self, key: str, signal: str = "SIGKILL") -> None: ...
    async def pause(self, key: str) -> None: ...
    async def unpause(self, key: str) -> None: ...
    async def rename(self, key: str, name: str) -> None: ...
    async def remove(self, key: str, *, force: bool = False, volumes: bool = False) -> None: ...

    async def wait(
        self, key: str, condition: Literal["not-running", "next-exit", "removed"] = "not-running"
    ) -> int: ...

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
    ) -> AsyncIterator[LogLine]: ...

    async def attach(self, key: str, *, stdin: bool = False) -> ProcessStream: ...
    async def resize(self, key: str, width: int, height: int) -> None: ...

    async def exec(self, key: str, spec: ExecSpec) -> ProcessStream:
        """Starts a process in a running container, attached."""
        ...

    async def top(self, key: str, ps_args: Sequence[str] = ()) -> tuple[Sequence[str], Sequence[Sequence[str]]]: ...
    async def stats(self, key: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened, in Docker's words: type container|image|network|volume, action create|start|die|..."""

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    time: float


class Events(Protocol):
    """The engine's events: published by its parts, kept for a while, read by any number of subscribers."""

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None: ...

    def subscribe(self, since: float | None = None) -> AsyncIterator[EngineEvent]:
        """Events from now on, or first the kept ones since a time."""
        ...
