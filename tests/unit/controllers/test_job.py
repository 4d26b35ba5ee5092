"""Jobs decided in a simulated world: how many pods run, what counts, when it ends and why."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.controllers import job as jobs
from weft.controllers.job_pods import INDEX, TRACKING, read_indexes, write_indexes
from weft.core.clock import rfc3339

NOW = 1_700_000_000.0
Object = dict[str, Any]


def make_job(**spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "m", "image": "busybox"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "pi", "namespace": "default", "uid": "job", "generation": 1},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"j": "pi"}},
            "template": {"metadata": {"labels": {"j": "pi"}}, "spec": pod},
            **spec,
        },
    }


class World:
    """What the API holds. Pods that are deleted stay until they have no finalizer and somebody lets them go."""

    def __init__(self, job: Object) -> None:
        self.job = job
        self.pods: dict[str, Object] = {}
        self.now = NOW
        self.events: list[str] = []
        self.made = 0
        self.ends: dict[str, set[str]] = {"succeeded": set(), "failed": set()}

    def reconcile(self) -> jobs.Plan:
        plan = jobs.decide(self.job, list(self.pods.values()), self.now)
        for pod in plan.give_up:
            self.pods[pod["metadata"]["uid"]]["metadata"]["finalizers"] = []
        for pod in [*plan.give_up, *plan.delete]:
            self.pods[pod["metadata"]["uid"]]["metadata"].setdefault("deletionTimestamp", rfc3339(self.now))
        for pod in plan.create:
            self.made += 1
            uid = f"u{self.made}"
            self.pods[uid] = copy.deepcopy(pod)
            self.pods[uid]["metadata"] |= {
                "uid": uid,
                "name": f"{pod['metadata']['generateName']}{self.made}",
                "creationTimestamp": rfc3339(self.now),
            }
            self.pods[uid]["status"] = {"phase": "Pending"}
        if plan.status is not None:
            self.job["status"] = plan.status
        self.events += [reason for reason, _ in plan.events]
        for pod in plan.release:
            self.pods[pod["metadata"]["uid"]]["metadata"]["finalizers"] = []
        return plan

    def end(self, uid: str, code: int = 0) -> None:
        pod = self.pods[uid]
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            return
        kind = "failed" if code else "succeeded"
        if TRACKING in pod["metadata"]["finalizers"]:
            self.ends[kind].add(uid)
        ended = {"exitCode": code, "finishedAt": rfc3339(self.now)}
        statuses = [{"name": "m", "restartCount": 0, "state": {"terminated": ended}}]
        pod["status"] = {"phase": kind.capitalize(), "containerStatuses": statuses}

    def collect(self) -> None:
        """The kubelet's last deed: deleted pods go, if nothing holds them."""
        for uid, pod in list(self.pods.items()):
            if pod["metadata"].get("deletionTimestamp") and not pod["metadata"]["finalizers"]:
                del self.pods[uid]

    @property
    def active(self) -> list[str]:
        return [
            uid
            for uid, pod in self.pods.items()
            if pod["status"]["phase"] in ("Pending", "Running") and not pod["metadata"].get("deletionTimestamp")
        ]

    def settle(self, rounds: int = 30) -> None:
        for _ in range(rounds):
            self.reconcile()
            self.collect()

    def condition(self, kind: str) -> Object | None:
        found = self.job.get("status", {}).get("conditions") or []
        return next((each for each in found if each["type"] == kind and each["status"] == "True"), None)


def test_it_completes_when_enough_pods_have_succeeded() -> None:
    world = World(make_job(completions=3, parallelism=2))
    world.settle()
    assert len(world.active) == 2
    world.end(world.active[0])
    world.settle()
    assert len(world.active) == 2
    for uid in world.active:
        world.end(uid)
    world.settle()
    assert world.condition("Complete") is not None
    status = world.job["status"]
    assert (status["succeeded"], status.get("failed", 0), status["uncountedTerminatedPods"]) == (3, 0, {})
    assert status["completionTime"]
    assert world.events == ["Completed"]
    assert not any(pod["metadata"]["finalizers"] for pod in world.pods.values())


