"""The cluster for tests, used as its users do: by kubectl and by the `kubernetes` package."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import pytest

from weft.testing.cluster import Cluster
from weft.testing.nodes import Behaviour

pytest_plugins = ["weft.testing.pytest_plugin"]


@pytest.fixture
def core(weft_cluster: Cluster) -> Iterator[kubernetes.client.CoreV1Api]:
    with weft_cluster.client() as client:
        yield kubernetes.client.CoreV1Api(client)


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "i"}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("not within 10 s")


def ready(core: kubernetes.client.CoreV1Api, name: str = "p") -> str:
    conditions = core.read_namespaced_pod(name, "default").status.conditions or []
    return next((each.status for each in conditions if each.type == "Ready"), "")


def test_pods_become_ready(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    core.create_namespaced_pod("default", pod())
    until(lambda: ready(core) == "True")
    found = core.read_namespaced_pod("p", "default")
    assert (found.spec.node_name, found.status.phase) == ("node-0", "Running")
    core.delete_namespaced_pod("p", "default")
    until(lambda: not core.list_namespaced_pod("default").items)


def test_kubectl_rolls_out(weft_cluster: Cluster) -> None:
    weft_cluster.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=3")
    assert "successfully rolled out" in weft_cluster.kubectl("rollout", "status", "deployment/web").stdout
    weft_cluster.behave(Behaviour(waiting="ImagePullBackOff"), app="web")
    weft_cluster.kubectl("set", "image", "deployment/web", "web=web:2")
    stuck = weft_cluster.kubectl("rollout", "status", "deployment/web", "--timeout=1s", check=False)
    assert stuck.returncode == 1
    assert "ImagePullBackOff" in weft_cluster.kubectl("get", "pods").stdout


def test_scripted_readiness(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    weft_cluster.behave(Behaviour(ready=False), app="p")
    core.create_namespaced_pod("default", pod())
    until(lambda: ready(core) == "False")
    weft_cluster.behave(Behaviour(), app="p")
    until(lambda: ready(core) == "True")


def test_the_clock_starts_and_ends_pods(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    weft_cluster.freeze()
    begun = weft_cluster.now()
    weft_cluster.behave(Behaviour(start_after=30, exit_code=3, exit_after=100), app="p")
    core.create_namespaced_pod("default", pod(restartPolicy="Never"))
    weft_cluster.advance(29)
    assert core.read_namespaced_pod("p", "default").status.phase == "Pending"
    weft_cluster.advance(2)
    assert core.read_namespaced_pod("p", "default").status.phase == "Running"
    weft_cluster.advance(100)
    ended = core.read_namespaced_pod("p", "default").status
    assert (ended.phase, ended.container_statuses[0].state.terminated.exit_code) == ("Failed", 3)
    assert 131 <= weft_cluster.now() - begun < 133


def test_crash_loops_back_off(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    weft_cluster.freeze()
    weft_cluster.behave(Behaviour(exit_code=1, exit_after=1), app="p")
    core.create_namespaced_pod("default", pod())
    weft_cluster.advance(2)
    status = core.read_namespaced_pod("p", "default").status.container_statuses[0]
    assert (status.restart_count, status.state.waiting.reason) == (1, "CrashLoopBackOff")
    weft_cluster.advance(60)
    assert core.read_namespaced_pod("p", "default").status.container_statuses[0].restart_count == 3


def test_a_silent_node_becomes_unknown_and_comes_back(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    def state() -> str:
        return next(each.status for each in core.read_node("node-0").status.conditions if each.type == "Ready")

    weft_cluster.advance(120)
    assert state() == "True"
    weft_cluster.silence("node-0")
    weft_cluster.advance(60)
    assert state() == "Unknown"
    weft_cluster.silence("node-0", silent=False)
    weft_cluster.advance(15)
    assert state() == "True"


def test_finished_jobs_are_removed_in_time(weft_cluster: Cluster) -> None:
    weft_cluster.freeze()
    weft_cluster.behave(Behaviour(exit_code=0, exit_after=5))
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {
            "ttlSecondsAfterFinished": 100,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
        },
    }
    weft_cluster.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    weft_cluster.advance(20)
    assert weft_cluster.kubectl("get", "job", "j", "-o", "jsonpath={.status.succeeded}").stdout == "1"
    weft_cluster.advance(60)
    assert weft_cluster.kubectl("get", "jobs", "-o", "name").stdout == "job.batch/j\n"
    weft_cluster.advance(40)
    assert weft_cluster.kubectl("get", "jobs", "-o", "name").stdout == ""


def test_other_options(weft_cluster_factory: Callable[..., Cluster]) -> None:
    bare = weft_cluster_factory(controllers=False, scheduler=False, nodes=0)
    bare.kubectl("create", "deployment", "web", "--image=web")
    bare.settle()
    assert bare.kubectl("get", "nodes,replicasets,pods", "-A", "-o", "name").stdout == ""
    with pytest.raises(RuntimeError, match="no simulated nodes"):
        bare.behave(Behaviour())
    three = weft_cluster_factory(nodes=("a", "b", "c"))
    assert three.kubectl("get", "nodes", "-o", "name").stdout == "node/a\nnode/b\nnode/c\n"
    three.kubectl("create", "deployment", "web", "--image=web", "--replicas=9")
    three.kubectl("rollout", "status", "deployment/web")
    nodes = three.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").stdout.split()
    assert set(nodes) == {"a", "b", "c"}
    with pytest.raises(AssertionError, match="NotFound"):
        three.kubectl("get", "pod", "none")


@pytest.mark.parametrize("turn", [1, 2])
def test_a_namespace_for_each_test(weft_shared_cluster: Cluster, weft_namespace: str, turn: int) -> None:
    # Were it the same one twice, this would fail the second time.
    weft_shared_cluster.kubectl("create", "configmap", "mine", "-n", weft_namespace)


def test_a_namespace_takes_its_services_along(weft_cluster: Cluster, core: kubernetes.client.CoreV1Api) -> None:
    core.create_namespace({"metadata": {"name": "going"}})
    core.create_namespaced_service("going", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    core.delete_namespace("going")
    until(lambda: "going" not in {each.metadata.name for each in core.list_namespace().items})
    core.create_namespace({"metadata": {"name": "going"}})
    assert core.list_namespaced_service("going").items == []
