"""Deployment: a ReplicaSet for each version of the pod template, grown and shrunk by the strategy.

`decide` is pure: the Deployment, its ReplicaSets and the time, to the ReplicaSets as they should be and the status.
Rolling back is a rollout to an old template: its ReplicaSet is found again and gets a new revision.
Source: Kubernetes `pkg/controller/deployment`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weft.api.gvr import DEPLOYMENTS, PODS, REPLICASETS
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner, key_of
from weft.controllers import rollout
from weft.controllers.claims import claim, settle, without_controller
from weft.controllers.deployment_status import is_complete, status_of
from weft.controllers.expectations import Expectations
from weft.controllers.runner import (
    Context,
    controller_of,
    enqueue,
    enqueue_controller,
    is_namespace_ending,
    owner_reference,
)
from weft.core.workqueue import WorkQueue

# Annotations that are the Deployment's own; all others are copied to its ReplicaSets, `change-cause` among them.
_OWN_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        rollout.REVISION,
        rollout.DESIRED,
        rollout.MAXIMUM,
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """ReplicaSets to make, to change (whole objects) and to delete; the Deployment's revision and status then."""

    create: Object | None = None
    update: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    revision: int | None = None
    status: Object | None = None
    wake_after: float | None = None


def revision(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(rollout.REVISION, "")
    return int(text) if text.isdigit() else 0


def decide(deployment: Object, replicasets: Sequence[Object], pods: Sequence[Object], now: float) -> Plan:
    """The plan for a Deployment, given the ReplicaSets that it controls and the pods of those."""
    ordered = sorted(replicasets, key=lambda each: (each["metadata"].get("creationTimestamp") or "", revision(each)))
    template = deployment["spec"]["template"]
    new = next((each for each in ordered if rollout.same_template(each["spec"]["template"], template)), None)
    old = [each for each in ordered if each is not new]
    number = max(max((revision(each) for each in old), default=0) + 1, revision(new) if new is not None else 0)
    create: Object | None = None
    changed: dict[str, Object] = {}
    if new is None and not deployment["spec"].get("paused"):
        if not (rollout.is_recreate(deployment) and _old_ones_run(old, pods)):
            create = new_replicaset(deployment, number, _first_size(deployment, old))
    elif new is not None:
        _set_annotations(changed, new, _replicaset_annotations(deployment, number))
    if create is None:
        sizes = _sizes(deployment, new, old, pods)
        for each in ordered:
            replicas = sizes.get(each["metadata"]["name"], rollout.size(each))
            if replicas != rollout.size(each):
                changed.setdefault(each["metadata"]["name"], copy.deepcopy(each))["spec"]["replicas"] = replicas
            if replicas > 0:
                _set_annotations(changed, each, _size_annotations(deployment))
    status, wake_after = status_of(deployment, new, ordered, now)
    tidy = create is None and (is_complete(deployment, status) or deployment["spec"].get("paused"))
    known = create is not None or new is not None
    return Plan(
        create=create,
        update=tuple(changed.values()),
        delete=tuple(_expired(deployment, old)) if tidy else (),
        revision=number if known and revision(deployment) != number else None,
        status=status,
        wake_after=wake_after,
    )


def _first_size(deployment: Object, old: Sequence[Object]) -> int:
    wanted = rollout.desired(deployment)
    if rollout.is_recreate(deployment):
        return wanted
    surge, _ = rollout.surge_and_unavailable(deployment)
    room = wanted + surge - sum(rollout.size(each) for each in old)
    return max(0, min(room, wanted))


def _old_ones_run(old: Sequence[Object], pods: Sequence[Object]) -> bool:
    """Whether an old version has pods, those that are on their way out included: Recreate waits for their ends."""
    uids = {each["metadata"]["uid"] for each in old}
    return any(rollout.size(each) for each in old) or any(
        (owner := controller_of(pod)) is not None
        and owner["uid"] in uids
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        for pod in pods
    )


def _sizes(deployment: Object, new: Object | None, old: Sequence[Object], pods: Sequence[Object]) -> dict[str, int]:
    """The sizes to write now; a set that is not named keeps its size."""
    wanted = rollout.desired(deployment)
    sets = [*old, new] if new is not None else list(old)
    active = [each for each in sets if rollout.size(each) > 0]
    nothing = {each["metadata"]["name"]: 0 for each in old}
    if deployment["spec"].get("paused") or any(_was_sized_for_another(each, wanted) for each in active):
        if len(active) <= 1:
            only = active[0] if active else (sets[-1] if sets else None)
            return {only["metadata"]["name"]: wanted} if only is not None else {}
        if new is not None and rollout.size(new) == wanted == rollout.available(new):
            return nothing
        if not rollout.is_recreate(deployment):
            return rollout.proportional_sizes(deployment, active)
    if rollout.is_recreate(deployment):
        if new is None or _old_ones_run(old, pods):
            return nothing
        return {new["metadata"]["name"]: wanted}
    return rollout.rolling_sizes(deployment, new, old) if new is not None else {}


def _was_sized_for_another(replicaset: Object, wanted: int) -> bool:
    """Whether the Deployment has been scaled since the set was sized."""
    return bool((replicaset["metadata"].get("annotations") or {}).get(rollout.DESIRED, str(wanted)) != str(wanted))


def new_replicaset(deployment: Object, number: int, replicas: int) -> Object:
    """The ReplicaSet of the Deployment's present template."""
    metadata = deployment["metadata"]
    digest = rollout.present_hash(deployment)
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[rollout.HASH_LABEL] = digest
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[rollout.HASH_LABEL] = digest
    annotations = _replicaset_annotations(deployment, number) | _size_annotations(deployment)
    spec: Object = {"replicas": replicas, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": rollout.replicaset_name(deployment),
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS, "Deployment")],
        },
        "spec": spec,
    }


