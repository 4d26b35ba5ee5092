"""Nodes that went silent: a node whose lease is not renewed becomes Unknown, its pods not ready; and pods of nodes that
do not exist any more are removed. Source: Kubernetes `pkg/controller/nodelifecycle`, `podgc`.
"""

import copy

from weft.api.gvr import GVR, NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, key_of
from weft.controllers.pods import condition
from weft.controllers.runner import Context
from weft.core.clock import parse_rfc3339, rfc3339
from weft.core.tasks import wait_all
from weft.core.workqueue import WorkQueue

LEASES = GVR("coordination.k8s.io", "v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
GRACE_SECONDS = 40.0
GONE_SECONDS = 10.0


class NodeLifecycleController:
    """Looks at each node when its lease should have been renewed, and at pods without a node."""

    name = "nodelifecycle"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._nodes = context.informers.of(NODES)
        self._pods = context.informers.of(PODS)
        self._leases = context.informers.of(LEASES)
        self._pods.add_index("node", _node_of)
        self.informers = (self._nodes, self._pods, self._leases)
        self._recorder = context.recorder("node-controller")
        self._seen: dict[str, float] = {}
        self._nodes.on_change(self._node_changed)
        self._leases.on_change(self._lease_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))
        elif old is not None:
            # A node that only registers anew keeps its pods.
            self._seen.pop(old["metadata"]["name"], None)
            self.queue.add_after(key_of(old), GONE_SECONDS)

    def _lease_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["metadata"]["namespace"] == LEASE_NAMESPACE:
            self._seen[new["metadata"]["name"]] = self._clock.now()
            self.queue.add(("", new["metadata"]["name"]))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (names := _node_of(new)) and self._nodes.get("", names[0]) is None:
            self.queue.add_after(("", names[0]), GONE_SECONDS)

    async def reconcile(self, key: Key) -> None:
        name = key[1]
        node = self._nodes.get("", name)
        if node is None:
            await self._remove_pods(name)
            return
        renewed = self._seen.get(name, parse_rfc3339(node["metadata"]["creationTimestamp"]))
        silent = self._clock.now() - renewed
        if silent < GRACE_SECONDS:
            self.queue.add_after(key, GRACE_SECONDS - silent)
            return
        ready = condition(node, "Ready")
        if ready is not None and ready["status"] != "Unknown":
            await self._mark_unknown(node)
        for pod in self._pods.by_index("node", name):
            await self._mark_not_ready(pod)

    async def _remove_pods(self, node: str) -> None:
        try:
            await self._client.get(NODES, node)
            return  # the cache lags behind
        except ApiError as error:
            if error.code != 404:
                raise
        await wait_all(self._remove_pod(pod) for pod in self._pods.by_index("node", node))

    async def _remove_pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(
                PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period_seconds=0
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _mark_unknown(self, node: Object) -> None:
        stamp = rfc3339(self._clock.now())
        changed = copy.deepcopy(node)
        for entry in changed["status"].get("conditions") or []:
            entry |= {
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": stamp,
            }
        await self._client.update(NODES, changed, subresource="status")
        message = f"Node {node['metadata']['name']} status is now: NodeNotReady"
        self._recorder.event(node, "Normal", "NodeNotReady", message)

    async def _mark_not_ready(self, pod: Object) -> None:
        ready = condition(pod, "Ready")
        if ready is None or ready["status"] != "True":
            return
        changed = copy.deepcopy(pod)
        for entry in changed["status"]["conditions"]:
            if entry["type"] == "Ready":
                entry |= {"status": "False", "lastTransitionTime": rfc3339(self._clock.now())}
        await self._client.update(PODS, changed, subresource="status")


def _node_of(pod: Object) -> list[str]:
    name = pod["spec"].get("nodeName")
    return [name] if name else []
