"""kubectl against the real API server and the real controllers; the nodes and their pods are played by the test."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from weft.api.gvr import NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Client
from weft.controllers import runner
from weft.controllers.cronjob import CronJobController
from weft.controllers.daemonset_controller import DaemonSetController
from weft.controllers.disruption import DisruptionController
from weft.controllers.garbage import GarbageCollector
from weft.controllers.job_controller import JobController
from weft.controllers.replicaset import ReplicaSetController
from weft.controllers.replication import ReplicationControllerController
from weft.controllers.statefulset_controller import StatefulSetController
from weft.core.clock import rfc3339
from weft.scheduler.scheduler import Scheduler
from weft.testing.apiserver import RunningServer, api_server

Object = dict[str, Any]


async def add_node(client: Client, name: str) -> None:
    node = await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    status = {
        "allocatable": {"cpu": "8", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(0)}],
    }
    await client.update(NODES, {**node, "status": status}, subresource="status")


async def play_kubelets(client: Client) -> None:
    """Pods run as soon as they are bound; a container `ok` or `bad` ends at once; deleted pods go."""
    found = await client.list(PODS)
    for pod in found.items:
        await act(client, pod)
    async for event in client.watch(PODS, resource_version=found.resource_version):
        if event.type in ("ADDED", "MODIFIED"):
            await act(client, event.object)


async def act(client: Client, pod: Object) -> None:
    metadata = pod["metadata"]
    with contextlib.suppress(ApiError):
        if metadata.get("deletionTimestamp"):
            await client.delete(PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0)
        elif pod["spec"].get("nodeName") and pod["status"].get("phase") == "Pending":
            name = pod["spec"]["containers"][0]["name"]
            phase = {"ok": "Succeeded", "bad": "Failed"}.get(name, "Running")
            status: Object = {"phase": phase}
            if phase == "Running":
                status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(0)}]
            else:
                ended = {"exitCode": int(phase == "Failed"), "finishedAt": rfc3339(0), "reason": "Completed"}
                each = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
                status["containerStatuses"] = [{**each, "state": {"terminated": ended}}]
            await client.update(PODS, {**pod, "status": status}, subresource="status")


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with api_server() as running:
        context = runner.Context(running.local)
        kinds = running.server.api.kinds
        controllers: list[runner.Controller] = [
            ReplicaSetController(context),
            ReplicationControllerController(context),
            StatefulSetController(context),
            DaemonSetController(context),
            JobController(context),
            CronJobController(context),
            DisruptionController(context),
            GarbageCollector(
                context, lambda: [r.gvr for r in kinds.all() if {"list", "watch", "delete"} <= set(r.verbs)]
            ),
        ]
        for name in ("n1", "n2"):
            await add_node(running.local, name)
        tasks = [
            asyncio.create_task(runner.run_controllers(context, controllers)),
            asyncio.create_task(Scheduler(running.local, informers=context.informers).run()),
            asyncio.create_task(play_kubelets(running.local)),
        ]
        try:
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def workload(kind: str, name: str, **spec: Any) -> str:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "m", "image": "busybox:1"}]}}
    selector: Object = {"app": name} if kind == "ReplicationController" else {"matchLabels": {"app": name}}
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    body = {"selector": selector, "template": template, **spec}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": body})


async def said(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    return (await server.kubectl(*arguments, stdin=stdin)).stdout.decode()


async def waited(server: RunningServer, what: str, jsonpath: str) -> None:
    await server.kubectl("wait", what, f"--for=jsonpath={jsonpath}", "--timeout=20s")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_a_rollout_is_followed_undone_and_begun_anew(server: RunningServer, kind: str) -> None:
    what = f"{kind.lower()}/web"
    await server.kubectl(
        "apply", "-f", "-", stdin=workload(kind, "web", **({"replicas": 2} if "State" in kind else {}))
    )
    await server.kubectl("rollout", "status", what, "--timeout=20s")
    await server.kubectl("set", "image", what, "m=busybox:2")
    await server.kubectl("rollout", "status", what, "--timeout=20s")
    images = "{.items[*].spec.containers[0].image}"
    assert await said(server, "get", "pods", "-l", "app=web", f"-o=jsonpath={images}") == "busybox:2 busybox:2"
    history = (await said(server, "rollout", "history", what)).split()
    assert [word for word in history if word.isdigit()] == ["1", "2"]
    assert "busybox:1" in await said(server, "rollout", "history", what, "--revision=1")
    await server.kubectl("rollout", "undo", what)
    await server.kubectl("rollout", "status", what, "--timeout=20s")
    assert await said(server, "get", "pods", "-l", "app=web", f"-o=jsonpath={images}") == "busybox:1 busybox:1"
    await server.kubectl("rollout", "restart", what)
    await server.kubectl("rollout", "status", what, "--timeout=20s")
    names = (await said(server, "get", "controllerrevisions", "--no-headers")).splitlines()
    assert sorted(line.split()[2] for line in names) == ["2", "3", "4"]


async def test_sets_are_shown_and_scaled_as_kubernetes_does(server: RunningServer) -> None:
    await server.kubectl("apply", "-f", "-", stdin=workload("StatefulSet", "db", replicas=2))
    await server.kubectl("apply", "-f", "-", stdin=workload("DaemonSet", "log"))
    await server.kubectl("apply", "-f", "-", stdin=workload("ReplicationController", "old", replicas=2))
    await waited(server, "sts/db", "{.status.availableReplicas}=2")
    await waited(server, "ds/log", "{.status.numberAvailable}=2")
    await waited(server, "rc/old", "{.status.availableReplicas}=2")
    rows = [line.split() for line in (await said(server, "get", "sts,ds,rc", "--no-headers")).splitlines() if line]
    assert [row[:-1] for row in rows] == [
        ["statefulset.apps/db", "2/2"],
        ["daemonset.apps/log", "2", "2", "2", "2", "2", "<none>"],
        ["replicationcontroller/old", "2", "2", "2"],
    ]
    await server.kubectl("scale", "sts/db", "--replicas=1")
    await waited(server, "sts/db", "{.status.replicas}=1")
    await server.kubectl("scale", "rc/old", "--replicas=1")
    await waited(server, "rc/old", "{.status.replicas}=1")
    assert (await said(server, "get", "pods", "-l", "app=db", "-o=name")).split() == ["pod/db-0"]
    events = await said(server, "describe", "sts", "db")
    assert "create Pod db-0 in StatefulSet db successful" in events


async def test_jobs_complete_fail_and_go(server: RunningServer) -> None:
    def job(name: str, container: str, **spec: Any) -> str:
        pod = {"restartPolicy": "Never", "containers": [{"name": container, "image": "busybox"}]}
        body = {"template": {"spec": pod}, **spec}
        return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": body})

    await server.kubectl("apply", "-f", "-", stdin=job("good", "ok", completions=3, parallelism=2))
    await server.kubectl("apply", "-f", "-", stdin=job("sad", "bad", backoffLimit=0))
    await server.kubectl("wait", "job/good", "--for=condition=complete", "--timeout=20s")
    await server.kubectl("wait", "job/sad", "--for=condition=failed", "--timeout=20s")
    rows = [line.split() for line in (await said(server, "get", "jobs", "--no-headers")).splitlines()]
    assert [row[:3] for row in rows] == [["good", "Complete", "3/3"], ["sad", "Failed", "0/1"]]
    described = await said(server, "describe", "job", "sad")
    assert "BackoffLimitExceeded" in described
    assert "Job has reached the specified backoff limit" in described
    await server.kubectl("delete", "job", "good", "--cascade=foreground", "--timeout=20s")
    assert await said(server, "get", "pods", "-l", "job-name=good", "-o=name") == ""
    await server.kubectl("create", "cronjob", "tick", "--image=busybox", "--schedule=0 0 1 1 *", "--", "true")
    await server.kubectl("create", "job", "now", "--from=cronjob/tick")
    shown = (await said(server, "get", "cronjob", "tick", "--no-headers")).split()
    assert shown[:8] == ["tick", "0", "0", "1", "1", "*", "<none>", "False"]


async def test_a_drain_keeps_to_the_disruption_budget(server: RunningServer) -> None:
    await server.kubectl("apply", "-f", "-", stdin=workload("StatefulSet", "db", replicas=2))
    await server.kubectl("create", "pdb", "keep", "--selector=app=db", "--min-available=2")
    await waited(server, "sts/db", "{.status.availableReplicas}=2")
    await waited(server, "pdb/keep", "{.status.currentHealthy}=2")
    node = await said(server, "get", "pod", "db-0", "-o=jsonpath={.spec.nodeName}")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "db-0", "namespace": "default"}}
    path = "/api/v1/namespaces/default/pods/db-0/eviction"
    refused = await server.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction), check=False)
    assert b"Cannot evict pod as it would violate the pod's disruption budget." in refused.stderr
    await server.kubectl("patch", "pdb", "keep", "-p", '{"spec":{"minAvailable":1}}')
    await waited(server, "pdb/keep", "{.status.disruptionsAllowed}=1")
    assert "pod/db-0 evicted" in await said(server, "drain", node, "--timeout=30s")
    await waited(server, "pdb/keep", "{.status.currentHealthy}=2")
    assert await said(server, "get", "pod", "db-0", "-o=jsonpath={.spec.nodeName}") != node


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        (
            {
                "kind": "Job",
                "apiVersion": "batch/v1",
                "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}},
            },
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            {
                "kind": "CronJob",
                "apiVersion": "batch/v1",
                "spec": {
                    "schedule": "61 * * * *",
                    "jobTemplate": {
                        "spec": {
                            "template": {
                                "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}
                            }
                        }
                    },
                },
            },
            'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61',
        ),
    ],
)
async def test_mistakes_are_told_with_their_field(server: RunningServer, manifest: Object, error: str) -> None:
    body = json.dumps({**manifest, "metadata": {"name": "wrong"}})
    refused = await server.kubectl("create", "-f", "-", stdin=body, check=False)
    assert error in refused.stderr.decode()
