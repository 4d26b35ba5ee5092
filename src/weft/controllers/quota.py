"""Counts again what every ResourceQuota allows and what is used of it.

Admission counts each write as it happens; this finds what no write tells: what was there before, and what went astray.
In: quotas, when their limits change and now and then. Out: their status. Source: kube-controller-manager
`pkg/controller/resourcequota`.
"""

from collections.abc import Callable, Sequence

from weft.api import quantity
from weft.api.gvr import GVR
from weft.api.status import ApiError
from weft.api.usage import resource_of, text, used
from weft.client.base import Object
from weft.client.informer import Key, key_of
from weft.controllers.runner import Context
from weft.core.workqueue import WorkQueue

QUOTAS = GVR("", "v1", "resourcequotas")
# kube-controller-manager's own resync period.
_AGAIN_SECONDS = 300.0


class QuotaController:
    """`collections` tells what can be listed now."""

    name = "resourcequota"

    def __init__(self, context: Context, collections: Callable[[], Sequence[GVR]]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client = context.client
        self._collections = collections
        self._quotas = context.informers.of(QUOTAS)
        self.informers = (self._quotas,)
        self._quotas.on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or old.get("spec") != new.get("spec")):
            self.queue.add(key_of(new))

    async def reconcile(self, key: Key) -> None:
        if self._quotas.get(*key) is None:
            return
        self.queue.add_after(key, _AGAIN_SECONDS)
        # What is listed after the quota is read is no older: a write in between changes the quota, and is a conflict.
        try:
            quota = await self._client.get(QUOTAS, key[1], key[0])
        except ApiError as error:
            if error.reason == "NotFound":
                return
            raise
        hard = (quota.get("spec") or {}).get("hard") or {}
        objects = []
        wanted = {resource_of(name) for name in hard}
        for gvr in self._collections():
            if (gvr.group, gvr.resource) in wanted:
                wanted.discard((gvr.group, gvr.resource))
                listed = await self._client.list(gvr, key[0])
                objects += [(gvr.group, gvr.resource, each) for each in listed.items]
        found = {name: text(name, value, str(hard[name])) for name, value in used(quota, objects).items()}
        status = quota.get("status") or {}
        if status.get("hard") != hard or not _same(status.get("used") or {}, found):
            await self._client.update(QUOTAS, {**quota, "status": {"hard": hard, "used": found}}, subresource="status")


def _same(one: Object, other: Object) -> bool:
    return one.keys() == other.keys() and all(quantity.parse(one[name]) == quantity.parse(other[name]) for name in one)