def test_an_end_is_noted_before_the_finalizer_goes_and_counted_after() -> None:
    world = World(make_job(completions=2))
    world.reconcile()
    world.end("u1")
    world.reconcile()
    assert world.job["status"]["uncountedTerminatedPods"] == {"succeeded": ["u1"]}
    assert world.pods["u1"]["metadata"]["finalizers"] == [TRACKING]
    world.reconcile()
    assert world.pods["u1"]["metadata"]["finalizers"] == []
    assert world.job["status"].get("succeeded", 0) == 0
    world.reconcile()
    assert world.job["status"]["succeeded"] == 1


def test_too_many_failures_fail_it_and_end_the_rest() -> None:
    world = World(make_job(completions=4, parallelism=2, backoffLimit=0))
    world.settle()
    world.end("u1", 1)
    world.settle()
    assert world.condition("FailureTarget") is not None
    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "BackoffLimitExceeded"
    assert failed["message"] == "Job has reached the specified backoff limit"
    assert world.active == []
    assert world.job["status"]["failed"] == 2


def test_failures_are_followed_by_a_growing_wait() -> None:
    world = World(make_job())
    world.reconcile()
    world.end("u1", 1)
    world.settle()
    plan = world.reconcile()
    assert plan.wake_after == pytest.approx(10)
    world.now += 10
    world.reconcile()
    assert world.made == 2
    world.end("u2", 1)
    world.settle()
    assert world.reconcile().wake_after == pytest.approx(20)


def test_the_deadline_ends_it() -> None:
    world = World(make_job(activeDeadlineSeconds=30))
    assert world.reconcile().wake_after == pytest.approx(30)
    world.now += 31
    world.settle()
    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "DeadlineExceeded"


def test_suspending_ends_its_pods_without_counting_them_and_resuming_starts_anew() -> None:
    world = World(make_job(parallelism=2, completions=2))
    world.settle()
    world.job["spec"]["suspend"] = True
    world.settle()
    assert world.pods == {}
    assert world.condition("Suspended") is not None
    world.job["spec"]["suspend"] = False
    world.settle()
    assert len(world.active) == 2
    assert world.job["status"].get("failed", 0) == 0
    assert world.events == ["Suspended", "Resumed"]


def test_each_index_runs_until_it_has_succeeded() -> None:
    world = World(make_job(completionMode="Indexed", completions=3, parallelism=3))
    world.settle()
    indexes = {uid: pod["metadata"]["annotations"][INDEX] for uid, pod in world.pods.items()}
    assert sorted(indexes.values()) == ["0", "1", "2"]
    pod = world.pods["u2"]
    assert pod["spec"]["hostname"] == "pi-1"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    world.end("u1")
    world.end("u3")
    world.settle()
    assert world.job["status"]["completedIndexes"] == "0,2"
    world.end("u2", 1)
    world.settle()
    world.now += 10
    world.settle()
    assert [world.pods[uid]["metadata"]["annotations"][INDEX] for uid in world.active] == ["1"]
    world.end(world.active[0])
    world.settle()
    assert world.job["status"]["completedIndexes"] == "0-2"
    assert world.condition("Complete") is not None


