"""Job: pods until enough of them have succeeded, or too many failed.

`decide` is pure: the Job, its pods and the time, to what to do next. No end of a pod is lost or counted twice: pods
have a finalizer; their uids are written to status.uncountedTerminatedPods first, then the finalizer goes, then they are
added to the counters. So the finalizer of a pod goes only once the status that counts it has been read back.
Source: Kubernetes `pkg/controller/job/job_controller.go`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from weft.client.base import Object
from weft.controllers import job_pods
from weft.controllers.claims import Claims, claim
from weft.controllers.job_finish import Target, is_ending, target_of
from weft.controllers.pods import condition, deletion_rank, is_active, is_ready
from weft.core.clock import parse_rfc3339, rfc3339

BURST = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """`give_up` are pods that nobody wants any more: they lose their finalizer and do not count."""

    claims: Claims = field(default_factory=Claims)
    create: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    give_up: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()
    status: Object | None = None
    events: tuple[tuple[str, str], ...] = ()  # (reason, message)
    expired: bool = False
    wake_after: float | None = None


@dataclass(slots=True)
class Tally:
    """The Job's pods, sorted by what became of them, and the counts that its status will have."""

    job: Object
    pods: list[Object]
    now: float
    status: Object
    succeeded: int = 0
    failed: int = 0
    completed_indexes: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    verdicts: list[job_pods.Verdict] = field(default_factory=list)
    waiting: dict[int, Object] = field(default_factory=dict)  # failed pods that keep their index's count until replaced
    release: list[Object] = field(default_factory=list)
    active: list[Object] = field(default_factory=list)

    @property
    def completions(self) -> int | None:
        found: int | None = self.job["spec"].get("completions")
        return found

    @property
    def terminating(self) -> int:
        return sum(map(job_pods.is_terminating, self.pods))

    @property
    def all_counted(self) -> bool:
        uncounted = self.status["uncountedTerminatedPods"]
        return not uncounted.get("succeeded") and not uncounted.get("failed") and not self.waiting


def decide(job: Object, pods: Sequence[Object], now: float) -> Plan:
    """The plan for a Job, given its own pods and the orphans of its namespace."""
    claims = claim(job, pods)
    own = [*claims.mine, *claims.adopt]
    if (ended := _finished(job)) is not None:
        return _after(job, own, ended, now)
    tally = count(job, own, now)
    if job["metadata"].get("deletionTimestamp"):
        return Plan(claims, release=tuple(pod for pod in own if job_pods.is_tracked(pod)), status=_counts(tally))
    events: list[tuple[str, str]] = []
    suspended = bool(job["spec"].get("suspend"))
    if not suspended and "startTime" not in tally.status:
        tally.status["startTime"] = rfc3339(now)
    target, wake_after = target_of(tally)
    create: list[Object] = []
    delete: list[Object] = []
    give_up: list[Object] = []
    if target is not None:
        delete = tally.active
        _set_condition(tally, target.interim, target.reason, target.message)
    else:
        _set_suspended(tally, suspended, events)
        if suspended:
            give_up = tally.active
        else:
            create, give_up, wait = _sizes(tally)
            wake_after = _sooner(wake_after, wait)
        target = _completed(tally)
        if target is not None:
            _set_condition(tally, target.interim, target.reason, target.message)
    leaving = {id(pod) for pod in [*delete, *give_up]}
    remaining = [pod for pod in tally.active if id(pod) not in leaving]
    tally.status["active"] = len(remaining) + len(create)
    tally.status["ready"] = sum(map(is_ready, remaining))
    tally.status["terminating"] = tally.terminating + len(leaving)
    if target is not None and not tally.active and not tally.terminating and tally.all_counted:
        _finish(tally, target, events)
    return Plan(
        claims,
        tuple(create),
        tuple(delete),
        tuple(pod for pod in give_up),
        tuple(tally.release),
        _counts(tally),
        tuple(events),
        wake_after=wake_after,
    )


