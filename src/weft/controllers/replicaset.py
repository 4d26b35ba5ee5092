"""ReplicaSet: keeps the wanted number of pods, adopting those that match and releasing those that no longer do.

`decide` is pure: the ReplicaSet, the pods of its namespace that matter, and the time, to actions.
Source: Kubernetes `pkg/controller/replicaset`, `pkg/controller/controller_ref_manager.go`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft.api.gvr import PODS, REPLICASETS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers.claims import Claims, claim, selector_of, settle, without_controller
from weft.controllers.expectations import Expectations
from weft.controllers.pods import available_in, condition, deletion_rank, is_active, is_ready
from weft.controllers.runner import (
    Context,
    controller_of,
    enqueue,
    enqueue_controller,
    is_namespace_ending,
    owner_reference,
)
from weft.core.clock import rfc3339
from weft.core.tasks import wait_all
from weft.core.workqueue import WorkQueue

BURST = 500
_FAILURE = "ReplicaFailure"
_FROM_TEMPLATE = ("labels", "annotations", "finalizers")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one ReplicaSet; `status` is what it should say then, `wake_after` when to look again."""

    claims: Claims = field(default_factory=Claims)
    create: int = 0
    delete: tuple[Object, ...] = ()
    status: Object | None = None
    wake_after: float | None = None


def decide(replicaset: Object, pods: Sequence[Object], now: float, related: Mapping[str, int] | None = None) -> Plan:
    """The plan for a ReplicaSet, given its own pods and the orphans of its namespace.

    `related` counts by node the pods that do the same work, those of sibling ReplicaSets included; without it only
    the ReplicaSet's own count.
    """
    spec = replicaset["spec"]
    claims = claim(replicaset, [pod for pod in pods if is_active(pod) or controller_of(pod) is not None])
    active = [pod for pod in [*claims.mine, *claims.adopt] if is_active(pod)]
    wanted = int(spec.get("replicas", 1))
    create, delete = 0, []
    if not replicaset["metadata"].get("deletionTimestamp"):
        create = min(max(0, wanted - len(active)), BURST)
        surplus = min(max(0, len(active) - wanted), BURST)
        if surplus:
            nodes = related if related is not None else count_by_node(active)
            ranked = sorted(active, key=lambda pod: deletion_rank(pod, nodes.get(pod["spec"].get("nodeName", ""), 0)))
            delete = ranked[:surplus]
    status, wake_after = _status(replicaset, active, now)
    return Plan(claims, create, tuple(delete), status, wake_after)


def count_by_node(pods: Sequence[Object]) -> Mapping[str, int]:
    return Counter(pod["spec"].get("nodeName", "") for pod in pods if is_active(pod))


def _status(replicaset: Object, active: Sequence[Object], now: float) -> tuple[Object, float | None]:
    template_labels = (replicaset["spec"]["template"]["metadata"].get("labels") or {}).items()
    minimum = replicaset["spec"].get("minReadySeconds", 0)
    waits = [available_in(pod, minimum, now) for pod in active]
    status: Object = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(template_labels <= (pod["metadata"].get("labels") or {}).items() for pod in active),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(wait == 0 for wait in waits),
        "observedGeneration": replicaset["metadata"].get("generation", 0),
    }
    status = {key: value for key, value in status.items() if value or key in ("replicas", "observedGeneration")}
    conditions = replicaset.get("status", {}).get("conditions") or []
    if others := [entry for entry in conditions if entry["type"] != _FAILURE]:
        status["conditions"] = others
    later = [wait for wait in waits if wait]
    return status, min(later) if later else None


def with_failure(replicaset: Object, status: Object, reason: str, message: str, now: float) -> Object:
    """The status that says why pods cannot be made or deleted."""
    present = condition(replicaset, _FAILURE)
    entry = {"type": _FAILURE, "status": "True", "reason": reason, "message": message}
    since = present["lastTransitionTime"] if present is not None else rfc3339(now)
    return {**status, "conditions": [*status.get("conditions", []), entry | {"lastTransitionTime": since}]}


