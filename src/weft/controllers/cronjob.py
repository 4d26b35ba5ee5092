"""CronJob: a Job at each time of its schedule, and no more old ones than it wants to keep.

`decide` is pure: the CronJob, its Jobs and the time, to Jobs to make and to delete, the status, and when to look again.
Source: Kubernetes `pkg/controller/cronjob/cronjob_controllerv2.go`, `utils.go`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from weft.api import cron
from weft.api.gvr import CRONJOBS, JOBS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers.expectations import Expectations
from weft.controllers.pods import condition
from weft.controllers.runner import (
    Context,
    controller_of,
    enqueue,
    enqueue_controller,
    is_namespace_ending,
    owner_reference,
)
from weft.core.clock import parse_rfc3339, rfc3339
from weft.core.workqueue import WorkQueue

SCHEDULED_FOR = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100

Event = tuple[Literal["Normal", "Warning"], str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    create: Object | None = None
    delete: tuple[Object, ...] = ()
    status: Object = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    wake_after: float | None = None


@dataclass(slots=True)
class _Work:
    """A plan while it is made."""

    cron_job: Object
    jobs: Sequence[Object]
    now: float
    status: Object
    delete: list[Object] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def decide(cron_job: Object, jobs: Sequence[Object], now: float) -> Plan:
    """The plan for a CronJob, given the Jobs that it controls."""
    work = _Work(cron_job, jobs, now, copy.deepcopy(cron_job.get("status") or {}))
    _note_ends(work)
    _expire(work)
    create, wake_after = None, None
    if not cron_job["metadata"].get("deletionTimestamp") and not cron_job["spec"].get("suspend"):
        create, wake_after = _start(work)
    if not work.status.get("active"):
        work.status.pop("active", None)
    return Plan(create, tuple(work.delete), work.status, tuple(work.events), wake_after)


def end_of(job: Object) -> str:
    """Complete or Failed; empty while it goes on."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found is not None and found["status"] == "True":
            return kind
    return ""


def _note_ends(work: _Work) -> None:
    """`active` names the Jobs that go on; the last success is noted."""
    present = {job["metadata"]["uid"]: job for job in work.jobs}
    active = []
    for reference in work.status.get("active") or ():
        job = present.get(reference["uid"])
        if job is None:
            work.events.append(("Normal", "MissingJob", f"Active job went missing: {reference['name']}"))
        elif end := end_of(job):
            message = f"Saw completed job: {reference['name']}, condition: {end}"
            work.events.append(("Normal", "SawCompletedJob", message))
        else:
            active.append(reference)
    known = {reference["uid"] for reference in active}
    for job in work.jobs:
        if not end_of(job) and job["metadata"]["uid"] not in known:
            active.append(_reference(job))
        finished = (job.get("status") or {}).get("completionTime")
        if end_of(job) == "Complete" and finished and finished > work.status.get("lastSuccessfulTime", ""):
            work.status["lastSuccessfulTime"] = finished
    work.status["active"] = active


