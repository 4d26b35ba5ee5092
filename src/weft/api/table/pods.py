"""The rows of pods, above all STATUS: what the phase, the conditions and the containers' states come to.

Source: kubernetes `pkg/printers/internalversion/printers.go`, printPod.
"""

from typing import Any

from weft.api.table.printing import NONE, Cells, Object, age, created, name, prints

_COLUMNS = "Name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates"


@prints("", "Pod", _COLUMNS)
def pod_row(pod: Object, now: float) -> Cells:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    reading = _Reading(pod)
    addresses = [each.get("ip") for each in status.get("podIPs") or ()] or [status.get("podIP")]
    restarts = str(reading.restarts)
    if reading.restarts and reading.last_restart:
        restarts += f" ({age(reading.last_restart, now)} ago)"
    return [
        name(pod),
        f"{reading.ready}/{reading.total}",
        reading.reason,
        restarts,
        created(pod, now),
        addresses[0] or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def completion(pod: Object) -> list[Object]:
    """The condition of the row of a pod that has ended: some clients hide such rows."""
    phase = (pod.get("status") or {}).get("phase")
    texts = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    if phase not in texts:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": texts[phase]}]


def _condition(status: Object, type_: str) -> Object:
    found = (each for each in status.get("conditions") or () if each.get("type") == type_)
    return next(found, {})


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    ready = sum(_condition(status, gate.get("conditionType", "")).get("status") == "True" for gate in gates)
    return f"{ready}/{len(gates)}" if gates else NONE


def _ended(terminated: Object, prefix: str = "") -> str:
    if terminated.get("reason"):
        return prefix + str(terminated["reason"])
    if terminated.get("signal"):
        return f"{prefix}Signal:{terminated['signal']}"
    return f"{prefix}ExitCode:{terminated.get('exitCode', 0)}"


class _Reading:
    """`reason`, `ready` of `total`, `restarts` and `last_restart` of one pod."""

    def __init__(self, pod: Object) -> None:
        self._spec: Object = pod.get("spec") or {}
        self._status: Object = pod.get("status") or {}
        sidecars = {
            each.get("name") for each in self._spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
        }
        self.total = len(self._spec.get("containers") or ()) + len(sidecars)
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""
        self.reason = self._status.get("reason") or self._status.get("phase") or ""
        if _condition(self._status, "PodScheduled").get("reason") == "SchedulingGated":
            self.reason = "SchedulingGated"
        initializing = self._read_init_containers(sidecars)
        if not initializing or _condition(self._status, "Initialized").get("status") == "True":
            self._read_containers(sidecars)
        if (pod.get("metadata") or {}).get("deletionTimestamp"):
            if self._status.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif self._status.get("phase") not in ("Succeeded", "Failed"):
                self.reason = "Terminating"

    def _count(self, container: Object) -> None:
        self.restarts += container.get("restartCount", 0)
        terminated = (container.get("lastState") or {}).get("terminated") or {}
        self.last_restart = max(self.last_restart, terminated.get("finishedAt") or "")

    def _read_init_containers(self, sidecars: set[Any]) -> bool:
        """Whether the pod is still initializing."""
        for index, container in enumerate(self._status.get("initContainerStatuses") or ()):
            self._count(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if terminated is not None and terminated.get("exitCode", 0) == 0:
                continue
            if container.get("name") in sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if terminated is not None:
                self.reason = _ended(terminated, "Init:")
            elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{len(self._spec.get('initContainers') or ())}"
            return True
        return False

    def _read_containers(self, sidecars: set[Any]) -> None:
        """Restarts of init containers that are over no longer count; sidecars' do."""
        self.restarts, self.last_restart = 0, ""
        for container in self._status.get("initContainerStatuses") or ():
            if container.get("name") in sidecars:
                self._count(container)
        running = False
        for container in reversed(self._status.get("containerStatuses") or ()):
            self._count(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if waiting.get("reason"):
                self.reason = waiting["reason"]
            elif terminated is not None:
                self.reason = _ended(terminated)
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            ready = _condition(self._status, "Ready").get("status") == "True"
            self.reason = "Running" if ready else "NotReady"
