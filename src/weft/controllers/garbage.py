"""Garbage collection by owner references: background, foreground and orphan deletion.

What has owners, all of which are gone, goes too. An owner deleted in the foreground keeps its finalizer until its
dependents with `blockOwnerDeletion` are gone; one deleted with `orphan` first has its references taken off them.
Source: Kubernetes documentation "Owners and Dependents", `pkg/controller/garbagecollector`.
"""

import asyncio
from collections.abc import Callable, Sequence

from weft.api.gvr import EVENTS, GVR
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Informer, Key, by_owner
from weft.controllers.runner import Context
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"
_SYNC_SECONDS = 1.0


class GarbageCollector:
    """Watches every collection that `kinds` names; custom ones join as they appear."""

    name = "garbage"

    def __init__(self, context: Context, kinds: Callable[[], Sequence[GVR]]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._context, self._kinds = context, kinds
        self._client = context.client
        self._watched: dict[GVR, Informer] = {}
        self._by_uid: dict[str, tuple[GVR, Object]] = {}
        self._tasks = Tasks()
        for gvr in kinds():
            self._watch(gvr)
        self.informers = tuple(self._watched.values())

    def _watch(self, gvr: GVR) -> Informer:
        informer = self._context.informers.of(gvr)
        informer.add_index("owner", by_owner)

        def changed(old: Object | None, new: Object | None) -> None:
            obj = new or old
            if obj is None:
                return
            uid = obj["metadata"]["uid"]
            if new is not None:
                self._by_uid[uid] = (gvr, new)
                if new["metadata"].get("ownerReferences") or new["metadata"].get("deletionTimestamp"):
                    self.queue.add(("", uid))
            else:
                self._by_uid.pop(uid, None)
                self._owner_changed(obj)
            if new is not None and new["metadata"].get("deletionTimestamp"):
                self._owner_changed(obj)

        self._watched[gvr] = informer
        informer.on_change(changed)
        return informer

    def _owner_changed(self, owner: Object) -> None:
        """Its dependents, and whoever waits for it as a dependent."""
        for _, dependent in self._dependents(owner["metadata"]["uid"]):
            self.queue.add(("", dependent["metadata"]["uid"]))
        for reference in owner["metadata"].get("ownerReferences") or []:
            self.queue.add(("", reference["uid"]))

    async def follow_kinds(self) -> None:
        """Starts to watch collections that were not there at the start; until cancelled."""
        try:
            while True:
                for gvr in self._kinds():
                    if gvr not in self._watched:
                        informer = self._watch(gvr)
                        self._tasks.start(f"informer {gvr}", informer.run)
                await asyncio.sleep(_SYNC_SECONDS)
        finally:
            await self._tasks.close()

    def _dependents(self, uid: str) -> list[tuple[GVR, Object]]:
        return [
            (gvr, obj)
            for gvr, informer in self._watched.items()
            if gvr != EVENTS
            for obj in informer.by_index("owner", uid)
        ]

    async def reconcile(self, key: Key) -> None:
        uid = key[1]
        if uid not in self._by_uid:
            return
        gvr, obj = self._by_uid[uid]
        finalizers = obj["metadata"].get("finalizers") or []
        if obj["metadata"].get("deletionTimestamp"):
            if _ORPHAN in finalizers:
                await self._orphan(gvr, obj)
            elif _FOREGROUND in finalizers:
                await self._foreground(gvr, obj)
            return
        references = obj["metadata"].get("ownerReferences") or []
        if not references:
            return
        absent = [reference for reference in references if not await self._exists(reference, obj)]
        if not absent:
            waiting = [ref for ref in references if self._deleting_in_foreground(ref["uid"])]
            if len(waiting) == len(references):
                await self._delete(gvr, obj, foreground=bool(self._dependents(uid)))
            return
        if len(absent) == len(references):
            await self._delete(gvr, obj)
            return
        gone = {reference["uid"] for reference in absent}
        kept = [reference for reference in references if reference["uid"] not in gone]
        await self._client.update(gvr, {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}})

    def _deleting_in_foreground(self, uid: str) -> bool:
        if uid not in self._by_uid:
            return False
        metadata = self._by_uid[uid][1]["metadata"]
        return bool(metadata.get("deletionTimestamp")) and _FOREGROUND in (metadata.get("finalizers") or [])

    async def _exists(self, reference: Object, dependent: Object) -> bool:
        """Asks the API where the cache knows nothing: an owner may be younger than the cache."""
        if reference["uid"] in self._by_uid:
            return True
        group, _, version = reference["apiVersion"].rpartition("/")
        for gvr in self._watched:
            if (gvr.group, gvr.version) != (group, version):
                continue
            kind = reference["kind"].lower()
            if gvr.resource not in (f"{kind}s", f"{kind}es", f"{kind[:-1]}ies"):
                continue
            for namespace in {dependent["metadata"].get("namespace"), None}:
                try:
                    found = await self._client.get(gvr, reference["name"], namespace)
                except ApiError as error:
                    if error.code in (400, 404, 405):
                        continue
                    raise
                return bool(found["metadata"]["uid"] == reference["uid"])
            return False
        return True  # a kind that is not served: nobody can say that its object is gone

    async def _delete(self, gvr: GVR, obj: Object, *, foreground: bool = False) -> None:
        metadata = obj["metadata"]
        try:
            await self._client.delete(
                gvr, metadata["name"], metadata.get("namespace"), uid=metadata["uid"],
                propagation="Foreground" if foreground else "Background",
            )  # fmt: skip
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _foreground(self, gvr: GVR, obj: Object) -> None:
        dependents = self._dependents(obj["metadata"]["uid"])
        blocking = False
        for kind, dependent in dependents:
            reference = next(
                each for each in dependent["metadata"]["ownerReferences"] if each["uid"] == obj["metadata"]["uid"]
            )
            blocking = blocking or bool(reference.get("blockOwnerDeletion"))
            if not dependent["metadata"].get("deletionTimestamp"):
                self.queue.add(("", dependent["metadata"]["uid"]))
            del kind
        if not blocking:
            await self._drop_finalizer(gvr, obj, _FOREGROUND)

    async def _orphan(self, gvr: GVR, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        for kind, dependent in self._dependents(uid):
            kept = [each for each in dependent["metadata"]["ownerReferences"] if each["uid"] != uid]
            await self._client.update(
                kind, {**dependent, "metadata": {**dependent["metadata"], "ownerReferences": kept}}
            )
        await self._drop_finalizer(gvr, obj, _ORPHAN)

    async def _drop_finalizer(self, gvr: GVR, obj: Object, name: str) -> None:
        finalizers = [each for each in obj["metadata"].get("finalizers") or [] if each != name]
        try:
            await self._client.update(gvr, {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}})
        except ApiError as error:
            if error.code != 404:
                raise
