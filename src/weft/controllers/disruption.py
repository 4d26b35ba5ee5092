"""PodDisruptionBudget: how many of its pods may be evicted now. The eviction itself asks and takes from the status.

`decide` is pure: the budget, the pods that it selects, how many their controllers want, and the time, to the status.
Source: Kubernetes `pkg/controller/disruption/disruption.go`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.api.gvr import (
    DEPLOYMENTS,
    GVR,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from weft.api.selectors import LabelSelector
from weft.client.base import Object
from weft.client.informer import Informer, Key
from weft.controllers.pods import is_ready
from weft.controllers.rollout import resolve
from weft.controllers.runner import Context, controller_of, enqueue
from weft.core.clock import parse_rfc3339, rfc3339
from weft.core.workqueue import WorkQueue

# An eviction that was granted and does not show in the pod within this time did not happen.
DELETION_SECONDS = 120.0
_SCALED: tuple[tuple[str, GVR], ...] = (
    ("ReplicaSet", REPLICASETS),
    ("ReplicationController", REPLICATIONCONTROLLERS),
    ("StatefulSet", STATEFULSETS),
    ("Deployment", DEPLOYMENTS),
)


@dataclass(frozen=True, slots=True)
class Plan:
    status: Object
    failed: str = ""  # why it cannot be told how many there should be
    wake_after: float | None = None


def selects(budget: Object, pod: Object) -> bool:
    """An absent selector selects nothing, an empty one everything."""
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    return LabelSelector.from_json(selector).matches(pod["metadata"].get("labels"))


def decide(budget: Object, pods: Sequence[Object], wanted: Mapping[str, int], now: float) -> Plan:
    """`wanted` has the number of replicas of each controller, by its uid."""
    spec = budget["spec"]
    counted = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    needs_scale = "maxUnavailable" in spec or isinstance(spec.get("minAvailable"), str)
    if needs_scale:
        controllers = {owner["uid"]: owner for pod in counted if (owner := controller_of(pod)) is not None}
        unknown = [owner for uid, owner in controllers.items() if uid not in wanted]
        if unknown:
            return _unsynced(budget, f"{unknown[0]['kind']} does not implement the scale subresource", now)
        expected = sum(wanted[uid] for uid in controllers)
    else:
        expected = len(counted)
    if "maxUnavailable" in spec:
        desired = max(0, expected - resolve(spec["maxUnavailable"], expected, round_up=True))
    else:
        desired = resolve(spec.get("minAvailable", 1), expected, round_up=True)
    disrupted, wake_after = _disrupted(budget, counted, now)
    healthy = sum(
        is_ready(pod) and not pod["metadata"].get("deletionTimestamp") and pod["metadata"]["name"] not in disrupted
        for pod in counted
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status: Object = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status["conditions"] = _conditions(budget, "True" if allowed else "False", reason, "", now)
    return Plan(status, wake_after=wake_after)


def _unsynced(budget: Object, why: str, now: float) -> Plan:
    status: Object = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    status["conditions"] = _conditions(budget, "False", "SyncFailed", why, now)
    for key in ("currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(key, 0)
    return Plan(status, failed=why)


def _disrupted(budget: Object, pods: Sequence[Object], now: float) -> tuple[Object, float | None]:
    """Pods whose eviction was granted and that are still there as before, and when to look again."""
    present = {pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp")}
    found, waits = {}, []
    for name, stamp in ((budget.get("status") or {}).get("disruptedPods") or {}).items():
        left = parse_rfc3339(stamp) + DELETION_SECONDS - now
        if name in present and left > 0:
            found[name] = stamp
            waits.append(left)
    return found, min(waits, default=None)


def _conditions(budget: Object, status: str, reason: str, message: str, now: float) -> list[Object]:
    before = (budget.get("status") or {}).get("conditions") or []
    present = next((each for each in before if each["type"] == "DisruptionAllowed"), None)
    since = present["lastTransitionTime"] if present is not None and present["status"] == status else rfc3339(now)
    entry = {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    return [*(each for each in before if each["type"] != "DisruptionAllowed"), entry]


class DisruptionController:
    """The loop around `decide`. A change of a pod concerns the budgets that select it, before or after."""

    name = "disruption"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._budgets = context.informers.of(PODDISRUPTIONBUDGETS)
        self._pods = context.informers.of(PODS)
        self._scaled: dict[str, Informer] = {kind: context.informers.of(gvr) for kind, gvr in _SCALED}
        self.informers = (self._budgets, self._pods, *self._scaled.values())
        self._recorder = context.recorder("controllermanager")
        self._budgets.on_change(enqueue(self.queue))
        self._pods.on_change(self._pod_changed)
        for informer in self._scaled.values():
            informer.on_change(self._scale_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            for budget in self._budgets.list(pod["metadata"]["namespace"]):
                if selects(budget, pod):
                    self.queue.add((budget["metadata"]["namespace"], budget["metadata"]["name"]))

    def _scale_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or (old is not None and old["spec"].get("replicas") == new["spec"].get("replicas")):
            return
        for budget in self._budgets.list(new["metadata"]["namespace"]):
            self.queue.add((budget["metadata"]["namespace"], budget["metadata"]["name"]))

    async def reconcile(self, key: Key) -> None:
        budget = self._budgets.get(*key)
        if budget is None or budget["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in self._pods.list(key[0]) if selects(budget, pod)]
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        plan = decide(budget, pods, self._wanted(key[0], pods), self._clock.now())
        if plan.failed:
            message = f"Failed to calculate the number of expected pods: {plan.failed}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
        if plan.status != budget.get("status"):
            await self._client.update(PODDISRUPTIONBUDGETS, {**budget, "status": plan.status}, subresource="status")
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)

    def _wanted(self, namespace: str, pods: Sequence[Object]) -> dict[str, int]:
        """The replicas of each pod's controller, a Deployment's for its ReplicaSets."""
        found: dict[str, int] = {}
        counted: set[str] = set()
        for owner in (controller_of(pod) for pod in pods):
            if owner is None or owner["uid"] in found or owner["kind"] not in self._scaled:
                continue
            scaled = self._scaled[owner["kind"]].get(namespace, owner["name"])
            if scaled is None:
                continue
            above = controller_of(scaled)
            top = self._scaled["Deployment"].get(namespace, above["name"]) if above is not None else None
            top = top or scaled
            # Two ReplicaSets of one Deployment are wanted once.
            uid = top["metadata"]["uid"]
            found[owner["uid"]] = 0 if uid in counted else int(top["spec"].get("replicas", 1))
            counted.add(uid)
        return found
