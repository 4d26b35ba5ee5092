"""What a Job asks of its pods: did one fail and does that count, which index is it, when may the next one start.

Pure. Source: Kubernetes `pkg/controller/job` (`indexed_job_utils.go`, `pod_failure_policy.go`, `backoff_utils.go`).
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weft.api.gvr import JOBS
from weft.client.base import Object
from weft.controllers.podcontrol import from_template
from weft.core.clock import parse_rfc3339

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
_FIRST_BACKOFF, _MAX_BACKOFF = 10.0, 600.0


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def index_of(job: Object, pod: Object) -> int | None:
    """The completion index of the pod; None where it has none that the job has."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    if not text.isdigit() or int(text) >= job["spec"].get("completions", 0):
        return None
    return int(text)


def read_indexes(text: str | None) -> set[int]:
    """`1,3-5` as numbers; what is not a number, a mistake of another's, is passed over."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def write_indexes(indexes: Iterable[int]) -> str:
    """Numbers as `1,3-5`."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    forms = [str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in runs]
    return ",".join(forms)


def replaces_failed_only(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"))


def has_succeeded(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Succeeded")


def has_failed(job: Object, pod: Object) -> bool:
    """A pod that is being deleted will never reach another end, and counts unless its end is to be waited for."""
    phase, going = pod.get("status", {}).get("phase"), pod["metadata"].get("deletionTimestamp")
    if phase == "Failed" or not going:
        return bool(phase == "Failed")
    return bool(phase == "Pending") if replaces_failed_only(job) else bool(phase != "Succeeded")


def is_terminating(pod: Object) -> bool:
    phase = pod.get("status", {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) and phase not in ("Succeeded", "Failed")


def is_tracked(pod: Object) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def failures_of_index(pod: Object) -> int:
    """How often the pod's index had failed when the pod was made."""
    text = (pod["metadata"].get("annotations") or {}).get(FAILURES, "")
    return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the failure policy says of a failed pod: an action, and a message where that fails the job."""

    action: str = "Count"
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def judge(job: Object, pod: Object) -> Verdict:
    """The first rule of `podFailurePolicy` that holds."""
    if pod.get("status", {}).get("phase") != "Failed":
        return Verdict()
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for index, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        action = rule["action"]
        why = ""
        if (codes := rule.get("onExitCodes")) is not None:
            if (ended := _matching_exit(pod, codes)) is not None:
                why = f"Container {ended[0]} for pod {name} failed with exit code {ended[1]}"
        elif (kind := _matching_condition(pod, rule.get("onPodConditions") or ())) is not None:
            why = f"Pod {name} has condition {kind}"
        if why:
            return Verdict(action, f"{why} matching {action} rule at index {index}")
    return Verdict()


def _matching_exit(pod: Object, codes: Object) -> tuple[str, int] | None:
    status = pod.get("status", {})
    for each in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        if codes.get("containerName") not in (None, each["name"]):
            continue
        code = ((each.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
        if code != 0 and (code in codes["values"]) == (codes["operator"] == "In"):
            return each["name"], code
    return None


def _matching_condition(pod: Object, patterns: Sequence[Object]) -> str | None:
    held = {(each["type"], each["status"]) for each in pod.get("status", {}).get("conditions") or ()}
    return next((p["type"] for p in patterns if (p["type"], p.get("status", "True")) in held), None)


def finished_at(pod: Object) -> float:
    """When the pod ended, as well as its status says so."""
    stamps = [
        ended["finishedAt"]
        for each in pod.get("status", {}).get("containerStatuses") or ()
        if (ended := (each.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    ready = [
        each["lastTransitionTime"]
        for each in pod.get("status", {}).get("conditions") or ()
        if each["type"] == "Ready" and each.get("lastTransitionTime")
    ]
    metadata = pod["metadata"]
    found = stamps or ready or [metadata.get("deletionTimestamp") or metadata["creationTimestamp"]]
    return max(map(parse_rfc3339, found))


def backoff(failed: Sequence[Object], succeeded: Sequence[Object], now: float) -> float:
    """Seconds until a pod may be made in place of those that failed since one succeeded: 10, 20, 40 up to 600."""
    since = max(map(finished_at, succeeded), default=0.0)
    ends = [end for end in map(finished_at, failed) if end > since]
    if not ends:
        return 0.0
    delay = min(_FIRST_BACKOFF * 2.0 ** min(len(ends) - 1, 10), _MAX_BACKOFF)
    return max(0.0, max(ends) + delay - now)


def index_backoff(failed: Object | None, now: float) -> float:
    """The same for one index, whose last pod says how often it has failed."""
    if failed is None:
        return 0.0
    delay = min(_FIRST_BACKOFF * 2.0 ** min(failures_of_index(failed), 10), _MAX_BACKOFF)
    return max(0.0, finished_at(failed) + delay - now)


def new_pod(job: Object, index: int | None = None, failed: Object | None = None) -> Object:
    """A pod of the job; `failed` is the one of the same index that it replaces."""
    name = job["metadata"]["name"]
    base = f"{name}-" if index is None else f"{name}-{index}-"
    pod = from_template(job, JOBS, job["spec"]["template"], generateName=base)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*metadata.get("finalizers", ()), TRACKING]
    if index is None:
        return pod
    metadata.setdefault("annotations", {})[INDEX] = str(index)
    metadata.setdefault("labels", {})[INDEX] = str(index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        counted = judge(job, failed).counts if failed is not None else False
        count = 0 if failed is None else failures_of_index(failed) + counted
        metadata["annotations"][FAILURES] = str(count)
        if failed is not None and not counted:
            ignored = (failed["metadata"].get("annotations") or {}).get(IGNORED_FAILURES, "0")
            metadata["annotations"][IGNORED_FAILURES] = str(int(ignored) + 1 if ignored.isdigit() else 1)
    pod["spec"].setdefault("hostname", f"{name}-{index}")
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}}
    for container in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]:
        given = container.get("env") or []
        if not any(each["name"] == variable["name"] for each in given):
            container["env"] = [*given, copy.deepcopy(variable)]
    return pod
