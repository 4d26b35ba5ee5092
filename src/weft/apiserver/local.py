"""The client inside the server's process: `weft.client.base.Client` without HTTP and without JSON.

Objects that come back are the cache's own, shared by everyone: copy before changing.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from weft.api.gvr import GVR
from weft.api.status import ApiError, bad_request
from weft.apiserver import codec
from weft.apiserver.api import Api
from weft.apiserver.request import IN_PROCESS, Request, User
from weft.apiserver.selection import Selection
from weft.apiserver.verbs import patch as patching
from weft.apiserver.verbs.create import create
from weft.apiserver.verbs.delete import DeleteOptions, delete
from weft.apiserver.verbs.eviction import evict
from weft.apiserver.verbs.finalize import finalize
from weft.apiserver.verbs.get import get
from weft.apiserver.verbs.list import ListOptions, list_
from weft.apiserver.verbs.pod_actions import bind
from weft.apiserver.verbs.scale import patch_scale, update_scale
from weft.apiserver.verbs.update import update
from weft.apiserver.verbs.watch import WatchOptions, watch
from weft.client.base import ListResult, Object, PatchType, Propagation, WatchEvent


class LocalClient:
    """`LocalClient(api)`."""

    def __init__(self, api: Api, user: User = IN_PROCESS) -> None:
        self._api = api
        self._user = user

    def _request(self, gvr: GVR, namespace: str | None, name: str = "", subresource: str | None = None) -> Request:
        rtype = self._api.kinds.by_gvr(gvr)
        if (
            rtype is None
            or (namespace and not rtype.namespaced)
            or (subresource and subresource not in rtype.subresources)
        ):
            raise ApiError("NotFound", "the server could not find the requested resource")
        return Request(
            rtype,
            namespace or None,
            name,
            subresource or "",
            self._user,
            field_manager="weft",
        )

    async def get(self, gvr: GVR, name: str, namespace: str | None = None) -> Object:
        request = self._request(gvr, namespace, name)
        await self._api.prepare(request)
        return get(self._api, request)

    async def list(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ListResult:
        request = self._request(gvr, namespace)
        selection = Selection.parse(request.rtype, label_selector, field_selector)
        page = await list_(self._api, request, ListOptions(selection, limit, continue_token))
        return ListResult(page.items, str(page.revision), page.continue_token)

    async def watch(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        request = self._request(gvr, namespace)
        selection = Selection.parse(request.rtype, label_selector, field_selector)
        options = WatchOptions(selection, resource_version, bookmarks=True)
        async with aclosing(watch(self._api, request, options)) as batches:
            async for batch in batches:
                for sent in batch:
                    yield WatchEvent(sent.type, sent.object)

    async def create(self, gvr: GVR, obj: Object, namespace: str | None = None) -> Object:
        request = self._request(gvr, namespace or (obj.get("metadata") or {}).get("namespace"))
        if request.rtype.namespaced and request.namespace is None:
            raise ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        return await create(self._api, request, codec.copied(obj))

    async def update(self, gvr: GVR, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj.get("metadata") or {}
        if not metadata.get("name"):
            raise bad_request("metadata.name is required")
        request = self._request(gvr, metadata.get("namespace"), metadata["name"], subresource)
        body = codec.copied(obj)
        if subresource == "scale":
            return await update_scale(self._api, request, body)
        if subresource == "finalize":
            return await finalize(self._api, request, body)
        return await update(self._api, request, body)

    async def patch(
        self,
        gvr: GVR,
        name: str,
        patch: Any,
        patch_type: PatchType,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        field_manager: str = "weft",
        force: bool = False,
    ) -> Object:
        request = self._request(gvr, namespace, name, subresource)
        request.field_manager, request.force = field_manager, force
        body = codec.copied({"patch": patch})["patch"]
        if subresource == "scale":
            return await patch_scale(self._api, request, body, patch_type)
        return await patching.patch(self._api, request, body, patch_type)

    async def delete(
        self,
        gvr: GVR,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Propagation | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> Object:
        options = DeleteOptions(grace_period_seconds, propagation, uid, resource_version)
        obj, _ = await delete(self._api, self._request(gvr, namespace, name), options)
        return obj

    async def create_subresource(
        self, gvr: GVR, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        request = self._request(gvr, namespace, name, subresource)
        if subresource == "binding":
            return await bind(self._api, request, codec.copied(body))
        if subresource == "eviction":
            return await evict(self._api, request, codec.copied(body))
        raise ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")
