"""Serves custom resources as their definitions come, change and go.

In: changes of CustomResourceDefinitions from the cache. Out: kinds registered before the write of the CRD returns;
for a CRD being deleted, its resources deleted and then its finalizer taken off.
"""

import asyncio
import logging
from typing import Any

from weft.api.gvr import CRDS
from weft.api.kinds import ResourceType
from weft.api.status import ApiError
from weft.apiserver import codec
from weft.apiserver.admission.crd import CLEANUP, established
from weft.apiserver.api import Api
from weft.apiserver.cache import Change
from weft.apiserver.request import Request
from weft.apiserver.selection import EVERYTHING
from weft.apiserver.verbs.delete import DeleteOptions
from weft.apiserver.verbs.delete_collection import delete_collection
from weft.apiserver.writing import mutate

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.5


class CustomResources:
    """`start` registers what is there; then it follows."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        rtype = self._api.kinds.by_gvr(CRDS)
        assert rtype is not None
        self._rtype = rtype
        hub = self._api.objects.hub(rtype)
        for crd in self._api.objects.each(rtype):
            self._serve(crd)
        hub.listeners.append(self._on_change)

    async def stop(self) -> None:
        tasks = list(self._cleaning.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_change(self, change: Change) -> None:
        if change.type == "DELETED":
            self._api.kinds.remove_crd(change.object["metadata"]["name"])
        else:
            self._serve(change.object)

    def _serve(self, crd: dict[str, Any]) -> None:
        name = crd["metadata"]["name"]
        if established(crd):
            try:
                self._api.kinds.add_crd(crd)
            except ApiError as error:
                _log.error("cannot serve a stored CRD", extra={"crd": name, "error": error.message})
        if "deletionTimestamp" in crd["metadata"] and CLEANUP in (crd["metadata"].get("finalizers") or []):
            task = self._cleaning.get(name)
            if task is None or task.done():
                self._cleaning[name] = asyncio.create_task(self._clean(crd), name=f"crd-cleanup-{name}")

    async def _clean(self, crd: dict[str, Any]) -> None:
        name = crd["metadata"]["name"]
        try:
            while not await self._emptied(crd):  # resources with finalizers go when others let them
                await self._api.clock.sleep(_RETRY_SECONDS)
            await mutate(self._api, Request(self._rtype, name=name), _without_finalizer)
        except ApiError as error:
            if error.reason != "NotFound":
                _log.error("cannot clean up after a CRD", extra={"crd": name, "error": error.message})
        finally:
            self._cleaning.pop(name, None)

    async def _emptied(self, crd: dict[str, Any]) -> bool:
        rtype = self._type(crd)
        if rtype is None:
            return True
        await delete_collection(self._api, Request(rtype), DeleteOptions(propagation="Background"), EVERYTHING)
        return next(self._api.objects.each(rtype), None) is None

    def _type(self, crd: dict[str, Any]) -> ResourceType | None:
        """Of the stored version, if it is served: it needs no conversion webhook, which may be gone already."""
        which = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        kinds = self._api.kinds.all()
        found = [rtype for rtype in kinds if rtype.is_custom and (rtype.gvr.group, rtype.gvr.resource) == which]
        return next((rtype for rtype in found if rtype.storage), found[0] if found else None)


def _without_finalizer(old: dict[str, Any]) -> dict[str, Any]:
    new = codec.copied(old)
    del new["metadata"]["resourceVersion"]
    new["metadata"]["finalizers"] = [name for name in new["metadata"].get("finalizers") or [] if name != CLEANUP]
    return new
