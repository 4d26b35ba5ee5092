"""The one interface that controllers, scheduler, node agent and CLI know of the API.

Objects are plain JSON values (`dict[str, Any]`). What a client returns is shared with caches: treat it as frozen and
`copy.deepcopy` before you change it. Every call may raise `weft.api.status.ApiError`; HTTP clients also raise
`weft.core.errors.UnavailableError` when the server cannot be reached.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from weft.api.gvr import GVR

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
PatchType = Literal[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class ListResult:
    """The items of a list at one revision; `continue_token` is empty when it is complete."""

    items: list[Object]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. An ERROR event never reaches the caller: it is raised as ApiError (410 `Expired` among them)."""

    type: EventType
    object: Object


class Client(Protocol):
    """Calls on resources; `namespace=None` on a namespaced resource's list or watch means all namespaces."""

    async def get(self, gvr: GVR, name: str, namespace: str | None = None) -> Object: ...

    async def list(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ListResult: ...

    def watch(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """All changes after `resource_version`; ends or raises when the connection does; the caller lists again."""
        ...

    async def create(self, gvr: GVR, obj: Object, namespace: str | None = None) -> Object: ...

    async def update(self, gvr: GVR, obj: Object, *, subresource: str | None = None) -> Object:
        """Replaces the object named in its own metadata; a resourceVersion there is checked (409 Conflict)."""
        ...

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
    ) -> Object: ...

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
    ) -> Object: ...

    async def create_subresource(
        self, gvr: GVR, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        """POST to a subresource, such as a pod's `binding`."""
        ...
