"""A `default` ServiceAccount in every namespace."""

from weft.api.gvr import NAMESPACES, SERVICEACCOUNTS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key
from weft.controllers.runner import Context, enqueue
from weft.core.workqueue import WorkQueue


class ServiceAccountController:
    name = "serviceaccount"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client = context.client
        self._namespaces = context.informers.of(NAMESPACES)
        self._accounts = context.informers.of(SERVICEACCOUNTS)
        self.informers = (self._namespaces, self._accounts)
        self._namespaces.on_change(enqueue(self.queue))
        self._accounts.on_change(self._account_changed)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self.queue.add(("", old["metadata"]["namespace"]))

    async def reconcile(self, key: Key) -> None:
        namespace = self._namespaces.get("", key[1])
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return
        if self._accounts.get(key[1], "default") is not None:
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key[1]}}
        try:
            await self._client.create(SERVICEACCOUNTS, account, key[1])
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