class ReplicaSetController:
    """The loop around `decide`; it waits for its cache, so as not to make a pod twice."""

    name = "replicaset"
    kind = "ReplicaSet"
    gvr = REPLICASETS
    component = "replicaset-controller"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._replicasets = context.informers.of(self.gvr)
        self._pods = context.informers.of(PODS)
        self._replicasets.add_index("owner", by_owner)
        self._pods.add_index("owner", by_owner)
        self._pods.add_index("orphans", without_controller)
        self.informers = (self._replicasets, self._pods)
        self._recorder = context.recorder(self.component)
        self._expectations = Expectations(self._pods, context.clock)
        self._replicasets.on_change(enqueue(self.queue))
        self._pods.on_change(enqueue_controller(self.queue, self.kind))
        self._pods.on_change(self._orphan_changed)

    def _orphan_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or controller_of(new) is not None:
            return
        for replicaset in self._replicasets.list(new["metadata"]["namespace"]):
            if selector_of(replicaset).matches(new["metadata"].get("labels")):
                self.queue.add((replicaset["metadata"]["namespace"], replicaset["metadata"]["name"]))

    async def reconcile(self, key: Key) -> None:
        replicaset = self._replicasets.get(*key)
        if replicaset is None:
            self._expectations.forget(key)
            return
        if seconds := self._expectations.remaining(key):
            self.queue.add_after(key, seconds)  # the next change of a pod comes sooner
            return
        now = self._clock.now()
        own = self._pods.by_index("owner", replicaset["metadata"]["uid"])
        pods = [*own, *self._pods.by_index("orphans", key[0])]
        plan = decide(replicaset, pods, now, self._related(replicaset))
        status = plan.status or {}
        await settle(self._client, plan.claims, replicaset, self.gvr, PODS)
        failure: ApiError | None = None
        try:
            await self._create_all(key, replicaset, plan.create)
            await wait_all(self._delete(key, replicaset, pod) for pod in plan.delete)
        except ApiError as error:
            if is_namespace_ending(error):
                raise
            failure = error
            reason = "FailedCreate" if plan.create else "FailedDelete"
            status = with_failure(replicaset, status, reason, str(error), now)
        if status != replicaset.get("status"):
            await self._client.update(self.gvr, {**replicaset, "status": status}, subresource="status")
        if failure is not None:
            raise failure
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)

    def _related(self, replicaset: Object) -> Mapping[str, int]:
        """Active pods by node of the ReplicaSet and of those with the same controller."""
        owner = controller_of(replicaset)
        siblings = self._replicasets.by_index("owner", owner["uid"]) if owner is not None else [replicaset]
        return count_by_node(
            [pod for each in siblings for pod in self._pods.by_index("owner", each["metadata"]["uid"])]
        )

    async def _create_all(self, key: Key, replicaset: Object, count: int) -> None:
        """In batches that double, so that what fails for every pod is tried once and not for hundreds."""
        batch = 1
        while count > 0:
            batch = min(batch, count)
            await wait_all(self._create(key, replicaset) for _ in range(batch))
            count -= batch
            batch *= 2

    async def _create(self, key: Key, replicaset: Object) -> None:
        template = replicaset["spec"]["template"]
        metadata = {
            **{name: value for name in _FROM_TEMPLATE if (value := (template.get("metadata") or {}).get(name))},
            "generateName": f"{replicaset['metadata']['name']}-",
            "namespace": key[0],
            "ownerReferences": [owner_reference(replicaset, self.gvr, self.kind)],
        }
        pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        try:
            made = await self._client.create(PODS, pod, key[0])
        except ApiError as error:
            if not is_namespace_ending(error):
                self._recorder.event(replicaset, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self._expectations.wrote(key, made)
        self._recorder.event(replicaset, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def _delete(self, key: Key, replicaset: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            last = await self._client.delete(PODS, metadata["name"], key[0], uid=metadata["uid"])
        except ApiError as error:
            if error.code == 404:
                return
            self._recorder.event(replicaset, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        self._expectations.deleted(key, last)
        self._recorder.event(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
