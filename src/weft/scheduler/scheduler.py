"""The loop: pods without a node, one after another, are bound to the node that `cycle.decide` names.

A pod that fits nowhere gets the condition PodScheduled=False and waits until a node or another pod changes.
"""

import copy
import logging
from typing import Any

from weft.api.gvr import NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Informers, Key, key_of
from weft.client.recorder import Recorder
from weft.core.clock import Clock, SystemClock, rfc3339
from weft.core.errors import WeftError
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue
from weft.scheduler.cycle import decide
from weft.scheduler.snapshot import snapshot

logger = logging.getLogger(__name__)
NAME = "default-scheduler"


class Scheduler:
    """`run` works until cancelled."""

    def __init__(self, client: Client, *, informers: Informers | None = None, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._queue: WorkQueue[Key] = WorkQueue(self._clock)
        self._recorder = Recorder(client, NAME, clock=self._clock)
        self._own_informers = informers is None
        self._informers = informers or Informers(client)
        self._nodes = self._informers.of(NODES)
        self._pods = self._informers.of(PODS)
        self._waiting: set[Key] = set()
        # Bound by us, and not yet seen so by the cache: they count on their node all the same.
        self._assumed: dict[Key, Object] = {}
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or _fitness(old) != _fitness(new):
            self._wake()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        if pod is None:
            return
        key = key_of(pod)
        if new is None or new["spec"].get("nodeName"):
            self._assumed.pop(key, None)
            self._waiting.discard(key)
        finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if new is None or finished:
            self._wake()
        elif _pending(new) and (old is None or old["spec"] != new["spec"]):
            self._queue.add(key)

    def _wake(self) -> None:
        """Something got free or came: the waiting get another chance."""
        for key in self._waiting:
            self._queue.add(key)

    async def run(self) -> None:
        tasks = Tasks()
        try:
            if self._own_informers:
                for informer in self._informers.all():
                    tasks.start(f"informer {informer.gvr}", informer.run)
            tasks.start("recorder", self._recorder.run)
            await self._nodes.synced()
            await self._pods.synced()
            while (key := await self._queue.get()) is not None:
                try:
                    await self._schedule(key)
                    self._queue.forget(key)
                except (WeftError, OSError) as error:
                    delay = self._queue.retry(key)
                    logger.info("cannot schedule %s: %s", "/".join(key), error, extra={"delay": delay})
                finally:
                    self._queue.done(key)
        finally:
            self._queue.close()
            await tasks.close()

    async def _schedule(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None or not _pending(pod) or key in self._assumed:
            return
        placed = [self._assumed.get(key_of(other), other) for other in self._pods.list()]
        decision = decide(pod, snapshot(self._nodes.list(), placed))
        if not decision.node:
            await self._refuse(pod, decision.message)
            return
        metadata = pod["metadata"]
        binding: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": decision.node},
        }
        self._assumed[key] = {**pod, "spec": {**pod["spec"], "nodeName": decision.node}}
        try:
            await self._client.create_subresource(PODS, metadata["name"], "binding", binding, metadata["namespace"])
        except ApiError as error:
            self._assumed.pop(key, None)
            if error.code in (404, 409):
                return  # it went away, or somebody else bound it
            raise
        except BaseException:
            self._assumed.pop(key, None)
            raise
        self._waiting.discard(key)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {decision.node}"
        self._recorder.event(pod, "Normal", "Scheduled", message)

    async def _refuse(self, pod: Object, message: str) -> None:
        key = key_of(pod)
        self._waiting.add(key)
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        conditions = (pod.get("status") or {}).get("conditions") or []
        present = next((each for each in conditions if each["type"] == "PodScheduled"), None)
        if present is not None and present.get("message") == message:
            return
        changed = copy.deepcopy(pod)
        others = [each for each in conditions if each["type"] != "PodScheduled"]
        changed.setdefault("status", {})["conditions"] = [*others, entry]
        await self._client.update(PODS, changed, subresource="status")
        self._recorder.event(pod, "Warning", "FailedScheduling", message)


def _pending(pod: Object) -> bool:
    return (
        not pod["spec"].get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and pod["spec"].get("schedulerName", NAME) == NAME
        and (pod.get("status") or {}).get("phase", "Pending") == "Pending"
    )


def _fitness(node: Object) -> Any:
    """What of a node can change a decision; heartbeats cannot."""
    status = node.get("status") or {}
    return (
        node["spec"],
        node["metadata"].get("labels"),
        status.get("allocatable"),
        [(each["type"], each["status"]) for each in status.get("conditions") or []],
    )
