"""What a pod needs next: its specification and what was observed in, actions out. Pure; time is a parameter.

Level-triggered: called after every change, with the whole picture; what is under way (`busy`) is left alone. The rules
are the kubelet's (kubernetes, `pkg/kubelet/kuberuntime/kuberuntime_manager.go`, computePodActions and SyncPod).
"""

from collections.abc import Mapping
from typing import Any

from weft.client.base import Object
from weft.container.spec import State
from weft.core.clock import parse_rfc3339
from weft.node.pods.model import (
    Action,
    Attempt,
    CreateSandbox,
    DeletePod,
    KillContainer,
    MountVolumes,
    Notice,
    Observation,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    RunContainer,
    StartContainer,
    StopContainer,
    Trouble,
)
from weft.node.pods.names import describe

BACK_OFF_SECONDS = 10.0
MAX_BACK_OFF_SECONDS = 300.0
# A container that ran this long starts its back-off anew.
STEADY_SECONDS = 600.0
# What a pod gets that the API no longer knows, as the kubelet's minimumGracePeriodInSeconds.
_ORPHAN_GRACE = 2.0
# An error of a pull is shown as such for this long, then as the back-off that it leads to.
_SHOW_ERROR_SECONDS = 1.0
_KEPT_ATTEMPTS = 2


