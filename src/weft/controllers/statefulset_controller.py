"""The loop around `statefulset.decide`: informers in; pods, volume claims, revisions and status out."""

from weft.api.gvr import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers import history
from weft.controllers.claims import settle, without_controller
from weft.controllers.expectations import Expectations
from weft.controllers.runner import Context, controller_of, enqueue, enqueue_controller, is_namespace_ending
from weft.controllers.statefulset import Plan, decide
from weft.core.workqueue import WorkQueue


class StatefulSetController:
    """It waits for its cache, so that no ordinal is acted upon twice."""

    name = "statefulset"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._sets = context.informers.of(STATEFULSETS)
        self._pods = context.informers.of(PODS)
        self._claims = context.informers.of(PERSISTENTVOLUMECLAIMS)
        self._revisions = context.informers.of(CONTROLLERREVISIONS)
        self._pods.add_index("owner", by_owner)
        self._pods.add_index("orphans", without_controller)
        self._revisions.add_index("owner", by_owner)
        self.informers = (self._sets, self._pods, self._claims, self._revisions)
        self._recorder = context.recorder("statefulset-controller")
        self._written = Expectations(self._pods, context.clock)
        self._sets.on_change(enqueue(self.queue))
        self._pods.on_change(enqueue_controller(self.queue, "StatefulSet"))
        self._pods.on_change(self._orphan_changed)

    def _orphan_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or controller_of(new) is not None:
            return
        for each in self._sets.list(new["metadata"]["namespace"]):
            if LabelSelector.from_json(each["spec"]["selector"]).matches(new["metadata"].get("labels")):
                self.queue.add((each["metadata"]["namespace"], each["metadata"]["name"]))

    async def reconcile(self, key: Key) -> None:
        stateful_set = self._sets.get(*key)
        if stateful_set is None:
            self._written.forget(key)
            return
        if seconds := self._written.remaining(key):
            self.queue.add_after(key, seconds)  # the next change of a pod comes sooner
            return
        uid = stateful_set["metadata"]["uid"]
        pods = [*self._pods.by_index("owner", uid), *self._pods.by_index("orphans", key[0])]
        volume_claims = {each["metadata"]["name"]: each for each in self._claims.list(key[0])}
        revisions = self._revisions.by_index("owner", uid)
        plan = decide(stateful_set, pods, revisions, volume_claims, self._clock.now())
        await settle(self._client, plan.claims, stateful_set, STATEFULSETS, PODS)
        status = plan.status or {}
        if plan.revision is not None and not await history.write(self._client, plan.revision):
            # Another object has the revision's name: the next try has another hash.
            before = stateful_set.get("status") or {}
            status = {**before, "collisionCount": before.get("collisionCount", 0) + 1}
            await self._client.update(STATEFULSETS, {**stateful_set, "status": status}, subresource="status")
            return
        await self._apply(key, stateful_set, plan)
        if status != stateful_set.get("status"):
            await self._client.update(STATEFULSETS, {**stateful_set, "status": status}, subresource="status")
        await history.prune(self._client, plan.expired)
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)

    async def _apply(self, key: Key, owner: Object, plan: Plan) -> None:
        for each in plan.change_claims:
            await self._client.update(PERSISTENTVOLUMECLAIMS, each)
        for each in plan.volume_claims:
            await self._create_claim(key, owner, each)
        for pod in plan.create:
            await self._create(key, owner, pod)
        for pod in plan.change:
            self._written.wrote(key, await self._client.update(PODS, pod))
        for pod in plan.delete:
            if pod in plan.recreated:
                name = "/".join(key)
                phase = pod["status"]["phase"]
                message = f"StatefulSet {name} is recreating {phase.lower()} Pod {pod['metadata']['name']}"
                kind = "RecreatingFailedPod" if phase == "Failed" else "RecreatingTerminatedPod"
                self._recorder.event(owner, "Warning" if phase == "Failed" else "Normal", kind, message)
            await self._delete(key, owner, pod)

    async def _create_claim(self, key: Key, owner: Object, volume_claim: Object) -> None:
        name = volume_claim["metadata"]["name"]
        pod = f"{owner['metadata']['name']}-{name.rpartition('-')[2]}"
        what = f"create Claim {name} Pod {pod} in StatefulSet {key[1]}"
        try:
            await self._client.create(PERSISTENTVOLUMECLAIMS, volume_claim, key[0])
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return
            self._failed(owner, "FailedCreate", what, error)
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} success")

    async def _create(self, key: Key, owner: Object, pod: Object) -> None:
        what = f"create Pod {pod['metadata']['name']} in StatefulSet {key[1]}"
        try:
            self._written.wrote(key, await self._client.create(PODS, pod, key[0]))
        except ApiError as error:
            self._failed(owner, "FailedCreate", what, error)
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} successful")

    async def _delete(self, key: Key, owner: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        what = f"delete Pod {metadata['name']} in StatefulSet {key[1]}"
        try:
            self._written.deleted(key, await self._client.delete(PODS, metadata["name"], key[0], uid=metadata["uid"]))
        except ApiError as error:
            if error.code == 404:
                return
            self._failed(owner, "FailedDelete", what, error)
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"{what} successful")

    def _failed(self, owner: Object, reason: str, what: str, error: ApiError) -> None:
        if not is_namespace_ending(error):
            self._recorder.event(owner, "Warning", reason, f"{what} failed error: {error}")