def count(job: Object, own: Sequence[Object], now: float) -> Tally:
    """Moves what has been released into the counters, and notes ends that are new."""
    status = copy.deepcopy(job.get("status") or {})
    known = {key: list((status.get("uncountedTerminatedPods") or {}).get(key) or ()) for key in ("succeeded", "failed")}
    tracked = {pod["metadata"]["uid"] for pod in own if job_pods.is_tracked(pod)}
    for key, uids in known.items():
        done = [uid for uid in uids if uid not in tracked]
        status[key] = status.get(key, 0) + len(done)
        known[key] = [uid for uid in uids if uid in tracked]
    tally = Tally(job, list(own), now, status | {"uncountedTerminatedPods": known})
    tally.completed_indexes = job_pods.read_indexes(status.get("completedIndexes"))
    tally.failed_indexes = job_pods.read_indexes(status.get("failedIndexes"))
    tally.active = [pod for pod in own if is_active(pod)]
    for pod in own:
        if job_pods.is_tracked(pod):
            _note(tally, pod, known)
    indexed = job_pods.is_indexed(job)
    if indexed:
        status["completedIndexes"] = job_pods.write_indexes(tally.completed_indexes)
        if job["spec"].get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = job_pods.write_indexes(tally.failed_indexes)
        status["succeeded"] = len(tally.completed_indexes)
    tally.status |= status | {"uncountedTerminatedPods": known}
    tally.succeeded = status["succeeded"] + len(known["succeeded"])
    tally.failed = status["failed"] + len(known["failed"]) + len(tally.waiting)
    return tally


def _note(tally: Tally, pod: Object, known: dict[str, list[str]]) -> None:
    """One pod that has its finalizer still."""
    job, uid = tally.job, pod["metadata"]["uid"]
    indexed, index = job_pods.is_indexed(job), job_pods.index_of(job, pod)
    if uid in known["succeeded"] or uid in known["failed"]:
        tally.release.append(pod)
    elif job_pods.has_succeeded(pod):
        if not indexed:
            known["succeeded"].append(uid)
        elif index is None or index in job_pods.read_indexes(job.get("status", {}).get("completedIndexes")):
            tally.release.append(pod)
        else:
            tally.completed_indexes.add(index)
    elif job_pods.has_failed(job, pod):
        verdict = job_pods.judge(job, pod)
        tally.verdicts.append(verdict)
        if indexed and index is None:
            tally.release.append(pod)
            return
        if _waits_for_replacement(tally, pod, index, verdict):
            tally.waiting[index or 0] = pod
        elif verdict.counts:
            known["failed"].append(uid)
        else:
            tally.release.append(pod)


def _waits_for_replacement(tally: Tally, pod: Object, index: int | None, verdict: job_pods.Verdict) -> bool:
    limit = tally.job["spec"].get("backoffLimitPerIndex")
    if limit is None or index is None or index in tally.completed_indexes | tally.failed_indexes:
        return False
    if is_ending(tally.job):
        return False
    if verdict.action == "FailIndex" or (verdict.counts and job_pods.failures_of_index(pod) >= limit):
        tally.failed_indexes.add(index)
        return False
    return not any(
        each is not pod
        and job_pods.index_of(tally.job, each) == index
        and (is_active(each) or job_pods.failures_of_index(each) > job_pods.failures_of_index(pod))
        for each in tally.pods
    )


def _sizes(tally: Tally) -> tuple[list[Object], list[Object], float | None]:
    """Pods to make, pods to give up, and how long to wait before the next one."""
    job, active = tally.job, tally.active
    parallelism = int(job["spec"].get("parallelism", 1))
    if tally.completions is None:
        wanted = len(active) if tally.succeeded else parallelism
        wanted = min(wanted, parallelism)
    else:
        wanted = min(max(0, tally.completions - tally.succeeded), parallelism)
    surplus = _surplus(tally, len(active) - wanted)
    if surplus:
        return [], surplus[:BURST], None
    terminating = tally.terminating if job_pods.replaces_failed_only(job) else 0
    missing = min(wanted - terminating - len(active), BURST)
    if missing <= 0:
        return [], [], None
    if job["spec"].get("backoffLimitPerIndex") is None:
        failed = [pod for pod in tally.pods if job_pods.has_failed(job, pod) and not _given_up(pod)]
        succeeded = [pod for pod in tally.pods if job_pods.has_succeeded(pod)]
        if wait := job_pods.backoff(failed, succeeded, tally.now):
            return [], [], wait
    if not job_pods.is_indexed(job):
        return [job_pods.new_pod(job) for _ in range(missing)], [], None
    return _indexed(tally, missing)


def _given_up(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) and not job_pods.is_tracked(pod)