def _replicaset_annotations(deployment: Object, number: int) -> dict[str, str]:
    given = deployment["metadata"].get("annotations") or {}
    copied = {key: value for key, value in given.items() if key not in _OWN_ANNOTATIONS}
    return copied | {rollout.REVISION: str(number)}


def _size_annotations(deployment: Object) -> dict[str, str]:
    wanted = rollout.desired(deployment)
    surge, _ = rollout.surge_and_unavailable(deployment)
    return {rollout.DESIRED: str(wanted), rollout.MAXIMUM: str(wanted + surge)}


def _set_annotations(changed: dict[str, Object], replicaset: Object, values: dict[str, str]) -> None:
    name = replicaset["metadata"]["name"]
    present = changed.get(name, replicaset)["metadata"].get("annotations") or {}
    if not values.items() <= present.items():
        target = changed.setdefault(name, copy.deepcopy(replicaset))
        target["metadata"]["annotations"] = {**present, **values}


def _expired(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond the history limit, the oldest first, that nothing runs in."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    idle = [
        each
        for each in old
        if rollout.size(each) == 0
        and each.get("status", {}).get("replicas", 0) == 0
        and each.get("status", {}).get("observedGeneration", 0) >= each["metadata"].get("generation", 0)
        and not each["metadata"].get("deletionTimestamp")
    ]
    return sorted(idle, key=revision)[: max(0, len(old) - limit)]


