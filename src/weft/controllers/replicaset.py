"""ReplicaSet: keeps the wanted number of pods, adopting those that match and releasing those that no longer do.

`decide` is pure: the ReplicaSet, the pods of its namespace that matter, and the time, to actions.
Source: Kubernetes `pkg/controller/replicaset`, `pkg/controller/controller_ref_manager.go`.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weft.api.gvr import PODS, REPLICASETS
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers.pods import available_in, deletion_rank, is_active, is_ready
from weft.controllers.runner import (
    Context,
    controller_of,
    enqueue,
    enqueue_controller,
    owner_reference,
)
from weft.core.ids import name_suffix
from weft.core.workqueue import WorkQueue

BURST = 500
EXPECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one ReplicaSet; `status` is what it should say then, `wake_after` when to look again."""

    adopt: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()
    create: int = 0
    delete: tuple[Object, ...] = ()
    status: Object | None = None
    wake_after: float | None = None


def decide(replicaset: Object, pods: Sequence[Object], now: float) -> Plan:
    """The plan for a ReplicaSet, given its own pods and the orphans of its namespace."""
    uid = replicaset["metadata"]["uid"]
    spec = replicaset["spec"]
    selector = LabelSelector.from_json(spec["selector"])
    deleting = bool(replicaset["metadata"].get("deletionTimestamp"))
    mine, adopt, release = [], [], []
    for pod in pods:
        owner = controller_of(pod)
        matches = selector.matches(pod["metadata"].get("labels") or {})
        if owner is not None and owner["uid"] == uid:
            if matches:
                mine.append(pod)
            elif not deleting:
                release.append(pod)
        elif owner is None and matches and is_active(pod) and not deleting:
            adopt.append(pod)
    active = [pod for pod in [*mine, *adopt] if is_active(pod)]
    wanted = spec.get("replicas", 1)
    create, delete = 0, []
    if not deleting:
        if len(active) < wanted:
            create = min(wanted - len(active), BURST)
        elif len(active) > wanted:
            nodes = Counter(pod["spec"].get("nodeName", "") for pod in active)
            ranked = sorted(active, key=lambda pod: deletion_rank(pod, nodes[pod["spec"].get("nodeName", "")]))
            delete = ranked[: min(len(active) - wanted, BURST)]
    status, wake_after = _status(replicaset, active, now)
    return Plan(tuple(adopt), tuple(release), create, tuple(delete), status, wake_after)


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
    if conditions := replicaset.get("status", {}).get("conditions"):
        status["conditions"] = [entry for entry in conditions if entry["type"] != "ReplicaFailure"]
    later = [wait for wait in waits if wait]
    return status, min(later) if later else None


class ReplicaSetController:
    """The loop around `decide`. Expectations keep a cache that lags from making a pod twice."""

    name = "replicaset"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._replicasets = context.informers.of(REPLICASETS)
        self._pods = context.informers.of(PODS)
        self._pods.add_index("owner", by_owner)
        self._pods.add_index("orphans", lambda pod: [] if controller_of(pod) else [pod["metadata"]["namespace"]])
        self.informers = (self._replicasets, self._pods)
        self._recorder = context.recorder("replicaset-controller")
        # uids that we created or deleted, and that the cache does not show yet, with the time when we stop waiting.
        self._created: dict[Key, dict[str, float]] = {}
        self._deleted: dict[Key, dict[str, float]] = {}
        self._replicasets.on_change(enqueue(self.queue))
        self._pods.on_change(enqueue_controller(self.queue, "ReplicaSet"))
        self._pods.on_change(self._orphan_changed)

    def _orphan_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or controller_of(new) is not None:
            return
        labels = new["metadata"].get("labels") or {}
        for replicaset in self._replicasets.list(new["metadata"]["namespace"]):
            if LabelSelector.from_json(replicaset["spec"]["selector"]).matches(labels):
                self.queue.add((replicaset["metadata"]["namespace"], replicaset["metadata"]["name"]))

    async def reconcile(self, key: Key) -> None:
        namespace, name = key
        replicaset = self._replicasets.get(namespace, name)
        if replicaset is None:
            self._created.pop(key, None)
            self._deleted.pop(key, None)
            return
        own = list(self._pods.by_index("owner", replicaset["metadata"]["uid"]))
        if not self._caught_up(key, own):
            return  # the next change of a pod brings us back
        plan = decide(replicaset, [*own, *self._pods.by_index("orphans", namespace)], self._clock.now())
        for pod in plan.release:
            await self._set_owner(pod, None)
        for pod in plan.adopt:
            await self._set_owner(pod, replicaset)
        for _ in range(plan.create):
            await self._create(key, replicaset)
        for pod in plan.delete:
            await self._delete(key, replicaset, pod)
        if plan.status is not None and plan.status != replicaset.get("status"):
            await self._client.update(REPLICASETS, {**replicaset, "status": plan.status}, subresource="status")
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)

    def _caught_up(self, key: Key, own: Sequence[Object]) -> bool:
        """Whether the cache shows what we did; if it never does, EXPECT_SECONDS later we look at it as it is."""
        present = {pod["metadata"]["uid"] for pod in own}
        going = {pod["metadata"]["uid"] for pod in own if pod["metadata"].get("deletionTimestamp")}
        now = self._clock.monotonic()
        created = {uid: end for uid, end in self._created.pop(key, {}).items() if uid not in present and end > now}
        deleted = {
            uid: end
            for uid, end in self._deleted.pop(key, {}).items()
            if uid in present and uid not in going and end > now
        }
        if created:
            self._created[key] = created
        if deleted:
            self._deleted[key] = deleted
        if created or deleted:
            self.queue.add_after(key, max([*created.values(), *deleted.values()]) - now)
            return False
        return True

    async def _set_owner(self, pod: Object, owner: Object | None) -> None:
        references = [entry for entry in pod["metadata"].get("ownerReferences") or [] if not entry.get("controller")]
        if owner is not None:
            references.append(owner_reference(owner, REPLICASETS, "ReplicaSet"))
        changed = copy.deepcopy(pod)
        changed["metadata"]["ownerReferences"] = references
        await self._client.update(PODS, changed)

    async def _create(self, key: Key, replicaset: Object) -> None:
        template = replicaset["spec"]["template"]
        metadata = template.get("metadata") or {}
        name = replicaset["metadata"]["name"]
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": f"{name}-",
                "name": f"{name[:57]}-{name_suffix()}",
                "namespace": key[0],
                "labels": metadata.get("labels") or {},
                "annotations": metadata.get("annotations") or {},
                "ownerReferences": [owner_reference(replicaset, REPLICASETS, "ReplicaSet")],
            },
            "spec": template["spec"],
        }
        if metadata.get("finalizers"):
            pod["metadata"]["finalizers"] = metadata["finalizers"]
        try:
            made = await self._client.create(PODS, pod, key[0])
        except ApiError as error:
            self._recorder.event(replicaset, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        if self._pods.get(key[0], made["metadata"]["name"]) is None:  # else the watch was faster than the answer
            self._created.setdefault(key, {})[made["metadata"]["uid"]] = self._clock.monotonic() + EXPECT_SECONDS
        self._recorder.event(replicaset, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def _delete(self, key: Key, replicaset: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(PODS, metadata["name"], key[0], uid=metadata["uid"])
        except ApiError as error:
            if error.code != 404:
                raise
        present = self._pods.get(key[0], metadata["name"])
        if present is not None and not present["metadata"].get("deletionTimestamp"):
            self._deleted.setdefault(key, {})[metadata["uid"]] = self._clock.monotonic() + EXPECT_SECONDS
        self._recorder.event(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
