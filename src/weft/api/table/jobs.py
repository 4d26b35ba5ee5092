"""The rows of jobs, cron jobs and disruption budgets."""

from weft.api.table.printing import NONE, UNSET, Cells, Object, age, created, human_duration, name, prints
from weft.api.table.workloads import containers, selector
from weft.core.clock import parse_rfc3339

# What a job's conditions are called in its row, the first that holds; a deletion stands between the second and third.
_STATES = ("Complete", "Failed", "Terminating", "Suspended", "FailureTarget", "SuccessCriteriaMet")


@prints("batch", "Job", "Name|Status|Completions|Duration|Age|+Containers|+Images|+Selector")
def job_row(obj: Object, now: float) -> Cells:
    return [
        name(obj),
        _state(obj),
        _completions(obj),
        _duration(obj.get("status") or {}, now),
        created(obj, now),
        *containers(obj),
        selector(obj),
    ]


def _state(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    holding = {each["type"] for each in conditions if each.get("status") == "True"}
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        holding.add("Terminating")
    return next((state for state in _STATES if state in holding), "Running")


def _completions(obj: Object) -> str:
    spec = obj.get("spec") or {}
    succeeded = (obj.get("status") or {}).get("succeeded", 0)
    if (wanted := spec.get("completions")) is not None:
        return f"{succeeded}/{wanted}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Object, now: float) -> str:
    began, ended = status.get("startTime"), status.get("completionTime")
    if not began:
        return ""
    return human_duration((parse_rfc3339(ended) if ended else now) - parse_rfc3339(began))


@prints(
    "batch",
    "CronJob",
    "Name|Schedule|Timezone|Suspend|Active:integer|Last Schedule|Age|+Containers|+Images|+Selector",
)
def cron_job_row(obj: Object, now: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    last = status.get("lastScheduleTime")
    template = spec.get("jobTemplate") or {}
    return [
        name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if spec.get("suspend") is None else str(spec["suspend"]),
        len(status.get("active") or ()),
        age(last, now) if last else NONE,
        created(obj, now),
        *containers(template),
        selector(template),
    ]


@prints("policy", "PodDisruptionBudget", "Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age")
def budget_row(obj: Object, now: float) -> Cells:
    spec = obj.get("spec") or {}
    return [
        name(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        created(obj, now),
    ]
