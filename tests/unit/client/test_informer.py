"""Informers: a cache that agrees with the API whatever happens to the watch, and handlers that hear every change."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import pytest

from weft.api.gvr import CONFIGMAPS, EVENTS, GVR, PODS
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Informer, Informers, by_owner
from weft.client.recorder import Recorder
from weft.core.clock import FakeClock
from weft.core.errors import UnavailableError
from weft.core.tasks import Tasks
from weft.testing.fakeclient import FakeClient, eventually


def config_map(name: str, namespace: str = "default", owner: str = "", **labels: str) -> Object:
    metadata: Object = {"name": name, "namespace": namespace, "labels": labels}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": owner}]
    return {"metadata": metadata}


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.close()


def names(informer: Informer) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in informer.list())


class Heard:
    """What a handler was told: names before and after."""

    def __init__(self, informer: Informer) -> None:
        self.changes: list[tuple[str, str]] = []
        informer.on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self.changes.append(tuple(each["metadata"]["name"] if each else "" for each in (old, new)))  # type: ignore[arg-type]


async def test_list_then_watch(client: FakeClient, tasks: Tasks) -> None:
    await client.create(CONFIGMAPS, config_map("a"))
    informer = Informer(client, CONFIGMAPS)
    heard = Heard(informer)
    tasks.start("informer", informer.run)
    await informer.synced()
    assert heard.changes == [("", "a")]
    await client.create(CONFIGMAPS, config_map("b"))
    await client.patch(CONFIGMAPS, "a", {"data": {"x": "1"}}, "application/merge-patch+json", "default")
    await client.delete(CONFIGMAPS, "b", "default")
    await eventually(lambda: len(heard.changes) == 4)
    assert heard.changes[1:] == [("", "b"), ("a", "a"), ("b", "")]
    assert (informer.get("default", "a") or {})["data"] == {"x": "1"}
    assert names(informer) == ["a"]
    late = Heard(informer)
    assert late.changes == [("", "a")]


async def test_selected_collections(client: FakeClient, tasks: Tasks) -> None:
    informer = Informer(client, CONFIGMAPS, namespace="kube-system", label_selector="app=x")
    tasks.start("informer", informer.run)
    await client.create(CONFIGMAPS, config_map("a", "kube-system", app="x"))
    await client.create(CONFIGMAPS, config_map("b", "kube-system"))
    await client.create(CONFIGMAPS, config_map("c", app="x"))
    await eventually(lambda: names(informer) == ["a"])


async def test_indices_follow_changes(client: FakeClient, tasks: Tasks) -> None:
    informer = Informer(client, CONFIGMAPS)
    informer.add_index("owner", by_owner)
    tasks.start("informer", informer.run)
    for name, owner in (("a", "o1"), ("b", "o1"), ("c", "o2")):
        await client.create(CONFIGMAPS, config_map(name, owner=owner, app=name))
    await eventually(lambda: len(informer.list()) == 3)
    assert [each["metadata"]["name"] for each in informer.by_index("owner", "o1")] == ["a", "b"]
    moved = {"metadata": {"ownerReferences": config_map("a", owner="o2")["metadata"]["ownerReferences"]}}
    await client.patch(CONFIGMAPS, "a", moved, "application/merge-patch+json", "default")
    await client.delete(CONFIGMAPS, "c", "default")
    await eventually(lambda: len(informer.list()) == 2)
    assert [each["metadata"]["name"] for each in informer.by_index("owner", "o1")] == ["b"]
    assert [each["metadata"]["name"] for each in informer.by_index("owner", "o2")] == ["a"]
    assert not informer.by_index("owner", "none")
    assert [each["metadata"]["name"] for each in informer.list("default", LabelSelector.parse("app in (b)"))] == ["b"]
    assert not informer.list("kube-system")


@pytest.mark.parametrize("how", ["broken", "expired", "list fails", "watch fails", "all at once"])
async def test_a_lost_watch_is_made_up_for(client: FakeClient, tasks: Tasks, how: str) -> None:
    for name in ("stays", "goes", "again", "changes"):
        await client.create(CONFIGMAPS, config_map(name))
    informer = Informer(client, CONFIGMAPS)
    tasks.start("informer", informer.run)
    await informer.synced()
    heard = Heard(informer)
    heard.changes.clear()
    client.hold()
    await client.delete(CONFIGMAPS, "goes", "default")
    await client.delete(CONFIGMAPS, "again", "default")
    await client.create(CONFIGMAPS, config_map("again"))
    await client.create(CONFIGMAPS, config_map("comes"))
    await client.patch(CONFIGMAPS, "changes", {"data": {"x": "1"}}, "application/merge-patch+json", "default")
    if how in ("list fails", "all at once"):
        client.fail("list", UnavailableError("away"), CONFIGMAPS, times=2)
    if how in ("watch fails", "all at once"):
        client.fail("watch", ApiError("InternalError", "no"), CONFIGMAPS)
    if how != "broken":
        client.forget_history()
    client.break_watches()
    client.release()
    await eventually(lambda: len(heard.changes) == 5)
    assert set(heard.changes) == {("goes", ""), ("again", ""), ("", "again"), ("", "comes"), ("changes", "changes")}
    assert heard.changes.index(("again", "")) < heard.changes.index(("", "again"))
    assert names(informer) == ["again", "changes", "comes", "stays"]


async def test_the_cache_agrees_with_the_api_under_random_troubles(client: FakeClient, tasks: Tasks) -> None:
    chance = random.Random(1)
    informer = Informer(client, CONFIGMAPS)
    informer.add_index("labels", lambda obj: [obj["metadata"].get("labels", {}).get("v", "")])
    mirror: dict[str, Object] = {}

    def changed(old: Object | None, new: Object | None) -> None:
        if old is not None:
            assert mirror.pop(old["metadata"]["name"]) is old
        if new is not None:
            assert new["metadata"]["name"] not in mirror
            mirror[new["metadata"]["name"]] = new

    informer.on_change(changed)
    tasks.start("informer", informer.run)
    for step in range(400):
        name = f"c{chance.randrange(8)}"
        try:
            match chance.randrange(8):
                case 0 | 1 | 2:
                    await client.create(CONFIGMAPS, config_map(name))
                case 3 | 4:
                    change = {"metadata": {"labels": {"v": str(step % 3)}}}
                    await client.patch(CONFIGMAPS, name, change, "application/merge-patch+json", "default")
                case 5 | 6:
                    await client.delete(CONFIGMAPS, name, "default")
                case 7:
                    chance.choice([client.hold, client.release, client.break_watches, client.forget_history])()
        except ApiError:
            pass  # not there, or there already
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    client.release()
    await client.create(CONFIGMAPS, config_map("last"))
    await eventually(lambda: informer.get("default", "last"))
    present = {obj["metadata"]["name"]: obj for obj in client.all(CONFIGMAPS)}
    assert {obj["metadata"]["name"]: obj for obj in informer.list()} == present == mirror
    for value in ("0", "1", "2", ""):
        expected = {name for name, obj in present.items() if obj["metadata"].get("labels", {}).get("v", "") == value}
        assert {obj["metadata"]["name"] for obj in informer.by_index("labels", value)} == expected


async def test_one_failing_handler_does_not_deafen_the_others(
    client: FakeClient, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    informer = Informer(client, CONFIGMAPS)

    def fail(old: Object | None, new: Object | None) -> None:
        raise ValueError("boom")

    informer.on_change(fail)
    heard = Heard(informer)
    tasks.start("informer", informer.run)
    with caplog.at_level(logging.ERROR):
        await client.create(CONFIGMAPS, config_map("a"))
        await eventually(lambda: heard.changes == [("", "a")])
    assert "a handler of configmaps failed at default/a" in caplog.text


async def test_a_kind_that_is_not_served_is_empty(client: FakeClient, tasks: Tasks) -> None:
    informer = Informer(client, GVR("example.com", "v1", "things"))
    tasks.start("informer", informer.run)
    await asyncio.wait_for(informer.synced(), 5)
    assert not informer.list()


async def test_informers_are_shared_and_late_ones_run_too(client: FakeClient, tasks: Tasks) -> None:
    informers = Informers(client)
    assert informers.of(PODS) is informers.of(PODS)
    assert informers.of(PODS) is not informers.of(PODS, field_selector="spec.nodeName=n1")
    informers.start(tasks)
    await client.create(CONFIGMAPS, config_map("a"))
    late = informers.of(CONFIGMAPS)
    await asyncio.wait_for(late.synced(), 5)
    assert names(late) == ["a"]
    assert client.calls.count(("list", "pods", "")) == 2


async def test_a_change_reaches_its_handlers_in_a_few_milliseconds(client: FakeClient, tasks: Tasks) -> None:
    informer = Informer(client, CONFIGMAPS)
    heard = Heard(informer)
    tasks.start("informer", informer.run)
    await informer.synced()
    await client.create(CONFIGMAPS, config_map("a"))
    for _ in range(5):  # turns of the loop: no timer is in the way
        await asyncio.sleep(0)
    assert heard.changes == [("", "a")]


async def test_events_are_counted_not_repeated(tasks: Tasks) -> None:
    clock = FakeClock()
    client = FakeClient(clock=clock)
    recorder = Recorder(client, "tester", clock=clock)
    tasks.start("recorder", recorder.run)
    obj = await client.create(CONFIGMAPS, config_map("a"))
    for _ in range(3):
        recorder.event(obj, "Warning", "Broken", "it broke")
    recorder.event(obj, "Normal", "Mended", "it works")
    await eventually(lambda: [each["count"] for each in client.all(EVENTS)] in ([3, 1], [1, 3]))
    broken = next(each for each in client.all(EVENTS) if each["reason"] == "Broken")
    assert (broken["type"], broken["message"], broken["source"]) == ("Warning", "it broke", {"component": "tester"})
    assert broken["involvedObject"]["uid"] == obj["metadata"]["uid"]
    client.fail("patch", UnavailableError("away"))
    recorder.event(obj, "Warning", "Broken", "it broke")
    recorder.event(obj, "Warning", "Broken", "it broke")
    await eventually(lambda: 4 in [each["count"] for each in client.all(EVENTS)])
    for each in client.all(EVENTS):
        await client.delete(EVENTS, each["metadata"]["name"], "default")
    recorder.event(obj, "Warning", "Broken", "it broke")
    await eventually(lambda: [each["count"] for each in client.all(EVENTS)] == [1])
