"""What a pod needs next, as tables: an observation in, actions out."""

from typing import Any

import pytest

from weft.container.spec import State
from weft.core.clock import rfc3339
from weft.node.pods import status
from weft.node.pods.decide import back_off, decide
from weft.node.pods.model import (
    Attempt,
    CreateSandbox,
    DeletePod,
    Health,
    KillContainer,
    MountVolumes,
    Observation,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    RunContainer,
    StartContainer,
    StopContainer,
    Trouble,
)

NOW = 1_700_000_000.0
UID = "11111111-2222-3333-4444-555555555555"


def pod(policy: str = "Always", *names: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "default", "uid": UID, **more.pop("metadata", {})}
    known = more.pop("status", {})
    containers = [{"name": name, "image": "busybox:1"} for name in names or ("main",)]
    spec = {"containers": containers, "restartPolicy": policy, "terminationGracePeriodSeconds": 30, **more}
    return {"metadata": metadata, "spec": spec, "status": known}


def deleting(seconds: float, grace: int = 30) -> dict[str, Any]:
    return {"deletionTimestamp": rfc3339(NOW + seconds), "deletionGracePeriodSeconds": grace}


def running(number: int = 0, name: str = "main") -> Attempt:
    return Attempt(name, number, f"{name}{number}", State.RUNNING, started_at=NOW - 5)


def exited(
    code: int, number: int = 0, name: str = "main", *, ago: float = 1, ran: float = 1, failures: int = 0
) -> Attempt:
    times = {"started_at": NOW - ago - ran, "finished_at": NOW - ago}
    return Attempt(name, number, f"{name}{number}", State.EXITED, exit_code=code, failures=failures, **times)


def seen(*attempts: Attempt, **more: Any) -> Observation:
    found: dict[str, tuple[Attempt, ...]] = {}
    for attempt in attempts:
        found[attempt.container] = (*found.get(attempt.container, ()), attempt)
    values = {"sandbox": True, "volumes": True, "volume_files": True, "directory": True, "address": "10.9.0.2"}
    return Observation(attempts=found, **(values | more))


MADE = Attempt("main", 0, "x", State.CREATED)
NOTHING = {"sandbox": False, "volumes": False, "volume_files": False, "directory": False, "address": ""}