def _indexed(tally: Tally, missing: int) -> tuple[list[Object], list[Object], float | None]:
    """The first indexes that are neither done nor under way."""
    job = tally.job
    held = [pod for pod in tally.pods if is_active(pod)]
    if job_pods.replaces_failed_only(job):
        held += [pod for pod in tally.pods if job_pods.is_terminating(pod)]
    busy = {job_pods.index_of(job, pod) for pod in held} | tally.completed_indexes | tally.failed_indexes
    create: list[Object] = []
    wait: float | None = None
    for index in range(tally.completions or 0):
        if len(create) == missing:
            break
        if index in busy:
            continue
        failed = tally.waiting.get(index)
        if later := job_pods.index_backoff(failed, tally.now):
            wait = _sooner(wait, later)
            continue
        create.append(job_pods.new_pod(job, index, failed))
    return create, [], wait


def _surplus(tally: Tally, count: int) -> list[Object]:
    """Pods too many: second ones of an index or of none first, then as ReplicaSets rank them."""
    found: list[Object] = []
    ranked = sorted(tally.active, key=lambda pod: deletion_rank(pod, 0))
    if job_pods.is_indexed(tally.job):
        seen: set[int] = set()
        for pod in reversed(ranked):
            index = job_pods.index_of(tally.job, pod)
            if index is None or index in seen | tally.completed_indexes | tally.failed_indexes:
                found.append(pod)
            else:
                seen.add(index)
    rest = [pod for pod in ranked if pod not in found]
    return found + rest[: max(0, count - len(found))]


def _completed(tally: Tally) -> Target | None:
    if tally.active:
        return None
    enough = tally.succeeded > 0 if tally.completions is None else tally.succeeded >= tally.completions
    return Target("Complete", "CompletionsReached", "Reached expected number of succeeded pods") if enough else None


def _set_suspended(tally: Tally, suspended: bool, events: list[tuple[str, str]]) -> None:
    present = condition(tally.job, "Suspended")
    was = present is not None and present["status"] == "True"
    if suspended and not was:
        _set_condition(tally, "Suspended", "JobSuspended", "Job suspended")
        events.append(("Suspended", "Job suspended"))
    elif was and not suspended:
        _set_condition(tally, "Suspended", "JobResumed", "Job resumed", status="False")
        events.append(("Resumed", "Job resumed"))
        tally.status["startTime"] = rfc3339(tally.now)  # the deadline counts anew


def _set_condition(tally: Tally, kind: str, reason: str, message: str, status: str = "True") -> None:
    conditions = tally.status.setdefault("conditions", [])
    if any((each["type"], each["status"]) == (kind, status) for each in conditions):
        return
    stamp = rfc3339(tally.now)
    entry = {"type": kind, "status": status, "lastProbeTime": stamp, "lastTransitionTime": stamp}
    others = [each for each in conditions if each["type"] != kind]
    tally.status["conditions"] = [*others, entry | {"reason": reason, "message": message}]


def _finish(tally: Tally, target: Target, events: list[tuple[str, str]]) -> None:
    _set_condition(tally, target.kind, target.reason, target.message)
    if target.kind == "Complete":
        tally.status["completionTime"] = rfc3339(tally.now)
        events.append(("Completed", "Job completed"))
    else:
        events.append((target.reason, target.message))


def _counts(tally: Tally) -> Object:
    """The status as it is written: zeros that Go leaves out are left out."""
    status = {key: value for key, value in tally.status.items() if value or key in ("ready", "terminating")}
    uncounted = {key: uids for key, uids in tally.status["uncountedTerminatedPods"].items() if uids}
    return status | {"uncountedTerminatedPods": uncounted}


def _finished(job: Object) -> Object | None:
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found is not None and found["status"] == "True":
            return found
    return None


def _after(job: Object, own: Sequence[Object], ended: Object, now: float) -> Plan:
    """A finished Job: its pods go free, and it goes when its time has come."""
    release = tuple(pod for pod in own if job_pods.is_tracked(pod))
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None or job["metadata"].get("deletionTimestamp"):
        return Plan(release=release)
    left = parse_rfc3339(ended["lastTransitionTime"]) + seconds - now
    return Plan(release=release, expired=left <= 0, wake_after=left if left > 0 else None)


def _sooner(first: float | None, second: float | None) -> float | None:
    return min((each for each in (first, second) if each is not None), default=None)