def test_an_index_that_fails_too_often_does_not_stop_the_others() -> None:
    spec = {"completions": 2, "parallelism": 2, "backoffLimitPerIndex": 1, "backoffLimit": 2**31 - 1}
    world = World(make_job(completionMode="Indexed", **spec))
    world.settle()
    world.end("u1", 1)
    world.settle()
    assert world.job["status"].get("failedIndexes", "") == ""
    world.now += 10
    world.settle()
    assert world.pods["u3"]["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "1"
    world.end("u3", 1)
    world.settle()
    assert world.job["status"]["failedIndexes"] == "0"
    assert world.condition("Failed") is None
    world.end("u2")
    world.settle()
    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "FailedIndexes"
    assert (world.job["status"]["completedIndexes"], world.job["status"]["failed"]) == ("1", 2)


def test_a_failure_policy_fails_the_job_or_ignores_a_pod() -> None:
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    world = World(make_job(backoffLimit=0, podFailurePolicy={"rules": rules}, podReplacementPolicy="Failed"))
    world.settle()
    world.end("u1", 1)
    world.pods["u1"]["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    world.settle()
    world.now += 10
    world.settle()
    assert world.made == 2, "the first one did not count"
    world.end("u2", 42)
    world.settle()
    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "PodFailurePolicy"
    name = world.pods["u2"]["metadata"]["name"]
    assert failed["message"] == (
        f"Container m for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
    )


def test_a_success_policy_ends_it_early() -> None:
    policy = {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}
    world = World(make_job(completionMode="Indexed", completions=3, parallelism=3, successPolicy=policy))
    world.settle()
    world.end("u3")
    world.settle()
    complete = world.condition("Complete")
    assert complete is not None
    assert (complete["reason"], complete["message"]) == ("SuccessPolicy", "Matched rules at index 0")
    assert world.active == []


def test_it_goes_when_its_time_has_come() -> None:
    world = World(make_job(ttlSecondsAfterFinished=60))
    world.reconcile()
    world.end("u1")
    world.settle()
    plan = world.reconcile()
    assert (plan.expired, plan.wake_after) == (False, pytest.approx(60))
    world.now += 61
    assert world.reconcile().expired


def test_a_pod_that_is_going_is_replaced_at_once_or_when_it_has_failed() -> None:
    for policy, made in (("TerminatingOrFailed", 2), ("Failed", 1)):
        world = World(make_job(podReplacementPolicy=policy, backoffLimit=3))
        world.reconcile()
        world.pods["u1"]["status"]["phase"] = "Running"
        world.pods["u1"]["metadata"]["deletionTimestamp"] = rfc3339(world.now)
        world.now += 10
        world.reconcile()
        assert world.made == made, policy


@given(st.sets(st.integers(0, 60)))
def test_indexes_read_back_as_written(indexes: set[int]) -> None:
    assert read_indexes(write_indexes(indexes)) == indexes


def test_indexes_are_written_as_runs() -> None:
    assert write_indexes([0, 1, 3, 4, 5, 9]) == "0,1,3-5,9"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["reconcile", "reconcile", "succeed", "fail", "kill", "collect", "parallel", "suspend", "time"]
        ),
        st.integers(0, 9),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.booleans(), st.sampled_from(["TerminatingOrFailed", "Failed"]))
def test_pods_never_exceed_parallelism_and_every_end_counts_once(
    steps: list[tuple[str, int]], indexed: bool, policy: str
) -> None:
    mode = "Indexed" if indexed else "NonIndexed"
    world = World(
        make_job(completions=5, parallelism=3, backoffLimit=100, completionMode=mode, podReplacementPolicy=policy)
    )
    for action, number in [*steps, ("suspend", 0)]:
        active = world.active
        if action == "reconcile":
            world.reconcile()
            assert len(world.active) <= world.job["spec"]["parallelism"]
            assert len(world.ends["succeeded"]) + len(world.active) <= 5
        elif action == "parallel":
            world.job["spec"]["parallelism"] = number % 4
        elif action == "suspend":
            world.job["spec"]["suspend"] = bool(number % 2)
        elif action == "time":
            world.now += 100 * number
        elif action == "collect":
            world.collect()
        elif active and action == "kill":
            pod = world.pods[active[number % len(active)]]
            pod["metadata"]["deletionTimestamp"] = rfc3339(world.now)
            world.ends["failed"].add(pod["metadata"]["uid"])
            pod["status"]["phase"] = "Failed"
        elif active and action in ("succeed", "fail"):
            world.end(active[number % len(active)], int(action == "fail"))
    world.job["spec"] |= {"parallelism": 3, "suspend": False}
    for _ in range(60):
        world.settle(4)
        world.now += 700
        for uid in world.active:
            world.end(uid)
    assert world.condition("Complete") is not None
    status = world.job["status"]
    assert status.get("failed", 0) == len(world.ends["failed"])
    if indexed:
        assert status["completedIndexes"] == "0-4"
    else:
        assert status["succeeded"] == len(world.ends["succeeded"])
    assert not any(pod["metadata"]["finalizers"] for pod in world.pods.values())
