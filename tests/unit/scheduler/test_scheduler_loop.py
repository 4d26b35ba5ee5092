"""The scheduler at work on an API in memory: what it binds, what it refuses, and how it keeps count meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.gvr import EVENTS, NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import key_of
from weft.core.clock import FakeClock
from weft.core.errors import UnavailableError
from weft.scheduler.scheduler import Scheduler
from weft.scheduler.snapshot import Snapshot, requests_of
from weft.testing.fakeclient import FakeClient, eventually


def node(name: str, cpu: str = "1", memory: str = "1Gi") -> Object:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110"}
    return {
        "metadata": {"name": name},
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, cpu: str = "600m", memory: str = "1Mi", port: int = 0, **spec: Any) -> Object:
    container: Object = {"name": "m", "image": "busybox", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    if port:
        container["ports"] = [{"containerPort": port, "hostPort": port}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container], **spec}}


def places(client: FakeClient) -> dict[str, str]:
    return {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in client.all(PODS)}


def refusal(client: FakeClient, name: str) -> str:
    obj = next(each for each in client.all(PODS) if each["metadata"]["name"] == name)
    conditions = obj["status"].get("conditions") or []
    return next((str(each.get("message", "")) for each in conditions if each["status"] == "False"), "")


@contextlib.asynccontextmanager
async def running(client: FakeClient) -> AsyncIterator[None]:
    task = asyncio.create_task(Scheduler(client, clock=client.clock).run())
    await asyncio.sleep(0.01)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_it_has_bound_counts_before_the_cache_shows_it() -> None:
    client = FakeClient()
    await client.create(NODES, node("n1"))
    await client.create(PODS, pod("a"))
    await client.create(PODS, pod("b"))
    client.hold()
    async with running(client):
        await eventually(lambda: refusal(client, "b"))
    assert places(client) == {"a": "n1", "b": ""}
    assert refusal(client, "b") == "0/1 nodes are available: 1 Insufficient cpu."


async def test_a_bind_that_fails_frees_the_room_and_is_tried_again() -> None:
    client = FakeClient(clock=FakeClock())
    assert isinstance(client.clock, FakeClock)
    await client.create(NODES, node("n1"))
    client.fail("create_subresource", UnavailableError("away"), times=3)
    async with running(client):
        await client.create(PODS, pod("a"))
        for _ in range(10):
            await asyncio.sleep(0.001)
            await client.clock.advance(1)
        assert places(client) == {"a": "n1"}
        client.fail("create_subresource", ApiError("Conflict", "somebody else was first"))
        await client.create(PODS, pod("b", cpu="400m"))
        for _ in range(10):
            await asyncio.sleep(0.001)
            await client.clock.advance(1)
        assert places(client)["b"] == ""  # not tried again: whoever was first will show it
        await client.create(PODS, pod("c", cpu="400m"))
        await eventually(lambda: places(client)["c"] == "n1")


async def test_the_refused_are_told_once_and_wait_for_room() -> None:
    client = FakeClient()
    await client.create(NODES, node("n1"))
    async with running(client):
        await client.create(PODS, pod("a"))
        await eventually(lambda: places(client)["a"])
        await client.create(PODS, pod("b", cpu="700m", memory="2Gi"))
        await client.create(PODS, pod("c"))
        await eventually(lambda: refusal(client, "b") and refusal(client, "c"))
        assert refusal(client, "b") == "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."
        writes = client.calls.count(("update", "pods/status", "c"))
        present = client.all(NODES)[0]
        await client.update(NODES, {**present, "metadata": {**present["metadata"], "labels": {"any": "change"}}})
        await asyncio.sleep(0.01)
        assert client.calls.count(("update", "pods/status", "c")) == writes == 1
        ended = next(each for each in client.all(PODS) if each["metadata"]["name"] == "a")
        await client.update(PODS, {**ended, "status": {**ended["status"], "phase": "Succeeded"}}, subresource="status")
        await eventually(lambda: places(client)["c"] == "n1")
        assert not places(client)["b"]
        await client.create(NODES, node("n2", cpu="4", memory="8Gi"))
        await eventually(lambda: places(client)["b"] == "n2")
        await eventually(lambda: len([e for e in client.all(EVENTS) if e["reason"] == "Scheduled"]) == 3)
    messages = {(each["reason"], each["message"]) for each in client.all(EVENTS)}
    assert ("Scheduled", "Successfully assigned default/b to n2") in messages
    assert ("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.") in messages


async def test_host_ports_are_taken_once_a_node() -> None:
    client = FakeClient()
    for name in ("n1", "n2"):
        await client.create(NODES, node(name, cpu="8"))
    async with running(client):
        for name in ("a", "b", "c"):
            await client.create(PODS, pod(name, port=80))
        await client.create(PODS, pod("d", port=81))
        await eventually(lambda: places(client)["d"] and refusal(client, "c"))
    assert {places(client)["a"], places(client)["b"]} == {"n1", "n2"}
    assert refusal(client, "c") == (
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
    )


async def test_gated_foreign_and_leaving_pods_are_left_alone() -> None:
    client = FakeClient()
    await client.create(NODES, node("n1", cpu="8"))
    async with running(client):
        await client.create(PODS, pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
        await client.create(PODS, pod("foreign", schedulerName="another"))
        leaving = pod("leaving")
        leaving["metadata"]["finalizers"] = ["example.com/hold"]
        await client.create(PODS, leaving)
        await client.delete(PODS, "leaving", "default")
        await client.create(PODS, pod("ours"))
        await eventually(lambda: places(client)["ours"])
        await asyncio.sleep(0.01)
    assert places(client) == {"foreign": "", "gated": "", "leaving": "", "ours": "n1"}


async def test_a_thousand_pods_find_their_nodes_soon() -> None:
    client = FakeClient()
    for number in range(20):
        await client.create(NODES, node(f"n{number:02d}", cpu="64", memory="64Gi"))
    async with running(client):
        for number in range(1000):
            await client.create(PODS, pod(f"p{number}", cpu="100m"))
        await eventually(lambda: all(places(client).values()), seconds=60)
    counts: dict[str, int] = {}
    for name in places(client).values():
        counts[name] = counts.get(name, 0) + 1
    assert set(counts.values()) == {50}


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["node", "no node", "pod", "no pod"]),
        st.integers(0, 2),
        st.integers(0, 5),
        st.sampled_from(["", "Running", "Succeeded"]),
        st.integers(1, 9),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(CHANGES)
def test_a_snapshot_kept_up_to_date_is_one_made_anew(changes: list[tuple[str, int, int, str, int]]) -> None:
    kept = Snapshot()
    nodes: dict[str, Object] = {}
    pods: dict[str, Object] = {}
    for what, which, number, phase, cpu in changes:
        name = f"n{which}"
        if what == "node":
            nodes[name] = node(name, cpu=str(cpu))
            kept.set_node(nodes[name])
        elif what == "no node":
            nodes.pop(name, None)
            kept.remove_node(name)
        elif what == "pod":
            made = pod(f"p{number}", cpu=f"{cpu}00m")
            if which or cpu > 3:
                made["spec"]["nodeName"] = name
            pods[f"p{number}"] = {**made, "status": {"phase": phase}}
            kept.set_pod(pods[f"p{number}"])
        else:
            pods.pop(f"p{number}", None)
            kept.remove_pod(("default", f"p{number}"))
    anew = Snapshot()
    for each in nodes.values():
        anew.set_node(each)
    for each in pods.values():
        anew.set_pod(each)

    def shown(snapshot: Snapshot) -> list[tuple[str, Mapping[str, int], dict[str, int], set[Any]]]:
        return [
            (info.name, info.allocatable, {k: v for k, v in info.requested.items() if v}, set(info.pods))
            for info in snapshot.nodes()
        ]

    assert shown(kept) == shown(anew)
    for info in kept.nodes():
        assert {key_of(each) for each in info.pods.values()} == {
            key_of(each)
            for each in pods.values()
            if each["spec"].get("nodeName") == info.name and each["status"]["phase"] != "Succeeded"
        }


def test_sidecars_and_overhead_count_beside_the_containers() -> None:
    obj = pod("p", cpu="100m", memory="10Mi")
    obj["spec"] |= {
        "initContainers": [
            {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
            {"resources": {"requests": {"cpu": "120m"}}},
        ],
        "overhead": {"cpu": "1m"},
    }
    assert requests_of(obj) == {"cpu": 171, "memory": 10 * 2**20}
