"""The loop around `job.decide`: informers in; pods, finalizers, status and events out."""

from collections.abc import Iterable

from weft.api.gvr import JOBS, PODS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers.claims import settle, without_controller
from weft.controllers.expectations import Expectations
from weft.controllers.job import Plan, decide
from weft.controllers.job_pods import TRACKING, is_tracked
from weft.controllers.podcontrol import PodControl
from weft.controllers.runner import Context, controller_of, enqueue
from weft.core.tasks import wait_all
from weft.core.workqueue import WorkQueue

_NAME_LABEL = "batch.kubernetes.io/job-name"
_NORMAL = frozenset({"Completed", "Suspended", "Resumed"})


def job_of(pod: Object) -> str:
    """The name of the pod's Job; that of an orphan is on its label."""
    owner = controller_of(pod)
    if owner is not None:
        return str(owner["name"]) if owner["kind"] == "Job" else ""
    return str((pod["metadata"].get("labels") or {}).get(_NAME_LABEL, ""))


def _tracked(pod: Object) -> list[str]:
    """An index function: the Job that a pod with the finalizer belongs to."""
    return [f"{pod['metadata']['namespace']}/{job_of(pod)}"] if is_tracked(pod) else []


class JobController:
    """It waits until its caches show its own writes, of pods and of Jobs: else an end could count twice."""

    name = "job"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._jobs = context.informers.of(JOBS)
        self._pods = context.informers.of(PODS)
        self._pods.add_index("owner", by_owner)
        self._pods.add_index("orphans", without_controller)
        self._pods.add_index("tracked", _tracked)
        self.informers = (self._jobs, self._pods)
        self._recorder = context.recorder("job-controller")
        self._written_pods = Expectations(self._pods, context.clock)
        self._written_jobs = Expectations(self._jobs, context.clock)
        self._control = PodControl(self._client, self._recorder, self._written_pods)
        self._jobs.on_change(enqueue(self.queue))
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (name := job_of(pod)):
                self.queue.add((pod["metadata"]["namespace"], name))

    async def reconcile(self, key: Key) -> None:
        seconds = max(self._written_pods.remaining(key), self._written_jobs.remaining(key))
        if seconds:
            self.queue.add_after(key, seconds)  # the next change comes sooner
            return
        job = self._jobs.get(*key)
        uid = job["metadata"]["uid"] if job is not None else ""
        tracked = self._pods.by_index("tracked", "/".join(key))
        # A pod whose Job is gone is held by nobody.
        await self._release(key, [pod for pod in tracked if (controller_of(pod) or {}).get("uid") != uid])
        if job is None:
            self._written_pods.forget(key)
            self._written_jobs.forget(key)
            return
        pods = [*self._pods.by_index("owner", uid), *self._pods.by_index("orphans", key[0])]
        plan = decide(job, pods, self._clock.now())
        await settle(self._client, plan.claims, job, JOBS, PODS)
        if plan.expired:
            await self._client.delete(JOBS, key[1], key[0], uid=uid, propagation="Foreground")
            return
        await self._apply(key, job, plan)
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)

    async def _apply(self, key: Key, job: Object, plan: Plan) -> None:
        try:
            await self._release(key, plan.give_up)
            await self._control.delete_all(key, job, [*plan.give_up, *plan.delete])
            await self._control.create_all(key, job, plan.create)
        finally:
            # Whatever went wrong with pods, their ends are noted.
            if plan.status is not None and plan.status != job.get("status"):
                stored = await self._client.update(JOBS, {**job, "status": plan.status}, subresource="status")
                self._written_jobs.wrote(key, stored)
                for reason, message in plan.events:
                    self._recorder.event(job, "Normal" if reason in _NORMAL else "Warning", reason, message)
            await self._release(key, plan.release)

    async def _release(self, key: Key, pods: Iterable[Object]) -> None:
        await wait_all(self._release_one(key, pod) for pod in pods if is_tracked(pod))

    async def _release_one(self, key: Key, pod: Object) -> None:
        metadata = pod["metadata"]
        # The test makes it a conflict if the list has changed meanwhile.
        at = metadata["finalizers"].index(TRACKING)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": f"/metadata/finalizers/{at}", "value": TRACKING},
            {"op": "remove", "path": f"/metadata/finalizers/{at}"},
        ]
        try:
            changed = await self._client.patch(PODS, metadata["name"], patch, "application/json-patch+json", key[0])
        except ApiError as error:
            if error.code not in (404, 422):  # gone, or without it already
                raise
            return
        if changed["metadata"].get("finalizers") or not metadata.get("deletionTimestamp"):
            self._written_pods.wrote(key, changed)
        else:
            self._written_pods.deleted(key, changed)
