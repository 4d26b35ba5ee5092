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
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers import rollout
from weft.controllers.deployment_status import status_of
from weft.controllers.runner import Context, controller_of, enqueue, enqueue_controller, owner_reference
from weft.core.workqueue import WorkQueue

_COPIED = ("kubernetes.io/change-cause",)


@dataclass(frozen=True, slots=True)
class Plan:
    """ReplicaSets to make, to change (whole objects) and to delete; the Deployment's annotations and status then."""

    create: Object | None = None
    update: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    annotations: dict[str, str] | None = None
    status: Object | None = None
    wake_after: float | None = None


def revision(obj: Object) -> int:
    try:
        return int((obj["metadata"].get("annotations") or {}).get(rollout.REVISION, 0))
    except ValueError:
        return 0


def decide(deployment: Object, replicasets: Sequence[Object], pods: Sequence[Object], now: float) -> Plan:
    """The plan for a Deployment, given the ReplicaSets that it controls and the pods of those."""
    ordered = sorted(replicasets, key=lambda each: (each["metadata"].get("creationTimestamp") or "", revision(each)))
    template = deployment["spec"]["template"]
    new = next((each for each in ordered if rollout.same_template(each["spec"]["template"], template)), None)
    old = [each for each in ordered if each is not new]
    paused = deployment["spec"].get("paused", False)
    number = max((revision(each) for each in old), default=0) + 1
    create: Object | None = None
    changed: dict[str, Object] = {}
    if new is None and not paused:
        create = new_replicaset(deployment, number, _first_size(deployment, old, pods))
    elif new is not None:
        number = max(number, revision(new))
        _set_annotations(changed, new, _replicaset_annotations(deployment, number))
    annotations = dict(deployment["metadata"].get("annotations") or {})
    if create is not None or new is not None:
        annotations[rollout.REVISION] = str(number)
    if create is None:
        for name, replicas in _sizes(deployment, new, old, pods).items():
            each = next(entry for entry in ordered if entry["metadata"]["name"] == name)
            if replicas != rollout.size(each):
                changed.setdefault(name, copy.deepcopy(each))["spec"]["replicas"] = replicas
        for each in ordered:
            if rollout.size(changed.get(each["metadata"]["name"], each)) > 0:
                _set_annotations(changed, each, _size_annotations(deployment))
    status, wake_after = status_of(deployment, new, ordered, now)
    return Plan(
        create=create,
        update=tuple(changed.values()),
        delete=tuple(_expired(deployment, old)) if create is None else (),
        annotations=annotations if annotations != (deployment["metadata"].get("annotations") or {}) else None,
        status=status,
        wake_after=wake_after,
    )


def _first_size(deployment: Object, old: Sequence[Object], pods: Sequence[Object]) -> int:
    wanted = int(deployment["spec"].get("replicas", 1))
    if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
        return 0 if any(rollout.size(each) for each in old) or pods else wanted
    surge, _ = rollout.surge_and_unavailable(deployment)
    room = wanted + surge - sum(rollout.size(each) for each in old)
    return max(0, min(room, wanted))


def _sizes(deployment: Object, new: Object | None, old: Sequence[Object], pods: Sequence[Object]) -> dict[str, int]:
    """The sizes to write now."""
    wanted = int(deployment["spec"].get("replicas", 1))
    sets = [*old, new] if new is not None else list(old)
    active = [each for each in sets if rollout.size(each) > 0]
    scaled = any(
        (each["metadata"].get("annotations") or {}).get(rollout.DESIRED, str(wanted)) != str(wanted) for each in active
    )
    if scaled or deployment["spec"].get("paused"):
        if len(active) <= 1:
            only = active[0] if active else new
            return {only["metadata"]["name"]: wanted} if only is not None else {}
        if new is not None and rollout.size(new) == wanted == rollout.available(new):
            return {each["metadata"]["name"]: 0 for each in old}
        if deployment["spec"].get("strategy", {}).get("type") != "Recreate":
            return rollout.proportional_sizes(deployment, active)
    if new is None:
        return {}
    if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
        if any(rollout.size(each) for each in old):
            return {each["metadata"]["name"]: 0 for each in old}
        leftover = {each["metadata"]["uid"] for each in old}
        waiting = any((owner := controller_of(pod)) and owner["uid"] in leftover for pod in pods)
        return {} if waiting else {new["metadata"]["name"]: wanted}
    return rollout.rolling_sizes(deployment, new, old)


def new_replicaset(deployment: Object, number: int, replicas: int) -> Object:
    """The ReplicaSet of the Deployment's present template."""
    metadata = deployment["metadata"]
    collisions = deployment.get("status", {}).get("collisionCount", 0)
    digest = rollout.template_hash(deployment["spec"]["template"], collisions)
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
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS, "Deployment")],
        },
        "spec": spec,
    }


def _replicaset_annotations(deployment: Object, number: int) -> dict[str, str]:
    given = deployment["metadata"].get("annotations") or {}
    return {key: given[key] for key in _COPIED if key in given} | {rollout.REVISION: str(number)}


def _size_annotations(deployment: Object) -> dict[str, str]:
    wanted = int(deployment["spec"].get("replicas", 1))
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
        self._pods.add_index("owner", by_owner)
        self.informers = (self._deployments, self._replicasets, self._pods)
        self._recorder = context.recorder("deployment-controller")
        self._deployments.on_change(enqueue(self.queue))
        self._replicasets.on_change(enqueue_controller(self.queue, "Deployment"))
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that is gone lets a Recreate go on."""
        if new is not None or old is None or (owner := controller_of(old)) is None:
            return
        replicaset = self._replicasets.get(old["metadata"]["namespace"], owner["name"])
        deployment = controller_of(replicaset) if replicaset is not None else None
        if deployment is not None:
            self.queue.add((old["metadata"]["namespace"], deployment["name"]))

    async def reconcile(self, key: Key) -> None:
        namespace, name = key
        deployment = self._deployments.get(namespace, name)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        replicasets = self._replicasets.by_index("owner", deployment["metadata"]["uid"])
        pods = [pod for each in replicasets for pod in self._pods.by_index("owner", each["metadata"]["uid"])]
        plan = decide(deployment, replicasets, pods, self._clock.now())
        if plan.create is not None:
            await self._create(deployment, plan.create)
        for each in plan.update:
            await self._update(deployment, each)
        for each in plan.delete:
            await self._delete(each)
        if plan.annotations is not None:
            patch: dict[str, Any] = {"metadata": {"annotations": plan.annotations}}
            await self._client.patch(DEPLOYMENTS, name, patch, "application/merge-patch+json", namespace)
        if plan.status is not None and plan.status != deployment.get("status"):
            # Patched by value, as the annotations above may just have moved the resourceVersion.
            await self._client.patch(
                DEPLOYMENTS, name,
                {"status": dict.fromkeys(deployment.get("status") or {}) | plan.status},
                "application/merge-patch+json", namespace, subresource="status",
            )  # fmt: skip
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after)

    async def _create(self, deployment: Object, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        try:
            await self._client.create(REPLICASETS, replicaset, metadata["namespace"])
        except ApiError as error:
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
        replicas = replicaset["spec"]["replicas"]
        if replicas:
            self._scaled(deployment, metadata["name"], 0, replicas)

    async def _update(self, deployment: Object, replicaset: Object) -> None:
        metadata = replicaset["metadata"]
        before = self._replicasets.get(metadata["namespace"], metadata["name"])
        await self._client.update(REPLICASETS, replicaset)
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
