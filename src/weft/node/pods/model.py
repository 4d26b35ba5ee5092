"""What was observed of a pod, and what is to be done about it: values only.

`observe` in worker.py fills an Observation, `decide` turns it into a Plan, worker.py carries out its actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weft.container.spec import State


@dataclass(frozen=True, slots=True)
class Attempt:
    """One container that was made for a container of the pod; `number` is the restart count at its birth.

    `message` is what it left as its termination message, `reason` overrules what the exit code says.
    """

    container: str
    number: int
    id: str
    state: State
    image_id: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    failures: int = 0
    reason: str = ""
    message: str = ""

    @property
    def running(self) -> bool:
        return self.state in (State.RUNNING, State.PAUSED, State.RESTARTING)

    @property
    def exited(self) -> bool:
        return self.state in (State.EXITED, State.DEAD)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something could not be done, `count` times in a row, last at `at`; tried again at `retry_at`."""

    reason: str
    message: str
    at: float
    retry_at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one running container say; without a probe it is started, ready and alive."""

    started: bool = True
    ready: bool = True
    failure: str = ""  # why it must be killed


@dataclass(frozen=True, slots=True)
class Observation:
    """The pod's world at one moment.

    `attempts` are by container, newest first. `troubles` are by the action's key. `busy` holds the keys of actions
    that are under way. `volumes`: mounted and filled by this process; `volume_files` and `directory`: what there is
    on disk of its volumes, of the pod at all. `address` is the sandbox's, empty where there is none; a pod in the
    host's network has none. `gone_at` is when the API forgot the pod.
    """

    attempts: Mapping[str, tuple[Attempt, ...]] = field(default_factory=dict)
    sandbox: bool = False
    volumes: bool = False
    volume_files: bool = False
    directory: bool = False
    address: str = ""
    references: bool = True
    health: Mapping[str, Health] = field(default_factory=dict)
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    host_address: str = ""
    gone_at: float = 0.0


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class MountVolumes:
    key: str = "volumes"


@dataclass(frozen=True, slots=True)
class RemoveVolumes:
    """Unmount and remove the volumes; with `all` every file of the pod."""

    all: bool = False
    key: str = "volumes"


@dataclass(frozen=True, slots=True)
class RunContainer:
    """Pull the image, create and start attempt `number`."""

    container: str
    number: int
    failures: int

    @property
    def key(self) -> str:
        return f"container:{self.container}"


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start what was created before this process lived."""

    container: str
    id: str

    @property
    def key(self) -> str:
        return f"container:{self.container}"


@dataclass(frozen=True, slots=True)
class StopContainer:
    """preStop, the stop signal, after `grace` seconds SIGKILL. `why` goes into the event."""

    container: str
    id: str
    grace: float
    why: str

    @property
    def key(self) -> str:
        return f"container:{self.container}"


@dataclass(frozen=True, slots=True)
class KillContainer:
    """SIGKILL at once: the grace period was shortened while a stop is under way."""

    container: str
    id: str

    @property
    def key(self) -> str:
        return f"kill:{self.id}"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container: str
    id: str

    @property
    def key(self) -> str:
        return f"remove:{self.id}"


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Nothing of it is left here: the API may forget it."""

    key: str = "delete"


Action = (
    CreateSandbox
    | RemoveSandbox
    | MountVolumes
    | RemoveVolumes
    | RunContainer
    | StartContainer
    | StopContainer
    | KillContainer
    | RemoveContainer
    | DeletePod
)


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for users; one of the same `key` is sent once."""

    key: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions to begin now, when to look again (seconds since 1970; None: when something happens), what to tell.

    `waiting` is why a container does not run, by name: (reason, message). `done`: nothing is left of the pod.
    """

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    failed: tuple[str, str] | None = None  # reason and message of a pod that was failed as a whole
    done: bool = False