def _reference(job: Object) -> Object:
    metadata = job["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }


def _expire(work: _Work) -> None:
    """Finished Jobs beyond the limits of history, the oldest first."""
    for kind, key in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        limit = work.cron_job["spec"].get(key)
        if limit is None:
            continue
        ended = [job for job in work.jobs if end_of(job) == kind]
        ended.sort(key=lambda job: ((job.get("status") or {}).get("startTime") or "", job["metadata"]["name"]))
        work.delete += ended[: max(0, len(ended) - limit)]


def _start(work: _Work) -> tuple[Object | None, float | None]:
    """The Job that is due, and how long until the next one is."""
    spec, now = work.cron_job["spec"], work.now
    try:
        schedule = cron.parse(spec["schedule"], spec.get("timeZone") or "UTC")
    except ValueError as error:
        reason = "UnknownTimeZone" if "time zone" in str(error) else "UnparseableSchedule"
        work.events.append(("Warning", reason, f"unparseable schedule: {spec['schedule']} : {error}"))
        return None, None
    following = schedule.next(now)
    wake_after = None if following is None else following - now
    due = _due(work, schedule)
    if due is None:
        return None, wake_after
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and due + deadline < now:
        work.events.append(("Warning", "MissSchedule", f"Missed scheduled time to start a job: {rfc3339(due)}"))
        return None, wake_after
    job = new_job(work.cron_job, due)
    if any(each["metadata"]["name"] == job["metadata"]["name"] for each in work.jobs):
        return None, wake_after
    active = work.status["active"]
    if active and spec.get("concurrencyPolicy") == "Forbid":
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        work.events.append(("Normal", "JobAlreadyActive", message))
        return None, wake_after
    if active and spec.get("concurrencyPolicy") == "Replace":
        uids = {reference["uid"] for reference in active}
        work.delete += [each for each in work.jobs if each["metadata"]["uid"] in uids]
        work.status["active"] = []
    work.status["lastScheduleTime"] = rfc3339(due)
    return job, wake_after


def _due(work: _Work, schedule: cron.Schedule) -> float | None:
    """The last time that has come since a Job was last made; earlier ones are missed for good."""
    spec, now = work.cron_job["spec"], work.now
    since = parse_rfc3339(work.status.get("lastScheduleTime") or work.cron_job["metadata"]["creationTimestamp"])
    if (deadline := spec.get("startingDeadlineSeconds")) is not None:
        since = max(since, now - deadline)
    due = cron.latest(schedule, since, now)
    if due is None:
        return None
    missed, at = 0, schedule.next(since)
    while at is not None and at <= now and missed <= _MANY:
        missed, at = missed + 1, schedule.next(at)
    if missed > _MANY:
        advice = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        message = f"too many missed start times: {missed - 1}. {advice}"
        work.events.append(("Warning", "TooManyMissedTimes", message))
    return due


def new_job(cron_job: Object, due: float) -> Object:
    """The Job of one time; its name tells the minute, so that there is one at most."""
    metadata, template = cron_job["metadata"], cron_job["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    own: Object = {
        "name": f"{metadata['name']}-{int(due) // 60}",
        "namespace": metadata["namespace"],
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_FOR: rfc3339(due)},
        "ownerReferences": [owner_reference(cron_job, CRONJOBS, "CronJob")],
    }
    if given.get("labels"):
        own["labels"] = dict(given["labels"])
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": own, "spec": copy.deepcopy(template["spec"])}


class CronJobController:
    """The loop around `decide`."""

    name = "cronjob"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._cron_jobs = context.informers.of(CRONJOBS)
        self._jobs = context.informers.of(JOBS)
        self._jobs.add_index("owner", by_owner)
        self.informers = (self._cron_jobs, self._jobs)
        self._recorder = context.recorder("cronjob-controller")
        self._written_jobs = Expectations(self._jobs, context.clock)
        self._written = Expectations(self._cron_jobs, context.clock)
        self._cron_jobs.on_change(enqueue(self.queue))
        self._jobs.on_change(enqueue_controller(self.queue, "CronJob"))

    async def reconcile(self, key: Key) -> None:
        cron_job = self._cron_jobs.get(*key)
        if cron_job is None:
            self._written.forget(key)
            self._written_jobs.forget(key)
            return
        if seconds := max(self._written.remaining(key), self._written_jobs.remaining(key)):
            self.queue.add_after(key, seconds)  # the next change comes sooner
            return
        uid = cron_job["metadata"]["uid"]
        jobs = [job for job in self._jobs.by_index("owner", uid) if (controller_of(job) or {}).get("uid") == uid]
        plan = decide(cron_job, jobs, self._clock.now())
        for kind, reason, message in plan.events:
            self._recorder.event(cron_job, kind, reason, message)
        for job in plan.delete:
            await self._delete(key, cron_job, job)
        if plan.create is not None:
            made = await self._create(key, cron_job, plan.create)
            if made is not None:
                plan.status["active"] = [*plan.status.get("active", ()), _reference(made)]
        if plan.status != (cron_job.get("status") or {}):
            stored = await self._client.update(CRONJOBS, {**cron_job, "status": plan.status}, subresource="status")
            self._written.wrote(key, stored)
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.05)

    async def _create(self, key: Key, cron_job: Object, job: Object) -> Object | None:
        try:
            made = await self._client.create(JOBS, job, key[0])
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return None
            if not is_namespace_ending(error):
                self._recorder.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        self._written_jobs.wrote(key, made)
        self._recorder.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {made['metadata']['name']}")
        return made

    async def _delete(self, key: Key, cron_job: Object, job: Object) -> None:
        metadata = job["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        try:
            last = await self._client.delete(
                JOBS, metadata["name"], key[0], uid=metadata["uid"], propagation="Background"
            )
        except ApiError as error:
            if error.code == 404:
                return
            self._recorder.event(cron_job, "Warning", "FailedDelete", f"Deleted job: {error}")
            raise
        self._written_jobs.deleted(key, last)
        self._recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {metadata['name']}")
