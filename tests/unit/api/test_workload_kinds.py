"""Workload kinds beside Deployment: what is filled in, what is refused and in which words, what is printed."""

from copy import deepcopy
from typing import Any

import pytest

from weft.api.defaults import apply_defaults
from weft.api.kinds import Kinds, ResourceType
from weft.api.table import to_table
from weft.api.validation import validate, validate_update

Object = dict[str, Any]
KINDS = Kinds.builtin()
POD = {"containers": [{"name": "m", "image": "busybox:1"}]}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD}
JOB_TEMPLATE = {"spec": {**POD, "restartPolicy": "Never"}}
SETS = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}


def rtype(kind: str) -> ResourceType:
    return next(each for each in KINDS.all() if each.kind == kind)


def make(kind: str, spec: Object, name: str = "x") -> Object:
    """An object of the kind, with defaults."""
    obj = {"metadata": {"name": name, "namespace": "default"}, "spec": deepcopy(spec)}
    apply_defaults(obj, rtype(kind))
    return obj


def errors(kind: str, spec: Object, name: str = "x") -> list[str]:
    return [str(error) for error in validate(make(kind, spec, name), rtype(kind))]


def test_defaults_of_sets() -> None:
    spec = make("StatefulSet", SETS)["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["revisionHistoryLimit"]) == (1, "OrderedReady", 10)
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    rolling = make("DaemonSet", SETS)["spec"]["updateStrategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 1, "maxSurge": 0}
    controller = make("ReplicationController", {"template": TEMPLATE})
    assert (controller["spec"]["selector"], controller["metadata"]["labels"]) == ({"app": "x"}, {"app": "x"})


def test_defaults_of_jobs() -> None:
    spec = make("Job", {"template": JOB_TEMPLATE})["spec"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 6)
    assert "completions" not in make("Job", {"template": JOB_TEMPLATE, "parallelism": 2})["spec"]
    by_index = {"template": JOB_TEMPLATE, "backoffLimitPerIndex": 1, "completions": 2, "completionMode": "Indexed"}
    assert make("Job", by_index)["spec"]["backoffLimit"] == 2**31 - 1
    cron = make("CronJob", {"schedule": "@daily", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}})["spec"]
    assert (cron["concurrencyPolicy"], cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (
        "Allow",
        3,
        1,
    )
    assert "backoffLimit" not in cron["jobTemplate"]["spec"]


def cron(**spec: Any) -> Object:
    return {"schedule": "@daily", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}, **spec}


MISTAKES: list[tuple[str, Object, str]] = [
    ("StatefulSet", {**SETS, "podManagementPolicy": "Now"}, "spec.podManagementPolicy: Invalid value: \"Now\": must be "
     "'OrderedReady' or 'Parallel'"),
    ("StatefulSet", {**SETS, "ordinals": {"start": -1}}, "spec.ordinals.start: Invalid value: -1: must be greater than "
     "or equal to 0"),
    ("StatefulSet", {**SETS, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}},
     "spec.updateStrategy.rollingUpdate: Invalid value: map[string]string{}: only allowed for updateStrategy "
     "'RollingUpdate'"),
    ("DaemonSet", {**SETS, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}},
     "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
    ("DaemonSet", {**SETS, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
     "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
    ("ReplicationController", {"selector": {"app": "y"}, "template": TEMPLATE},
     'spec.template.metadata.labels: Invalid value: map[string]string{"app":"x"}: `selector` does not match template '
     "`labels`"),
    ("Job", {"template": {"spec": POD}},
     'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
    ("Job", {"template": JOB_TEMPLATE, "completionMode": "Indexed", "parallelism": 1},
     "spec.completions: Required value: when completion mode is Indexed"),
    ("Job", {"template": JOB_TEMPLATE, "backoffLimitPerIndex": 1},
     "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
    ("CronJob", cron(schedule="1 2 3"),
     'spec.schedule: Invalid value: "1 2 3": expected exactly 5 fields, found 3: [1 2 3]'),
    ("CronJob", cron(schedule="TZ=UTC @daily"),
     'spec.schedule: Invalid value: "TZ=UTC @daily": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'),
    ("CronJob", cron(timeZone="Mars/Olympus"),
     'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'),
    ("CronJob", cron(concurrencyPolicy="Maybe"),
     'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"'),
    ("PodDisruptionBudget", {"minAvailable": "101%"},
     'spec.minAvailable: Invalid value: "101%": must not be greater than 100%'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "error"), MISTAKES)
def test_mistakes(kind: str, spec: Object, error: str) -> None:
    assert errors(kind, spec) == [error]


def test_what_is_right_is_taken() -> None:
    for kind, spec in (("StatefulSet", SETS), ("DaemonSet", SETS), ("Job", {"template": JOB_TEMPLATE})):
        assert errors(kind, spec) == []
    assert errors("CronJob", cron(timeZone="Europe/Berlin")) == []
    assert errors("PodDisruptionBudget", {"minAvailable": 1, "selector": {}}) == []


def test_long_names_leave_no_room_for_the_names_of_jobs() -> None:
    assert errors("CronJob", cron(), "x" * 53) == [
        f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters'
    ]


def test_what_may_not_change() -> None:
    old = make("StatefulSet", SETS)
    new = deepcopy(old)
    new["spec"] |= {"replicas": 5, "minReadySeconds": 3}
    assert validate_update(new, old, rtype("StatefulSet")) == []
    new["spec"]["serviceName"] = "other"
    (error,) = validate_update(new, old, rtype("StatefulSet"))
    assert str(error).startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")
    job = make("Job", {"template": JOB_TEMPLATE})
    changed = deepcopy(job)
    changed["spec"]["parallelism"] = 3
    assert validate_update(changed, job, rtype("Job")) == []
    changed["spec"]["completions"] = 3
    (error,) = validate_update(changed, job, rtype("Job"))
    assert str(error) == "spec.completions: Invalid value: 3: field is immutable"


def cells(kind: str, obj: Object) -> list[Any]:
    row = to_table(rtype(kind), [obj], now=1000.0)["rows"][0]
    found: list[Any] = row["cells"]
    return found


def test_rows() -> None:
    job = make("Job", {"template": JOB_TEMPLATE, "completions": 3, "parallelism": 2})
    started = "1970-01-01T00:10:00Z"
    job["status"] = {"succeeded": 1, "startTime": started}
    assert cells("Job", job)[:4] == ["x", "Running", "1/3", "6m40s"]
    job["status"] |= {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "1970-01-01T00:10:09Z"}
    assert cells("Job", job)[1:4] == ["Complete", "1/3", "9s"]
    tick = make("CronJob", cron(suspend=True))
    assert cells("CronJob", tick)[:6] == ["x", "@daily", "<none>", "True", 0, "<none>"]
    budget = make("PodDisruptionBudget", {"maxUnavailable": "50%"})
    assert cells("PodDisruptionBudget", budget)[:4] == ["x", "N/A", "50%", 0]
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True}
    revision = {"metadata": {"name": "db-1", "ownerReferences": [owner]}, "revision": 4}
    assert cells("ControllerRevision", revision)[:3] == ["db-1", "statefulset.apps/db", 4]
    controller = make("ReplicationController", {"template": TEMPLATE})
    assert cells("ReplicationController", controller)[-1] == "app=x"
