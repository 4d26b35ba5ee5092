"""The loop: pods without a node, one after another, are bound to the node that `cycle.decide` names.

A pod that fits nowhere gets the condition PodScheduled=False and waits until a node or another pod changes.
"""

import copy
import logging
from functools import partial
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
from weft.scheduler.snapshot import Snapshot, takes_room

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
        self._informers = informers or Informers(client, clock=clock)
        self._nodes = self._informers.of(NODES)
        self._pods = self._informers.of(PODS)
        self._snapshot = Snapshot()
        self._waiting: set[Key] = set()
        # Given a node by us, and not yet seen so by the cache: they take their room all the same.
        self._assumed: set[Key] = set()
        self._binds = Tasks()
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._snapshot.set_node(new)
        elif old is not None:
            self._snapshot.remove_node(old["metadata"]["name"])
        if old is None or new is None or _fitness(old) != _fitness(new):
            self._wake()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._forget(key_of(old))
        else:
            self._take(new)
            if _pending(new) and (old is None or old["spec"] != new["spec"]):
                self._queue.add(key_of(new))
        if old is not None and takes_room(old) and not (new is not None and takes_room(new)):
            self._wake()

    def _take(self, pod: Object) -> None:
        key = key_of(pod)
        if pod["spec"].get("nodeName"):
            self._assumed.discard(key)
            self._waiting.discard(key)
        if key not in self._assumed:
            self._snapshot.set_pod(pod)

    def _forget(self, key: Key) -> None:
        self._assumed.discard(key)
        self._waiting.discard(key)
        self._snapshot.remove_pod(key)

    def _wake(self) -> None:
        """Something got free or came: the waiting get another chance."""
        for key in self._waiting:
            self._queue.add(key)

    async def run(self) -> None:
        tasks = Tasks()
        try:
            if self._own_informers:
                self._informers.start(tasks)
            tasks.start("recorder", self._recorder.run)
            await self._nodes.synced()
            await self._pods.synced()
            while (key := await self._queue.get()) is not None:
                try:
                    await self._schedule(key)
                except (WeftError, OSError) as error:
                    self._retry(key, error)
                finally:
                    self._queue.done(key)
        finally:
            self._queue.close()
            await self._binds.close()
            await tasks.close()

    def _retry(self, key: Key, error: Exception) -> None:
        delay = self._queue.retry(key)
        logger.info("cannot schedule %s: %s", "/".join(key), error, extra={"delay": delay})

    async def _schedule(self, key: Key) -> None:
        """Decides; the bind goes its own way, so that one decision does not wait for the other's write."""
        pod = self._pods.get(*key)
        if pod is None or not _pending(pod) or key in self._assumed:
            return
        decision = decide(pod, self._snapshot.nodes())
        if not decision.node:
            await self._refuse(pod, decision.message)
            return
        self._snapshot.set_pod({**pod, "spec": {**pod["spec"], "nodeName": decision.node}})
        self._assumed.add(key)
        self._binds.start(f"bind {'/'.join(key)}", partial(self._bind, pod, decision.node))

    async def _bind(self, pod: Object, node: str) -> None:
        key, metadata = key_of(pod), pod["metadata"]
        binding: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create_subresource(PODS, metadata["name"], "binding", binding, metadata["namespace"])
        except (WeftError, OSError) as error:
            self._unassume(key)
            if not (isinstance(error, ApiError) and error.code in (404, 409)):
                self._retry(key, error)  # else it went away, or somebody else bound it
            return
        self._queue.forget(key)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
        self._recorder.event(pod, "Normal", "Scheduled", message)

    def _unassume(self, key: Key) -> None:
        self._assumed.discard(key)
        present = self._pods.get(*key)
        if present is None:
            self._snapshot.remove_pod(key)
        else:
            self._take(present)

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
        and not pod["spec"].get("schedulingGates")
        and (pod.get("status") or {}).get("phase", "Pending") == "Pending"
    )


def _fitness(node: Object) -> Any:
    """What of a node can change a decision; heartbeats cannot."""
    status = node.get("status") or {}
    return (
        node.get("spec"),
        node["metadata"].get("labels"),
        status.get("allocatable"),
        [(each["type"], each["status"]) for each in status.get("conditions") or []],
    )
