"""A pod's status as Kubernetes computes it: specification, observation and plan in, `status` out. Pure.

Source: kubernetes `pkg/kubelet/kubelet_pods.go` (getPhase, convertToAPIContainerStatuses) and
`pkg/kubelet/status/generate.go`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.client.base import Object
from weft.container.spec import State
from weft.core.clock import rfc3339
from weft.node.pods.decide import is_host_network, is_sidecar, should_restart
from weft.node.pods.model import Attempt, Observation, Plan

RUNTIME = "weft"
# What this part says of a pod; the other conditions belong to others.
_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
OWNED = (
    "phase", "reason", "message", "conditions", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "qosClass",
    "containerStatuses", "initContainerStatuses",
)  # fmt: skip


def build(pod: Object, seen: Observation, plan: Plan, now: float) -> Object:
    """The status to be; what did not change keeps its times."""
    return _Builder(pod, seen, plan, now).build()


def terminated(attempt: Attempt) -> Object:
    """ContainerStateTerminated."""
    reason = attempt.reason
    if not reason:
        reason = "OOMKilled" if attempt.oom_killed else "Completed" if attempt.exit_code == 0 else "Error"
    state: Object = {
        "exitCode": attempt.exit_code,
        "reason": reason,
        "startedAt": rfc3339(attempt.started_at) if attempt.started_at else None,
        "finishedAt": rfc3339(attempt.finished_at) if attempt.finished_at else None,
        "containerID": f"{RUNTIME}://{attempt.id}",
    }
    if attempt.message:
        state["message"] = attempt.message
    return state


class _Builder:
    def __init__(self, pod: Object, seen: Observation, plan: Plan, now: float) -> None:
        self._pod, self._seen, self._plan, self._now = pod, seen, plan, now
        self._spec: Mapping[str, Any] = pod["spec"]
        self._old: Mapping[str, Any] = pod.get("status") or {}

    def build(self) -> Object:
        init = list(self._spec.get("initContainers") or [])
        main = list(self._spec.get("containers") or [])
        initialized = self._is_initialized(init, main)
        idle = "PodInitializing" if init and not initialized else "ContainerCreating"
        statuses = [self._container(each, idle, ready_when_done=False) for each in main]
        init_statuses = [self._container(each, "PodInitializing", ready_when_done=True) for each in init]
        phase = self._phase(init, main, statuses, initialized)
        status: Object = {
            "phase": phase,
            "hostIP": self._seen.host_address,
            "hostIPs": [{"ip": self._seen.host_address}],
            "startTime": self._old.get("startTime") or rfc3339(self._now),
            "qosClass": self._old.get("qosClass") or "BestEffort",
            "containerStatuses": statuses,
        }
        if init_statuses:
            status["initContainerStatuses"] = init_statuses
        address = self._seen.host_address if is_host_network(self._pod) else self._seen.address
        address = address or self._old.get("podIP") or ""
        if address:
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        if self._plan.failed is not None:
            status["reason"], status["message"] = self._plan.failed
        elif phase == "Failed" and self._old.get("reason"):
            status |= {key: self._old[key] for key in ("reason", "message") if self._old.get(key)}
        sidecars = [each for spec, each in zip(init, init_statuses, strict=True) if is_sidecar(spec)]
        status["conditions"] = self._conditions(phase, [*sidecars, *statuses], init_statuses, initialized)
        return status

    # Containers

    def _container(self, container: Mapping[str, Any], idle: str, *, ready_when_done: bool) -> Object:
        """ContainerStatus."""
        name = container["name"]
        attempts = self._seen.attempts.get(name) or ()
        current = attempts[0] if attempts else None
        previous = next((each for each in attempts[1:] if each.exited), None)
        waiting = self._plan.waiting.get(name)
        # One that was only made is not worth a write of its own: it starts the next moment.
        shown = current if current is not None and current.state is not State.CREATED else None
        status: Object = {
            "name": name,
            "image": container.get("image", ""),
            "imageID": shown.image_id if shown is not None else "",
            "ready": False,
            "started": False,
            "restartCount": current.number if current is not None else 0,
            "lastState": {"terminated": terminated(previous)} if previous is not None else {},
            "state": {"waiting": {"reason": idle}},
        }
        if shown is not None:
            status["containerID"] = f"{RUNTIME}://{shown.id}"
        if current is not None and current.running:
            health = self._seen.health.get(current.id)
            status["started"] = health is None or health.started
            status["ready"] = bool(status["started"]) and (health is None or health.ready)
            status["state"] = {"running": {"startedAt": rfc3339(current.started_at)}}
        elif current is not None and current.exited:
            if waiting is not None:
                status["lastState"] = {"terminated": terminated(current)}
            else:
                status["state"] = {"terminated": terminated(current)}
                status["ready"] = ready_when_done and not is_sidecar(container) and current.exit_code == 0
        if waiting is not None and not (current is not None and current.running):
            reason, message = waiting
            status["state"] = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        return status

    def _is_initialized(self, init: Sequence[Mapping[str, Any]], main: Sequence[Mapping[str, Any]]) -> bool:
        if any(self._seen.attempts.get(container["name"]) for container in main):
            return True
        return all(self._is_init_done(container) for container in init)

    def _is_init_done(self, container: Mapping[str, Any]) -> bool:
        attempts = self._seen.attempts.get(container["name"])
        if not attempts:
            return False
        if is_sidecar(container):
            health = self._seen.health.get(attempts[0].id)
            return attempts[0].running and (health is None or health.started)
        return attempts[0].exited and attempts[0].exit_code == 0

    # The pod

    def _phase(
        self,
        init: Sequence[Mapping[str, Any]],
        main: Sequence[Mapping[str, Any]],
        statuses: Sequence[Object],
        initialized: bool,
    ) -> str:
        old = self._old.get("phase")
        if old in ("Succeeded", "Failed"):
            return str(old)
        if self._plan.failed is not None:
            return "Failed"
        # What is being taken down is not started again: what its containers say is the last word.
        going = self._pod["metadata"].get("deletionTimestamp") is not None
        policy = "Never" if going else self._spec.get("restartPolicy", "Always")
        if not initialized:
            failed = any(
                attempts[0].exited and attempts[0].exit_code != 0
                for each in init
                if not is_sidecar(each) and (attempts := self._seen.attempts.get(each["name"]))
            )
            return "Failed" if failed and policy == "Never" else "Pending"
        if any("waiting" in each["state"] and not each["lastState"] for each in statuses):
            return "Pending"
        if any("running" in each["state"] or "waiting" in each["state"] for each in statuses):
            return "Running"
        sidecars = [each for each in init if is_sidecar(each)]
        if any(attempts[0].running for each in sidecars if (attempts := self._seen.attempts.get(each["name"]))):
            return "Running"
        codes = [self._seen.attempts[each["name"]][0].exit_code for each in main]
        if any(should_restart(policy, code) for code in codes):
            return "Running"
        return "Succeeded" if not any(codes) else "Failed"

    def _conditions(
        self, phase: str, statuses: Sequence[Object], init: Sequence[Object], initialized: bool
    ) -> list[Object]:
        unready = [each["name"] for each in statuses if not each["ready"]]
        over = phase in ("Succeeded", "Failed")
        network = is_host_network(self._pod) or self._seen.sandbox
        ready = _Truth(not unready, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
        if phase == "Succeeded":
            ready = _Truth(False, "PodCompleted", "")
        elif phase == "Failed":
            ready = _Truth(False, "PodFailed", "")
        pending = [each["name"] for each in init if not each["ready"]]
        text = f"containers with incomplete status: [{' '.join(pending)}]"
        truths = {
            "PodReadyToStartContainers": _Truth(network and not (over and not self._seen.sandbox)),
            "Initialized": _Truth(True, "PodCompleted", "")
            if phase == "Succeeded"
            else _Truth(initialized, "ContainersNotInitialized", text),
            "Ready": self._gated(ready),
            "ContainersReady": ready,
            "PodScheduled": _Truth(True),
        }
        return [self._condition(kind, truths[kind]) for kind in _CONDITIONS]

    def _gated(self, ready: "_Truth") -> "_Truth":
        """readinessGates: conditions that others must make true (KEP-580)."""
        if not ready.value:
            return ready
        known = {each["type"]: each.get("status") for each in self._old.get("conditions") or []}
        for gate in self._spec.get("readinessGates") or []:
            kind = gate.get("conditionType", "")
            if kind not in known:
                text = f'corresponding condition of pod readiness gate "{kind}" does not exist.'
                return _Truth(False, "ReadinessGatesNotReady", text)
            if known[kind] != "True":
                text = f'the status of pod readiness gate "{kind}" is not "True", but {known[kind]}'
                return _Truth(False, "ReadinessGatesNotReady", text)
        return ready

    def _condition(self, kind: str, truth: "_Truth") -> Object:
        value = "True" if truth.value else "False"
        old = next((each for each in self._old.get("conditions") or [] if each.get("type") == kind), None)
        since = rfc3339(self._now)
        if old is not None and old.get("status") == value and old.get("lastTransitionTime"):
            since = old["lastTransitionTime"]
        reason = truth.reason if not truth.value or truth.reason == "PodCompleted" else ""
        # Null removes what an earlier state had to say (strategic merge).
        return {
            "type": kind,
            "status": value,
            "lastProbeTime": None,
            "lastTransitionTime": since,
            "reason": reason or None,
            "message": (truth.message if reason else "") or None,
        }


class _Truth:
    """A condition's value, and why it is false."""

    def __init__(self, value: bool, reason: str = "", message: str = "") -> None:
        self.value, self.reason, self.message = value, reason, message


def patch(old: Mapping[str, Any], new: Object) -> Object | None:
    """A strategic merge patch of `status` from `old` to `new`; None where they agree."""
    changes: Object = {}
    for key in OWNED:
        if key == "conditions":
            known = {each.get("type"): _given(each) for each in old.get("conditions") or []}
            differ = [each for each in new["conditions"] if known.get(each["type"]) != _given(each)]
            if differ:
                changes[key] = differ
        elif key in new:
            if _given(old.get(key)) != _given(new[key]):
                changes[key] = new[key]
                if key in ("podIPs", "hostIPs") and old.get(key):
                    changes[key] = [*new[key], {"$patch": "replace"}]  # a list that is merged by address
        elif old.get(key) is not None:
            changes[key] = None
    return changes or None


def _given(value: Any) -> Any:
    """Without nulls and empty members, which the API may drop."""
    if isinstance(value, Mapping):
        return {key: given for key, each in value.items() if (given := _given(each)) not in (None, {}, [])}
    if isinstance(value, list):
        return [_given(each) for each in value]
    return value
