"""CronJobs decided by the clock: when a Job is due, what may run beside it, what is kept."""

from typing import Any

import pytest

from weft.controllers import cronjob
from weft.core.clock import parse_rfc3339, rfc3339

NOON = parse_rfc3339("2026-03-10T12:00:00Z")
Object = dict[str, Any]


def make(schedule: str = "*/5 * * * *", *, created: float = NOON - 60, status: Any = None, **spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "m", "image": "busybox"}]}
    return {
        "metadata": {"name": "tick", "namespace": "default", "uid": "cj", "creationTimestamp": rfc3339(created)},
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": pod}}},
            **spec,
        },
        "status": status or {},
    }


def make_job(name: str, end: str = "", at: float = NOON - 300) -> Object:
    conditions = [{"type": end, "status": "True"}] if end else []
    status: Object = {"conditions": conditions, "startTime": rfc3339(at)}
    if end == "Complete":
        status["completionTime"] = rfc3339(at + 10)
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "status": status}


def reference(job: Object) -> Object:
    return {"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}


def test_nothing_is_due_before_its_time_and_it_says_when_to_look_again() -> None:
    plan = cronjob.decide(make(created=NOON + 10), [], NOON + 60)
    assert (plan.create, plan.wake_after) == (None, pytest.approx(240))


def test_a_job_is_made_at_its_time_under_a_name_of_that_minute() -> None:
    plan = cronjob.decide(make(), [], NOON + 2)
    assert plan.create is not None
    metadata = plan.create["metadata"]
    assert metadata["name"] == f"tick-{int(NOON) // 60}"
    assert metadata["labels"] == {"a": "b"}
    assert metadata["annotations"] == {cronjob.SCHEDULED_FOR: "2026-03-10T12:00:00Z"}
    assert plan.status["lastScheduleTime"] == "2026-03-10T12:00:00Z"
    assert plan.wake_after == pytest.approx(298)


def test_only_the_last_of_several_missed_times_is_made_up_for() -> None:
    plan = cronjob.decide(make(created=NOON - 3600), [], NOON + 61)
    assert plan.create is not None
    assert plan.create["metadata"]["annotations"][cronjob.SCHEDULED_FOR] == rfc3339(NOON)
    assert plan.events == ()
    many = cronjob.decide(make("* * * * *", created=NOON - 86400), [], NOON + 1)
    assert many.create is not None
    assert [reason for _, reason, _ in many.events] == ["TooManyMissedTimes"]


def test_a_time_is_missed_for_good_after_the_starting_deadline() -> None:
    plan = cronjob.decide(make(startingDeadlineSeconds=30), [], NOON + 60)
    assert plan.create is None
    late = cronjob.decide(make(startingDeadlineSeconds=90), [], NOON + 60)
    assert late.create is not None


@pytest.mark.parametrize(
    ("policy", "made", "deleted", "reasons"),
    [("Allow", True, [], []), ("Forbid", False, [], ["JobAlreadyActive"]), ("Replace", True, ["tick-1"], [])],
)
def test_what_may_run_beside_another(policy: str, made: bool, deleted: list[str], reasons: list[str]) -> None:
    running = make_job("tick-1")
    plan = cronjob.decide(make(concurrencyPolicy=policy, status={"active": [reference(running)]}), [running], NOON)
    assert (plan.create is not None) == made
    assert [job["metadata"]["name"] for job in plan.delete] == deleted
    assert [reason for _, reason, _ in plan.events] == reasons


def test_suspended_nothing_is_due() -> None:
    plan = cronjob.decide(make(suspend=True), [], NOON + 1)
    assert (plan.create, plan.wake_after) == (None, None)


def test_ends_are_noted_and_history_kept_to_its_limits() -> None:
    done = [make_job(f"tick-{at}", "Complete", NOON - 1000 + at) for at in range(5)]
    failed = [make_job(f"bad-{at}", "Failed", NOON - 1000 + at) for at in range(3)]
    status = {"active": [reference(done[4])], "lastScheduleTime": rfc3339(NOON)}
    plan = cronjob.decide(make(status=status), [*done, *failed], NOON + 10)
    assert [job["metadata"]["name"] for job in plan.delete] == ["tick-0", "tick-1", "bad-0", "bad-1"]
    assert "active" not in plan.status
    assert plan.status["lastSuccessfulTime"] == rfc3339(NOON - 1000 + 4 + 10)
    assert plan.events == (("Normal", "SawCompletedJob", "Saw completed job: tick-4, condition: Complete"),)


def test_the_time_zone_moves_the_schedule() -> None:
    plan = cronjob.decide(make("0 9 * * *", timeZone="America/New_York", created=NOON), [], NOON + 3601)
    assert plan.create is not None
    assert plan.create["metadata"]["annotations"][cronjob.SCHEDULED_FOR] == "2026-03-10T13:00:00Z"
