"""Namespace deletion: everything in a terminating namespace is deleted, then its finalizer is taken off.

Source: Kubernetes `pkg/controller/namespace/deletion`.
"""

from collections.abc import Callable, Sequence

from weft.api.gvr import GVR, NAMESPACES
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key
from weft.controllers.runner import Context, enqueue
from weft.core.clock import rfc3339
from weft.core.tasks import wait_all
from weft.core.workqueue import WorkQueue

_LOOK_AGAIN = 0.25


class NamespaceController:
    """`kinds` gives the namespaced collections that there are now, custom ones included."""

    name = "namespace"

    def __init__(self, context: Context, kinds: Callable[[], Sequence[GVR]]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock, self._kinds = context.client, context.clock, kinds
        self._namespaces = context.informers.of(NAMESPACES)
        self.informers = (self._namespaces,)
        self._namespaces.on_change(enqueue(self.queue))

    async def reconcile(self, key: Key) -> None:
        namespace = self._namespaces.get("", key[1])
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        name = key[1]
        left: dict[str, int] = {}
        for gvr in self._kinds():
            present = await self._list(gvr, name)
            await wait_all(self._delete(gvr, name, obj) for obj in present)
            if present and (remaining := len(await self._list(gvr, name))):
                left[str(gvr)] = remaining
        if left:
            await self._tell(namespace, left)
            self.queue.add_after(key, _LOOK_AGAIN)
            return
        finalizers = namespace["spec"].get("finalizers") or []
        if "kubernetes" in finalizers:
            spec = {**namespace["spec"], "finalizers": [each for each in finalizers if each != "kubernetes"]}
            await self._client.update(NAMESPACES, {**namespace, "spec": spec}, subresource="finalize")

    async def _list(self, gvr: GVR, namespace: str) -> Sequence[Object]:
        try:
            return (await self._client.list(gvr, namespace)).items
        except ApiError as error:
            if error.code == 404:  # a custom kind that is not served any more
                return []
            raise

    async def _delete(self, gvr: GVR, namespace: str, obj: Object) -> None:
        if obj["metadata"].get("deletionTimestamp"):
            return  # the node agent or its finalizers are on it
        try:
            await self._client.delete(gvr, obj["metadata"]["name"], namespace, propagation="Background")
        except ApiError as error:
            if error.code not in (404, 405):
                raise

    async def _tell(self, namespace: Object, left: dict[str, int]) -> None:
        """Says in the status what keeps the namespace, for whoever waits for its end."""
        counts = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(left.items()))
        entry = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {counts}",
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        present = (namespace.get("status") or {}).get("conditions") or []
        if [(each["type"], each.get("message")) for each in present] == [(entry["type"], entry["message"])]:
            return
        status = {**(namespace.get("status") or {}), "phase": "Terminating", "conditions": [entry]}
        await self._client.update(NAMESPACES, {**namespace, "status": status}, subresource="status")
