"""Has a Job ended, and why: limits of failures, the deadline, the failure and success policies. Pure.

Who is next: `weft.controllers.job`, which ends the pods and then writes the condition.
Source: Kubernetes `pkg/controller/job/job_controller.go` (syncJob), `success_policy.go`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weft.client.base import Object
from weft.controllers import job_pods
from weft.controllers.pods import condition
from weft.core.clock import parse_rfc3339

if TYPE_CHECKING:
    from weft.controllers.job import Tally


@dataclass(frozen=True, slots=True)
class Target:
    """The condition that the Job will have when its pods have ended: Complete or Failed."""

    kind: str
    reason: str
    message: str

    @property
    def interim(self) -> str:
        """The condition that it has until then."""
        return "SuccessCriteriaMet" if self.kind == "Complete" else "FailureTarget"


def is_ending(job: Object) -> bool:
    """Whether an end has been decided before."""
    return _decided(job) is not None


def _decided(job: Object) -> Target | None:
    for kind, final in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        present = condition(job, kind)
        if present is not None and present["status"] == "True":
            return Target(final, present["reason"], present["message"])
    return None


def target_of(tally: "Tally") -> tuple[Target | None, float | None]:
    """The end that the Job goes to, if one is decided; else when the deadline comes."""
    if (decided := _decided(tally.job)) is not None:
        return decided, None
    found = _by_policy(tally) or _by_backoff(tally)
    if found is not None:
        return found, None
    found, wake_after = _by_deadline(tally)
    return found or _by_indexes(tally) or _by_success(tally), wake_after


def _by_policy(tally: "Tally") -> Target | None:
    for verdict in tally.verdicts:
        if verdict.action == "FailJob":
            return Target("Failed", "PodFailurePolicy", verdict.message)
    return None


def _by_backoff(tally: "Tally") -> Target | None:
    spec = tally.job["spec"]
    limit = int(spec.get("backoffLimit", 6))
    restarts = 0
    if (spec["template"].get("spec") or {}).get("restartPolicy") == "OnFailure":
        running = [pod for pod in tally.pods if pod.get("status", {}).get("phase") in ("Running", "Pending")]
        restarts = sum(map(_restarts, running))
    too_many = restarts > 0 if limit == 0 else restarts >= limit
    if tally.failed > limit or too_many:
        return Target("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    return None


def _restarts(pod: Object) -> int:
    status = pod.get("status", {})
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return sum(each.get("restartCount", 0) for each in every)


def _by_deadline(tally: "Tally") -> tuple[Target | None, float | None]:
    seconds, began = tally.job["spec"].get("activeDeadlineSeconds"), tally.status.get("startTime")
    if seconds is None or began is None or tally.job["spec"].get("suspend"):
        return None, None
    left = parse_rfc3339(began) + seconds - tally.now
    if left <= 0:
        return Target("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"), None
    return None, left


def _by_indexes(tally: "Tally") -> Target | None:
    if tally.job["spec"].get("backoffLimitPerIndex") is None:
        return None
    failed, most = len(tally.failed_indexes), tally.job["spec"].get("maxFailedIndexes")
    if most is not None and failed > most:
        why = "Job has exceeded the specified maximal number of failed indexes"
        return Target("Failed", "MaxFailedIndexesExceeded", why)
    if failed and failed + tally.succeeded >= (tally.completions or 0):
        return Target("Failed", "FailedIndexes", "Job has failed indexes")
    return None


def _by_success(tally: "Tally") -> Target | None:
    for index, rule in enumerate((tally.job["spec"].get("successPolicy") or {}).get("rules") or ()):
        done, wanted = tally.completed_indexes, rule.get("succeededCount")
        if (indexes := rule.get("succeededIndexes")) is not None:
            named = job_pods.read_indexes(indexes)
            done, wanted = done & named, len(named) if wanted is None else wanted
        if wanted is not None and len(done) >= wanted:
            return Target("Complete", "SuccessPolicy", f"Matched rules at index {index}")
    return None