def decide(pod: Object | None, seen: Observation, now: float) -> Plan:
    """`pod` is None where the API knows none: everything of it goes."""
    planner = _Planner(pod, seen, now)
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        planner.terminate()
    elif (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") or planner.is_over_deadline():
        planner.finish()
    else:
        planner.sync()
    return planner.plan()


def back_off(failures: int) -> float:
    """Seconds before the restart of a container that had failed soon `failures` times before: 0, 10, 20, ... 300."""
    if failures <= 0:
        return 0.0
    return float(min(BACK_OFF_SECONDS * 2 ** min(failures - 1, 10), MAX_BACK_OFF_SECONDS))


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """An init container that runs on (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def is_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def grace_of(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30) or 0)


class _Planner:
    def __init__(self, pod: Object | None, seen: Observation, now: float) -> None:
        self._pod, self._seen, self._now = pod, seen, now
        spec = pod["spec"] if pod is not None else {}
        self._containers: list[Mapping[str, Any]] = list(spec.get("containers") or [])
        self._init: list[Mapping[str, Any]] = list(spec.get("initContainers") or [])
        self._policy = spec.get("restartPolicy", "Always")
        self._actions: list[Action] = []
        self._wake_at: float | None = None
        self._waiting: dict[str, tuple[str, str]] = {}
        self._notices: list[Notice] = []
        self._failed: tuple[str, str] | None = None
        self._done = False

    def plan(self) -> Plan:
        return Plan(tuple(self._actions), self._wake_at, self._waiting, tuple(self._notices), self._failed, self._done)

    # The three ways of a pod

    def terminate(self) -> None:
        """Stop, remove all, then let the API forget the pod."""
        grace, deadline = _ORPHAN_GRACE, self._seen.gone_at + _ORPHAN_GRACE
        if self._pod is not None:
            deadline = parse_rfc3339(self._pod["metadata"]["deletionTimestamp"])
            grace = max(deadline - self._now, 0.0)
            if self._pod["metadata"].get("deletionGracePeriodSeconds", 30) > 0:
                grace = max(grace, 1.0)
        if self._stop_all(grace, deadline):
            return
        left = [attempt for attempts in self._seen.attempts.values() for attempt in attempts]
        for attempt in left:
            self._begin(RemoveContainer(attempt.container, attempt.id))
        if left:
            return
        if self._seen.sandbox:
            self._begin(RemoveSandbox())
        if self._seen.directory:
            self._begin(RemoveVolumes(all=True))
        if self._seen.sandbox or self._seen.directory:
            return
        if self._pod is not None:
            self._begin(DeletePod())
        elif not self._seen.busy:
            self._done = True

    def finish(self) -> None:
        """A pod that has ended stays ended: nothing runs, exited containers stay for their logs."""
        if self._stop_all(grace_of(self._pod) if self._pod is not None else 0, None):
            return
        if self._seen.sandbox:
            self._begin(RemoveSandbox())
        if self._seen.volume_files:
            self._begin(RemoveVolumes())
        self._remove_old()

    def sync(self) -> None:
        """Bring it up, keep it up."""
        assert self._pod is not None
        if self._is_finished():
            self.finish()
            return
        if not self._seen.references:
            return  # the first answer about its ConfigMaps and Secrets wakes us
        if not self._seen.volumes:
            self._begin(MountVolumes())
        network = is_host_network(self._pod) or self._seen.sandbox
        if not network:
            # Containers in a namespace that is gone have no network any more: they start anew in the next one.
            why = "Pod sandbox changed, it will be killed and re-created."
            if self._stop_all(grace_of(self._pod), None, why):
                return
            self._begin(CreateSandbox())
        if self._seen.volumes and network and self._initialize():
            for container in self._containers:
                self._step(container, self._policy)
        self._remove_old()

    def is_over_deadline(self) -> bool:
        """activeDeadlineSeconds, counted from the pod's start."""
        if self._pod is None or not (seconds := self._pod["spec"].get("activeDeadlineSeconds")):
            return False
        started = (self._pod.get("status") or {}).get("startTime")
        if started is None:
            return False
        end = parse_rfc3339(started) + float(seconds)
        if self._now < end:
            self._wake(end)
            return False
        self._failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        return True

    # Steps

    def _initialize(self) -> bool:
        """Whether the pod's own containers may run; init containers run one after the other."""
        initialized = any(self._seen.attempts.get(container["name"]) for container in self._containers)
        for container in self._init:
            current = self._current(container)
            if is_sidecar(container):
                self._step(container, "Always")
                started = current is not None and current.running and self._health_started(current)
                if not initialized and not started:
                    return False
                continue
            if initialized or (current is not None and current.exited and current.exit_code == 0):
                continue
            self._step(container, "Never" if self._policy == "Never" else "OnFailure")
            return False
        return True

    def _step(self, container: Mapping[str, Any], policy: str) -> None:
        """One container towards running."""
        name = container["name"]
        key = f"container:{name}"
        current, trouble = self._current(container), self._seen.troubles.get(key)
        if current is not None and current.running:
            health = self._seen.health.get(current.id)
            if health is not None and health.failure:
                self._begin(StopContainer(name, current.id, self._probe_grace(container), health.failure))
            return
        if current is not None and current.exited and not should_restart(policy, current.exit_code):
            return
        if trouble is not None:
            self._show(name, container, trouble)
        if current is not None and current.state is State.CREATED:
            self._begin(StartContainer(name, current.id))
            return
        number, failures = 0, 0
        if current is not None:
            number = current.number + 1
            steady = current.started_at > 0 and current.finished_at - current.started_at >= STEADY_SECONDS
            failures = 0 if steady else current.failures + 1
            delay = 0.0 if steady else back_off(current.failures)
            if self._now < current.finished_at + delay:
                if key not in self._seen.busy and trouble is None:
                    self._crash_loop(name, current, delay)
                self._wake(current.finished_at + delay)
                return
        self._begin(RunContainer(name, number, failures))

    def _crash_loop(self, name: str, current: Attempt, delay: float) -> None:
        assert self._pod is not None
        seconds = int(delay)
        text = f"{seconds}s" if seconds < 60 else f"{seconds // 60}m{seconds % 60}s"
        message = f"back-off {text} restarting failed container={name} pod={describe(self._pod)}"
        self._waiting[name] = ("CrashLoopBackOff", message)
        told = f"Back-off restarting failed container {name} in pod {describe(self._pod)}"
        self._notices.append(Notice(f"back-off {current.id}", "Warning", "BackOff", told, name))

    def _show(self, name: str, container: Mapping[str, Any], trouble: Trouble) -> None:
        if trouble.reason != "ErrImagePull":
            self._waiting[name] = (trouble.reason, trouble.message)
            return
        back_off_at = trouble.at + _SHOW_ERROR_SECONDS
        if self._now < back_off_at:
            self._waiting[name] = (trouble.reason, trouble.message)
            self._wake(back_off_at)
            return
        text = f'Back-off pulling image "{container.get("image", "")}"'
        self._waiting[name] = ("ImagePullBackOff", f"{text}: ErrImagePull: {trouble.message}")
        key = f"pull {name} {trouble.at}"
        self._notices.append(Notice(key, "Normal", "BackOff", text, name))
        self._notices.append(Notice(f"{key} failed", "Warning", "Failed", "Error: ImagePullBackOff", name))

    def _stop_all(self, grace: float, deadline: float | None, why: str = "") -> bool:
        """Stops what runs; whether anything still runs or is being worked on."""
        active = False
        for name, attempts in self._seen.attempts.items():
            for attempt in attempts:
                if not attempt.running:
                    continue
                active = True
                if f"container:{name}" not in self._seen.busy:
                    self._begin(StopContainer(name, attempt.id, grace, why or f"Stopping container {name}"))
                elif deadline is not None and self._now >= deadline:
                    # Truncated to a second by the API, so a fresh stop of its own has still a moment to go.
                    if self._now >= deadline + 1:
                        self._begin(KillContainer(name, attempt.id))
                    else:
                        self._wake(deadline + 1)
                elif deadline is not None:
                    self._wake(deadline)
        return active or any(key.startswith(("container:", "sandbox", "volumes")) for key in self._seen.busy)

    def _remove_old(self) -> None:
        """The present attempt and the one before stay, for `logs --previous`."""
        for attempts in self._seen.attempts.values():
            for attempt in attempts[_KEPT_ATTEMPTS:]:
                if not attempt.running:
                    self._begin(RemoveContainer(attempt.container, attempt.id))

    # Small questions

    def _is_finished(self) -> bool:
        """Everything has exited and nothing may run again."""
        if any(key.startswith("container:") for key in self._seen.busy):
            return False
        if not any(self._seen.attempts.get(container["name"]) for container in self._containers):
            current = [self._current(each) for each in self._init if not is_sidecar(each)]
            failed = [each for each in current if each is not None and each.exited and each.exit_code != 0]
            return bool(failed) and self._policy == "Never"
        for container in self._containers:
            attempt = self._current(container)
            if attempt is None or not attempt.exited or should_restart(self._policy, attempt.exit_code):
                return False
        return True

    def _current(self, container: Mapping[str, Any]) -> Attempt | None:
        attempts = self._seen.attempts.get(container["name"])
        return attempts[0] if attempts else None

    def _health_started(self, attempt: Attempt) -> bool:
        health = self._seen.health.get(attempt.id)
        return health is None or health.started

    def _probe_grace(self, container: Mapping[str, Any]) -> float:
        assert self._pod is not None
        probe = container.get("livenessProbe") or {}
        return float(probe.get("terminationGracePeriodSeconds", grace_of(self._pod)))

    def _begin(self, action: Action) -> None:
        """Unless it is under way, or failed and waits for its time."""
        if action.key in self._seen.busy:
            return
        trouble = self._seen.troubles.get(action.key)
        if trouble is not None and self._now < trouble.retry_at and not isinstance(action, StopContainer):
            self._wake(trouble.retry_at)
            return
        self._actions.append(action)

    def _wake(self, at: float) -> None:
        self._wake_at = at if self._wake_at is None else min(self._wake_at, at)


def should_restart(policy: str, exit_code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