@pytest.mark.parametrize(
    ("spec", "world", "actions"),
    [
        pytest.param(pod(), seen(**NOTHING), [MountVolumes(), CreateSandbox()], id="nothing there yet"),
        pytest.param(pod(), seen(**NOTHING, references=False), [], id="references are not known yet"),
        pytest.param(pod(hostNetwork=True), seen(sandbox=False), [RunContainer("main", 0, 0)], id="host network"),
        pytest.param(pod(), seen(), [RunContainer("main", 0, 0)], id="ready to run"),
        pytest.param(pod(), seen(busy=frozenset({"container:main"})), [], id="under way"),
        pytest.param(pod(), seen(running()), [], id="running"),
        pytest.param(pod(), seen(MADE), [StartContainer("main", "x")], id="made, not started"),
        pytest.param(pod("Always", "a", "b"), seen(running(0, "a")), [RunContainer("b", 0, 0)], id="one of two"),
        pytest.param(pod(), seen(exited(0)), [RunContainer("main", 1, 1)], id="first end: at once"),
        pytest.param(pod(), seen(exited(1, 1, failures=1)), [], id="second end: backs off"),
        pytest.param(pod(), seen(exited(1, 1, ago=11, failures=1)), [RunContainer("main", 2, 2)], id="waited"),
        pytest.param(pod(), seen(exited(1, 4, ran=700, failures=4)), [RunContainer("main", 5, 0)], id="ran long: anew"),
        pytest.param(pod("OnFailure"), seen(exited(3)), [RunContainer("main", 1, 1)], id="on failure"),
        pytest.param(pod("OnFailure"), seen(exited(0)), [RemoveSandbox(), RemoveVolumes()], id="success"),
        pytest.param(pod("Never"), seen(exited(3)), [RemoveSandbox(), RemoveVolumes()], id="failed for good"),
        pytest.param(pod("Never", "a", "b"), seen(exited(0, 0, "a"), running(0, "b")), [], id="one still runs"),
        pytest.param(
            pod(status={"phase": "Succeeded"}), seen(running()),
            [StopContainer("main", "main0", 30, "Stopping container main")], id="terminal phases are final",
        ),
        pytest.param(
            pod(), seen(running(), sandbox=False),
            [StopContainer("main", "main0", 30, "Pod sandbox changed, it will be killed and re-created.")],
            id="lost network",
        ),
        pytest.param(
            pod(), seen(running(2), exited(1, 1), exited(1, 0)), [RemoveContainer("main", "main0")], id="old ones go",
        ),
        pytest.param(
            pod(), seen(running(), health={"main0": Health(failure="why")}),
            [StopContainer("main", "main0", 30, "why")],
            id="liveness",
        ),
        pytest.param(
            pod(), seen(troubles={"container:main": Trouble("ErrImagePull", "no", NOW - 3, NOW + 7)}), [],
            id="pull backs off",
        ),
        pytest.param(
            pod(), seen(troubles={"container:main": Trouble("ErrImagePull", "no", NOW - 12, NOW - 2)}),
            [RunContainer("main", 0, 0)], id="pull again",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_is_wanted(spec: Any, world: Observation, actions: list[Any]) -> None:
    assert list(decide(spec, world, NOW).actions) == actions


@pytest.mark.parametrize(
    ("spec", "world", "actions"),
    [
        (pod(metadata=deleting(30)), seen(running()), [StopContainer("main", "main0", 30, "Stopping container main")]),
        (pod(metadata=deleting(0, 0)), seen(running()), [StopContainer("main", "main0", 0, "Stopping container main")]),
        (
            pod(metadata=deleting(-3)),
            seen(running(), busy=frozenset({"container:main"})),
            [KillContainer("main", "main0")],
        ),
        (pod(metadata=deleting(9)), seen(running(), busy=frozenset({"container:main"})), []),
        (pod(metadata=deleting(30)), seen(busy=frozenset({"container:main"})), []),
        (pod(metadata=deleting(30)), seen(exited(0)), [RemoveContainer("main", "main0")]),
        (pod(metadata=deleting(30)), seen(), [RemoveSandbox(), RemoveVolumes(all=True)]),
        (pod(metadata=deleting(30)), seen(**NOTHING), [DeletePod()]),
        (None, seen(running(), gone_at=NOW), [StopContainer("main", "main0", 2, "Stopping container main")]),
        (None, seen(running(), gone_at=NOW - 9, busy=frozenset({"container:main"})), [KillContainer("main", "main0")]),
        (None, seen(**NOTHING), []),
    ],
)
def test_a_pod_that_is_to_go(spec: Any, world: Observation, actions: list[Any]) -> None:
    plan = decide(spec, world, NOW)
    assert list(plan.actions) == actions
    assert plan.done == (spec is None and world == seen(**NOTHING))


def test_init_containers_run_one_by_one_and_sidecars_stay() -> None:
    init = [{"name": "one"}, {"name": "side", "restartPolicy": "Always"}, {"name": "two"}]
    spec = pod(initContainers=init)
    steps = [
        ([], RunContainer("one", 0, 0)),
        ([exited(0, 0, "one")], RunContainer("side", 0, 0)),
        ([exited(0, 0, "one"), running(0, "side")], RunContainer("two", 0, 0)),
        ([exited(0, 0, "one"), running(0, "side"), exited(0, 0, "two")], RunContainer("main", 0, 0)),
    ]
    for attempts, action in steps:
        assert decide(spec, seen(*attempts), NOW).actions == (action,)
    starting = seen(exited(0, 0, "one"), running(0, "side"), health={"side0": Health(started=False)})
    assert decide(spec, starting, NOW).actions == ()
    failed = pod("Never", initContainers=[{"name": "one"}])
    plan = decide(failed, seen(exited(1, 0, "one")), NOW)
    assert plan.actions == (RemoveSandbox(), RemoveVolumes())
    assert status.build(failed, seen(exited(1, 0, "one")), plan, NOW)["phase"] == "Failed"


def test_back_off_doubles_to_five_minutes_and_says_when() -> None:
    assert [back_off(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    plan = decide(pod(), seen(exited(1, 7, ago=3, failures=7)), NOW)
    assert plan.wake_at == NOW + 297
    reason, message = plan.waiting["main"]
    assert reason == "CrashLoopBackOff"
    assert message == f"back-off 5m0s restarting failed container=main pod=web_default({UID})"
    assert [notice.reason for notice in plan.notices] == ["BackOff"]


def test_a_deadline_fails_the_pod() -> None:
    spec = pod(activeDeadlineSeconds=60, status={"startTime": rfc3339(NOW - 59)})
    assert decide(spec, seen(running()), NOW).wake_at == NOW + 1
    plan = decide(spec, seen(running()), NOW + 2)
    assert isinstance(plan.actions[0], StopContainer)
    built = status.build(spec, seen(running()), plan, NOW + 2)
    assert (built["phase"], built["reason"]) == ("Failed", "DeadlineExceeded")


def build(spec: Any, world: Observation) -> Any:
    return status.build(spec, world, decide(spec, world, NOW), NOW)


@pytest.mark.parametrize(
    ("spec", "world", "phase"),
    [
        (pod(), seen(), "Pending"),
        (pod(), seen(running()), "Running"),
        (pod(), seen(exited(0)), "Running"),
        (pod("Always", "a", "b"), seen(running(0, "a")), "Pending"),
        (pod("Never", "a", "b"), seen(running(0, "a"), exited(1, 0, "b")), "Running"),
        (pod("Never"), seen(exited(0)), "Succeeded"),
        (pod("Never"), seen(exited(1)), "Failed"),
        (pod("OnFailure"), seen(exited(1)), "Running"),
        (pod("OnFailure"), seen(Attempt("main", 1, "x", State.CREATED), exited(1)), "Running"),
        (pod("OnFailure"), seen(exited(0)), "Succeeded"),
        (pod(metadata=deleting(3)), seen(exited(143)), "Failed"),
        (pod(status={"phase": "Succeeded"}), seen(), "Succeeded"),
    ],
)
def test_phases(spec: Any, world: Observation, phase: str) -> None:
    assert build(spec, world)["phase"] == phase


def test_a_container_in_a_crash_loop_shows_both_states() -> None:
    spec = pod()
    world = seen(exited(137, 1, failures=1), exited(1, 0))
    found = build(spec, world)["containerStatuses"][0]
    assert found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert found["lastState"]["terminated"]["exitCode"] == 137
    assert (found["restartCount"], found["ready"], found["started"]) == (1, False, False)


def test_readiness_follows_probes_and_gates() -> None:
    def ready(spec: Any, world: Observation) -> Any:
        conditions = {each["type"]: each for each in build(spec, world)["conditions"]}
        return conditions["Ready"]["status"], conditions["ContainersReady"]["status"], conditions["Ready"]["reason"]

    assert ready(pod(), seen(running())) == ("True", "True", None)
    unready = seen(running(), health={"main0": Health(ready=False)})
    assert ready(pod(), unready) == ("False", "False", "ContainersNotReady")
    gated = pod(readinessGates=[{"conditionType": "example.com/gate"}])
    assert ready(gated, seen(running())) == ("False", "True", "ReadinessGatesNotReady")
    gated["status"] = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    assert ready(gated, seen(running())) == ("True", "True", None)


def test_a_patch_has_only_what_differs() -> None:
    spec = pod()
    built = build(spec, seen(running()))
    assert status.patch({}, built)
    assert status.patch(built, built) is None
    later = status.build(pod(status=built), seen(running()), Plan(), NOW + 60)
    assert status.patch(built, later) is None, "times of what did not change stay"
    stopped = status.build(pod(status=built), seen(exited(1)), Plan(), NOW + 60)
    changes = status.patch(built, stopped)
    assert changes is not None
    assert set(changes) == {"conditions", "containerStatuses"}
    assert {each["type"] for each in changes["conditions"]} == {"Ready", "ContainersReady"}
    moved = status.build(pod(status=built), seen(running(), address="10.9.0.9"), Plan(), NOW)
    assert status.patch(built, moved)["podIPs"] == [{"ip": "10.9.0.9"}, {"$patch": "replace"}]  # type: ignore[index]
