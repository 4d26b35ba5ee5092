"""A container as a value: what its creator asked for, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from weft.core.sandbox import PortBinding


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount in the container. `source` is a host path (bind), a volume's name (volume) or empty (tmpfs)."""

    target: str
    source: str = ""
    type: Literal["bind", "volume", "tmpfs"] = "bind"
    read_only: bool = False
    propagation: str = "rprivate"
    size: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits; 0 means none. Memory in bytes, CPU time in microseconds a period."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    oom_score_adj: int | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Docker's restart policy; the engine itself restarts. Pods use `no`: the node agent decides there."""

    name: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    maximum_retries: int = 0


@dataclass(frozen=True, slots=True)
class HealthResult:
    """One run of a health check: when (seconds since 1970), its exit code (-1: it took too long) and its output."""

    start: float
    end: float
    exit_code: int
    output: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What health checks have found; `log` are the last results, oldest first."""

    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    failing_streak: int = 0
    log: tuple[HealthResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What is asked for. `None` for entrypoint, command, working_dir, user, stop_signal means: what the image says.

    `network` is `bridge` (the engine makes a sandbox of the container's own id), `host`, `none`,
    `netns:PATH` (join; the caller owns it) or `container:ID`. `ipc` and `pid` are `private`, `host` or `container:ID`.
    """

    image: str
    name: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    groups: tuple[int, ...] = ()
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    mounts: tuple[Mount, ...] = ()
    network: str = "bridge"
    ports: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    ipc: str = "private"
    pid: str = "private"
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: str = "default"
    read_only: bool = False
    init: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None
    auto_remove: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""
    cgroup_parent: str = ""
    shm_size: int = 0
    # (path on the host, path in the container, cgroup permissions such as "rwm")
    devices: tuple[tuple[str, str, str], ...] = ()
    # Docker's `Healthcheck`; what it leaves open the image says. None: all is the image's.
    healthcheck: Mapping[str, Any] | None = None
    # Without a log, `logs` has nothing to give.
    log: bool = True
    # The request as Docker's API received it, given back by inspect; the engine does not read it.
    docker: Mapping[str, Any] = field(default_factory=dict)


class State(StrEnum):
    """Docker's container states."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is now: a snapshot, not live. Times are seconds since 1970, 0 for never."""

    id: str
    name: str
    spec: ContainerSpec
    image_id: str
    created_at: float
    state: State = State.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: float = 0.0
    finished_at: float = 0.0
    restart_count: int = 0
    sandbox_id: str = ""
    log_path: str = ""
    health: Health | None = None
