"""Garbage collection by owner references: background, foreground and orphan deletion.

What has owners, all of which are gone, goes too. An owner deleted in the foreground keeps its finalizer until its
dependents with `blockOwnerDeletion` are gone; one deleted with `orphan` first has its references taken off them.
Source: Kubernetes documentation "Owners and Dependents", `pkg/controller/garbagecollector`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from weft.api.gvr import CRDS, EVENTS, GVR
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Informer, Key, by_owner
from weft.controllers.runner import Context
from weft.core.workqueue import WorkQueue

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


@dataclass(slots=True)
class Owners:
    """An object's owner references by what became of the owners."""

    solid: list[Object] = field(default_factory=list)
    gone: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)  # deleted in the foreground: they wait for their dependents


class GarbageCollector:
    """Watches every collection that `kinds` names; custom ones join as they appear."""

    name = "garbage"

    def __init__(self, context: Context, kinds: Callable[[], Sequence[GVR]]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._context, self._kinds = context, kinds
        self._client = context.client
        self._watched: dict[GVR, Informer] = {}
        self._by_uid: dict[str, tuple[GVR, Object]] = {}
        self._follow_kinds()
        self.informers = tuple(self._watched.values())
        context.informers.of(CRDS).on_change(lambda old, new: self._follow_kinds())

    def _follow_kinds(self) -> None:
        for gvr in self._kinds():
            if gvr not in self._watched and gvr != EVENTS:  # which nobody owns
                self._watch(gvr)

    def _watch(self, gvr: GVR) -> None:
        informer = self._watched[gvr] = self._context.informers.of(gvr)
        informer.add_index("owner", by_owner)

        def changed(old: Object | None, new: Object | None) -> None:
            if new is not None:
                uid = new["metadata"]["uid"]
                self._by_uid[uid] = (gvr, new)
                if new["metadata"].get("ownerReferences") or new["metadata"].get("deletionTimestamp"):
                    self.queue.add(("", uid))
            elif old is not None:
                self._by_uid.pop(old["metadata"]["uid"], None)
            if old is not None and (new is None or new["metadata"].get("deletionTimestamp")):
                self._tell_others(old)

        informer.on_change(changed)

    def _tell_others(self, obj: Object) -> None:
        """Its dependents, and whoever waits for it as a dependent."""
        for _, dependent in self._dependents(obj["metadata"]["uid"]):
            self.queue.add(("", dependent["metadata"]["uid"]))
        for reference in obj["metadata"].get("ownerReferences") or []:
            self.queue.add(("", reference["uid"]))

    def _dependents(self, uid: str) -> list[tuple[GVR, Object]]:
        return [(gvr, obj) for gvr, informer in self._watched.items() for obj in informer.by_index("owner", uid)]

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
        owners = await self._owners(obj)
        if owners.solid:
            if owners.gone or owners.waiting:
                await self._set_references(gvr, obj, owners.solid)
        elif owners.waiting:
            await self._delete(gvr, obj, foreground=bool(self._dependents(uid)))
        elif owners.gone:
            await self._delete(gvr, obj)

    async def _owners(self, obj: Object) -> Owners:
        owners = Owners()
        for reference in obj["metadata"].get("ownerReferences") or []:
            if not await self._exists(reference, obj):
                owners.gone.append(reference)
            elif self._deleting_in_foreground(reference["uid"]):
                owners.waiting.append(reference)
            else:
                owners.solid.append(reference)
        return owners

    def _deleting_in_foreground(self, uid: str) -> bool:
        if uid not in self._by_uid:
            return False
        metadata = self._by_uid[uid][1]["metadata"]
        return bool(metadata.get("deletionTimestamp")) and _FOREGROUND in (metadata.get("finalizers") or [])

    async def _exists(self, reference: Object, dependent: Object) -> bool:
        """Asks the API where the cache knows nothing: an owner may be younger than the cache."""
        if reference["uid"] in self._by_uid:
            return True
        group = reference["apiVersion"].rpartition("/")[0]
        gvr = next(
            (each for each in self._watched if each.group == group and each.resource in _plurals(reference["kind"])),
            None,
        )
        if gvr is None:
            return True  # a kind that is not served: nobody can say that its object is gone
        # Owners live in the dependent's namespace or in none.
        for namespace in dict.fromkeys((dependent["metadata"].get("namespace"), None)):
            try:
                found = await self._client.get(gvr, reference["name"], namespace)
            except ApiError as error:
                if error.code not in (400, 404, 405):
                    raise
            else:
                return bool(found["metadata"]["uid"] == reference["uid"])
        return False

    async def _delete(self, gvr: GVR, obj: Object, *, foreground: bool = False) -> None:
        """Only as we saw it: whoever changed its owners meanwhile brings us back."""
        metadata = obj["metadata"]
        try:
            await self._client.delete(
                gvr,
                metadata["name"],
                metadata.get("namespace"),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                propagation="Foreground" if foreground else "Background",
            )
        except ApiError as error:
            if error.code != 404:
                raise

    async def _foreground(self, gvr: GVR, obj: Object) -> None:
        """Sends its dependents away; lets it go when none is left that blocks it."""
        uid = obj["metadata"]["uid"]
        blocked = False
        for _, dependent in self._dependents(uid):
            references = dependent["metadata"]["ownerReferences"]
            blocked |= any(each["uid"] == uid and each.get("blockOwnerDeletion") for each in references)
            if not dependent["metadata"].get("deletionTimestamp"):
                self.queue.add(("", dependent["metadata"]["uid"]))
        if not blocked:
            await self._drop_finalizer(gvr, obj, _FOREGROUND)

    async def _orphan(self, gvr: GVR, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        for kind, dependent in self._dependents(uid):
            kept = [each for each in dependent["metadata"]["ownerReferences"] if each["uid"] != uid]
            await self._set_references(kind, dependent, kept)
        await self._drop_finalizer(gvr, obj, _ORPHAN)

    async def _set_references(self, gvr: GVR, obj: Object, references: Sequence[Object]) -> None:
        await self._update(gvr, obj, ownerReferences=list(references))

    async def _drop_finalizer(self, gvr: GVR, obj: Object, name: str) -> None:
        await self._update(gvr, obj, finalizers=[each for each in obj["metadata"]["finalizers"] if each != name])

    async def _update(self, gvr: GVR, obj: Object, **metadata: list[object]) -> None:
        try:
            await self._client.update(gvr, {**obj, "metadata": {**obj["metadata"], **metadata}})
        except ApiError as error:
            if error.code != 404:
                raise


def _plurals(kind: str) -> tuple[str, ...]:
    """What the resource of a kind may be called (apimachinery `meta.UnsafeGuessKindToResource`)."""
    name = kind.lower()
    return name, f"{name}s", f"{name}es", f"{name[:-1]}ies"
