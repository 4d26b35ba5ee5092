"""The whole agent on a fake engine and a real API server: no root, no kernel objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, GVR, NODES, PODS
from weft.api.status import ApiError
from weft.container.base import ExecSpec
from weft.container.spec import Container, State
from weft.core.settings import free_port
from weft.node.agent import NodeAgent
from weft.node.pods.names import POD_UID
from weft.testing.apiserver import RunningServer, api_server
from weft.testing.fakeengine import FakeEngine, FakeNetworking, FakeStream, image


class World:
    """Server, engine, network and one agent at a time."""

    def __init__(self, running: RunningServer) -> None:
        self.client, self.settings, self.running = running.local, running.settings, running
        self.engine, self.networking = FakeEngine("busybox:1"), FakeNetworking()
        self.agent: NodeAgent | None = None

    async def start(self) -> None:
        self.agent = NodeAgent(self.settings, self.client, self.engine, self.networking)
        await self.agent.start()

    async def stop(self) -> None:
        if self.agent is not None:
            await self.agent.close()
            self.agent = None

    async def create(self, name: str, **more: Any) -> dict[str, Any]:
        container = {"name": "main", "image": "busybox:1", **more.pop("container", {})}
        spec = {"nodeName": "weft", "containers": [container], "terminationGracePeriodSeconds": 1, **more}
        return await self.client.create(PODS, {"metadata": {"name": name}, "spec": spec}, "default")

    async def pod(self, name: str) -> dict[str, Any]:
        return await self.client.get(PODS, name, "default")

    async def status(self, name: str) -> dict[str, Any]:
        found = (await self.pod(name)).get("status", {}).get("containerStatuses") or [{}]
        return dict(found[0])

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within 5 s: {what}")

    async def until_ready(self, name: str) -> None:
        async def ready() -> bool:
            return bool((await self.status(name)).get("ready"))

        await self.until(ready, f"{name} is ready")

    async def until_waiting(self, name: str, reason: str) -> str:
        async def waiting() -> str:
            found = (await self.status(name)).get("state", {}).get("waiting", {})
            return found.get("message") or "-" if found.get("reason") == reason else ""

        return str(await self.until(waiting, f"{name} waits for {reason}"))

    async def until_gone(self, name: str) -> None:
        async def gone() -> bool:
            try:
                await self.pod(name)
            except ApiError as error:
                return error.code == 404
            return False

        await self.until(gone, f"{name} is gone")

    def live(self) -> list[Container]:
        return [each for each in self.engine.containers.list() if each.state is State.RUNNING]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api_server(tmp_path) as running:
        made = World(running)
        object.__setattr__(made.settings, "kubelet_port", free_port())
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


async def test_the_node_registers_and_beats(world: World) -> None:
    async def registered() -> Any:
        try:
            node = await world.client.get(NODES, "weft")
            await world.client.get(GVR("coordination.k8s.io", "v1", "leases"), "weft", "kube-node-lease")
        except ApiError:
            return None
        return node if node.get("status", {}).get("conditions") else None

    node = await world.until(registered, "the node with its lease")
    assert {each["type"]: each["status"] for each in node["status"]["conditions"]}["Ready"] == "True"
    assert set(node["status"]["capacity"]) == {"cpu", "memory", "ephemeral-storage", "pods"}
    endpoint = node["metadata"]["annotations"]["weft.dev/kubelet-endpoint"]
    assert endpoint == f"https://127.0.0.1:{world.settings.kubelet_port}"


async def test_a_pod_comes_up_is_replaced_and_goes(world: World) -> None:
    made = await world.create("web")
    await world.until_ready("web")
    (first,) = world.live()
    assert first.spec.labels[POD_UID] == made["metadata"]["uid"]
    world.engine.containers.exit(first.id, 1)

    async def restarted() -> bool:
        return (await world.status("web")).get("restartCount") == 1

    await world.until(restarted, "a restart")
    await world.until_ready("web")
    assert (await world.status("web"))["lastState"]["terminated"]["exitCode"] == 1
    world.engine.containers.exit(world.live()[0].id, 2)
    assert "back-off 10s restarting failed container=main" in await world.until_waiting("web", "CrashLoopBackOff")
    await world.client.delete(PODS, "web", "default")
    await world.until_gone("web")
    assert not world.engine.containers.list()
    assert not world.networking.list()
    assert not list((world.settings.paths.lib / "pods").iterdir())


async def test_a_new_agent_adopts_what_runs_and_removes_what_nobody_knows(world: World) -> None:
    await world.create("kept")
    lost = await world.create("lost")
    await world.until_ready("kept")
    await world.until_ready("lost")
    kept = await world.status("kept")
    await world.stop()
    await world.client.delete(PODS, "lost", "default", grace_period_seconds=0)
    await world.start()
    await world.until(lambda: len(world.engine.containers.list()) == 1, "the orphan is removed")
    await world.until(lambda: world.networking.get(lost["metadata"]["uid"]) is None, "its sandbox too")
    assert (await world.status("kept"))["containerID"] == kept["containerID"]
    assert len(world.live()) == 1


async def test_one_that_was_removed_behind_our_back_is_replaced(world: World) -> None:
    await world.create("web")
    await world.until_ready("web")
    await world.engine.containers.remove(world.live()[0].id, force=True)

    async def restarted() -> bool:
        found = await world.status("web")
        return found.get("restartCount") == 1 and bool(found.get("ready"))

    await world.until(restarted, "a replacement")


async def test_images_are_pulled_by_policy_and_failures_named(world: World) -> None:
    await world.create("bad", container={"image": "none:1"})
    await world.until_waiting("bad", "ErrImagePull")
    message = await world.until_waiting("bad", "ImagePullBackOff")
    assert message.startswith('Back-off pulling image "none:1": ErrImagePull: manifest for none:1 not found')
    await world.create("invalid", container={"image": "UPPER"})
    await world.until_waiting("invalid", "InvalidImageName")
    world.engine.images.published["fresh:1"] = image("fresh:1")
    await world.create("good", container={"image": "fresh:1"})
    await world.until_ready("good")
    assert world.engine.images.pulls == ["none:1", "fresh:1"]


async def test_what_cannot_start_says_why(world: World) -> None:
    world.engine.containers.unstartable["busybox:1"] = "exec: no such file"
    await world.create("broken", restartPolicy="Never")

    async def failed() -> Any:
        found = await world.pod("broken")
        return found if found["status"].get("phase") == "Failed" else None

    found = await world.until(failed, "Failed")
    terminated = found["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"], terminated["message"]) == (
        "StartError",
        127,
        "exec: no such file",
    )


async def test_a_configmap_that_comes_later_frees_the_pod(world: World) -> None:
    await world.create("patient", container={"envFrom": [{"configMapRef": {"name": "later"}}]})
    assert await world.until_waiting("patient", "CreateContainerConfigError") == 'configmap "later" not found'
    await world.client.create(CONFIGMAPS, {"metadata": {"name": "later"}, "data": {"A": "1"}}, "default")
    await world.until_ready("patient")
    assert "A=1" in world.live()[0].spec.env


async def test_probes_make_ready_and_kill(world: World) -> None:
    answers = {"ready": 1, "alive": 0}
    world.engine.containers.run_exec = lambda container, spec: FakeStream(
        [("stdout", b"said")], answers[spec.command[0]]
    )
    container = {
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 1, "failureThreshold": 1},
    }
    await world.create("probed", container=container)
    await world.until(world.live, "it runs")
    await asyncio.sleep(0.1)
    assert not (await world.status("probed"))["ready"]
    answers["ready"] = 0
    await world.until_ready("probed")
    answers["alive"] = 1

    async def restarted() -> bool:
        return (await world.status("probed")).get("restartCount") == 1

    await world.until(restarted, "a restart by liveness")


async def test_a_container_that_ignores_signals_is_killed_when_grace_is_cut(world: World) -> None:
    world.engine.containers.stubborn = True
    await world.create("stubborn", terminationGracePeriodSeconds=300)
    await world.until_ready("stubborn")
    await world.client.delete(PODS, "stubborn", "default")
    await world.client.delete(PODS, "stubborn", "default", grace_period_seconds=0)
    await world.until(lambda: not world.engine.containers.list(), "the container's end")
    await world.until_gone("stubborn")


async def test_logs_and_exec_come_through_the_api_server(world: World) -> None:
    def answer(container: Container, spec: ExecSpec) -> FakeStream:
        return FakeStream([("stdout", b"out\n"), ("stderr", b"err\n")], 7)

    world.engine.containers.run_exec = answer
    await world.create("web")
    await world.until_ready("web")
    world.engine.containers.say(world.live()[0].id, "one\n")
    world.engine.containers.say(world.live()[0].id, "two\n")
    assert (await world.running.kubectl("logs", "web", "--tail=1")).stdout == b"two\n"
    done = await world.running.kubectl("exec", "web", "--", "anything", check=False)
    assert (done.code, done.stdout) == (7, b"out\n")
    assert b"err\n" in done.stderr
    nothing = await world.running.kubectl("logs", "web", "--previous", check=False)
    assert b'previous terminated container "main" in pod "web" not found' in nothing.stderr


async def test_a_worker_that_fails_is_made_anew_and_forgets_nothing(world: World) -> None:
    await world.client.create(CONFIGMAPS, {"metadata": {"name": "settings"}, "data": {"A": "1"}}, "default")
    await world.create("web", container={"envFrom": [{"configMapRef": {"name": "settings"}}]})
    await world.until_ready("web")
    first = world.live()[0]
    world.engine.containers.broken = RuntimeError("the engine stumbles")
    world.engine.containers.exit(first.id, 1)

    async def restarted() -> bool:
        found = await world.status("web")
        return found.get("restartCount") == 1 and bool(found.get("ready"))

    await world.until(restarted, "a restart")
    assert "A=1" in world.live()[0].spec.env