class DeploymentController:
    """The loop around `decide`."""

    name = "deployment"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._deployments = context.informers.of(DEPLOYMENTS)
        self._replicasets = context.informers.of(REPLICASETS)
        self._pods = context.informers.of(PODS)
        self._replicasets.add_index("owner", by_owner)
        self._replicasets.add_index("orphans", without_controller)
        self._pods.add_index("owner", by_owner)
        self.informers = (self._deployments, self._replicasets, self._pods)
        self._expectations = Expectations(self._replicasets, context.clock)
        self._recorder = context.recorder("deployment-controller")
        self._deployments.on_change(enqueue(self.queue))
        self._replicasets.on_change(enqueue_controller(self.queue, "Deployment"))
        self._replicasets.on_change(self._orphan_changed)
        self._pods.on_change(self._pod_changed)

    def _orphan_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or controller_of(new) is not None:
            return
        for deployment in self._deployments.list(new["metadata"]["namespace"]):
            if LabelSelector.from_json(deployment["spec"]["selector"]).matches(new["metadata"].get("labels")):
                self.queue.add((deployment["metadata"]["namespace"], deployment["metadata"]["name"]))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that is gone lets a Recreate go on."""
        if new is not None or old is None or (owner := controller_of(old)) is None:
            return
        replicaset = self._replicasets.get(old["metadata"]["namespace"], owner["name"])
        deployment = controller_of(replicaset) if replicaset is not None else None
        if deployment is not None:
            self.queue.add((old["metadata"]["namespace"], deployment["name"]))

    async def reconcile(self, key: Key) -> None:
        deployment = self._deployments.get(*key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            self._expectations.forget(key)
            return
        if seconds := self._expectations.remaining(key):
            self.queue.add_after(key, seconds)  # the next change of a ReplicaSet comes sooner
            return
        owned = self._replicasets.by_index("owner", deployment["metadata"]["uid"])
        claims = claim(deployment, [*owned, *self._replicasets.by_index("orphans", key[0])])
        if claims.adopt or claims.release:
            await settle(self._client, claims, deployment, DEPLOYMENTS, REPLICASETS)
            return  # the change brings us back
        pods = [pod for each in claims.mine for pod in self._pods.by_index("owner", each["metadata"]["uid"])]
        plan = decide(deployment, claims.mine, pods, self._clock.now())
        if plan.create is not None:
            await self._create(deployment, plan.create)
        for each in plan.update:
            await self._update(deployment, each)
        for each in plan.delete:
            await self._delete(each)
        if plan.revision is not None:
            patch: dict[str, Any] = {"metadata": {"annotations": {rollout.REVISION: str(plan.revision)}}}
            deployment = await self._client.patch(DEPLOYMENTS, key[1], patch, "application/merge-patch+json", key[0])
        if plan.status is not None and plan.status != deployment.get("status"):
            await self._client.update(DEPLOYMENTS, {**deployment, "status": plan.status}, subresource="status")
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after)

    async def _create(self, deployment: Object, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        try:
            made = await self._client.create(REPLICASETS, replicaset, metadata["namespace"])
        except ApiError as error:
            if is_namespace_ending(error):
                raise
            if error.reason != "AlreadyExists":
                self._recorder.event(
                    deployment, "Warning", "ReplicaSetCreateError",
                    f'Failed to create new replica set "{metadata["name"]}": {error}',
                )  # fmt: skip
                raise
            present = await self._client.get(REPLICASETS, metadata["name"], metadata["namespace"])
            owner = controller_of(present)
            ours = owner is not None and owner["uid"] == deployment["metadata"]["uid"]
            if ours and rollout.same_template(present["spec"]["template"], replicaset["spec"]["template"]):
                return  # the cache lags behind
            count = deployment.get("status", {}).get("collisionCount", 0) + 1
            await self._client.patch(
                DEPLOYMENTS, deployment["metadata"]["name"], {"status": {"collisionCount": count}},
                "application/merge-patch+json", metadata["namespace"], subresource="status",
            )  # fmt: skip
            return
        self._expectations.wrote(key_of(deployment), made)
        replicas = replicaset["spec"]["replicas"]
        if replicas:
            self._scaled(deployment, metadata["name"], 0, replicas)

    async def _update(self, deployment: Object, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        before = self._replicasets.get(metadata["namespace"], metadata["name"])
        self._expectations.wrote(key_of(deployment), await self._client.update(REPLICASETS, replicaset))
        if before is not None and rollout.size(before) != rollout.size(replicaset):
            self._scaled(deployment, metadata["name"], rollout.size(before), rollout.size(replicaset))

    def _scaled(self, deployment: Object, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        self._recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _delete(self, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        try:
            await self._client.delete(REPLICASETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code != 404:
                raise
