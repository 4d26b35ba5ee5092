"""A local, always fresh copy of a collection: list once, then watch; list again when the watch is lost.

Comes in: a Client and a GVR. Goes out: objects by name and by index, and a call of each handler for each change.
Objects are shared by all readers: treat them as frozen. After client-go's `tools/cache`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from weft.api.gvr import GVR
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.core.errors import WeftError

logger = logging.getLogger(__name__)

Key = tuple[str, str]
Handler = Callable[[Object | None, Object | None], None]
IndexFunction = Callable[[Object], Iterable[str]]


def key_of(obj: Object) -> Key:
    """(namespace, name); the namespace of a cluster-wide object is empty."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def by_owner(obj: Object) -> list[str]:
    """An index function: the uids of all owners."""
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]


class Informer:
    """The copy of one collection. `run` keeps it fresh; `synced` waits for the first list."""

    def __init__(
        self,
        client: Client,
        gvr: GVR,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self.gvr = gvr
        self._client = client
        self._namespace = namespace
        self._labels, self._fields = label_selector, field_selector
        self._objects: dict[Key, Object] = {}
        self._handlers: list[Handler] = []
        self._functions: dict[str, IndexFunction] = {}
        self._indices: dict[str, dict[str, set[Key]]] = {}
        self._synced = asyncio.Event()

    # Reading

    def get(self, namespace: str | None, name: str) -> Object | None:
        return self._objects.get((namespace or "", name))

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        return [obj for key, obj in self._objects.items() if namespace is None or key[0] == namespace]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Adds an index, once; the same name again is no error."""
        if name in self._functions:
            return
        self._functions[name] = function
        self._indices[name] = {}
        for key, obj in self._objects.items():
            for value in function(obj):
                self._indices[name].setdefault(value, set()).add(key)

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        return [self._objects[key] for key in self._indices[name].get(value, ())]

    def on_change(self, handler: Handler) -> None:
        """`handler(old, new)` for each change; `old` is None for a new object, `new` for one that is gone."""
        self._handlers.append(handler)
        for obj in self._objects.values():
            handler(None, obj)

    async def synced(self) -> None:
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    # Keeping fresh

    async def run(self) -> None:
        """Lists and watches until cancelled; what goes wrong is retried with a growing delay."""
        delay = 0.05
        version = ""
        while True:
            try:
                if not version:
                    version = await self._relist()
                    delay = 0.05
                async for event in self._client.watch(
                    self.gvr,
                    self._namespace,
                    resource_version=version,
                    label_selector=self._labels,
                    field_selector=self._fields,
                ):
                    version = event.object["metadata"]["resourceVersion"]
                    delay = 0.05
                    if event.type != "BOOKMARK":
                        self._take(event.object, gone=event.type == "DELETED")
                continue  # the server ended the watch: go on from the last version
            except ApiError as error:
                if error.code == 410:
                    version = ""
                    continue
                logger.warning("cannot watch %s: %s", self.gvr, error)
            except (WeftError, OSError) as error:
                logger.info("lost the watch of %s: %s", self.gvr, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _relist(self) -> str:
        found = await self._client.list(
            self.gvr, self._namespace, label_selector=self._labels, field_selector=self._fields
        )
        present = {key_of(obj) for obj in found.items}
        for key in [key for key in self._objects if key not in present]:
            self._take(self._objects[key], gone=True)
        for obj in found.items:
            old = self._objects.get(key_of(obj))
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take(obj, gone=False)
        self._synced.set()
        return found.resource_version

    def _take(self, obj: Object, *, gone: bool) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None:
            for name, function in self._functions.items():
                for value in function(old):
                    entries = self._indices[name].get(value, set())
                    entries.discard(key)
                    if not entries:
                        self._indices[name].pop(value, None)
        if gone:
            self._objects.pop(key, None)
        else:
            self._objects[key] = obj
            for name, function in self._functions.items():
                for value in function(obj):
                    self._indices[name].setdefault(value, set()).add(key)
        new = None if gone else obj
        for handler in self._handlers:
            handler(old if old is not None or not gone else obj, new)


class Informers:
    """One informer for each collection, shared by all who ask."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[tuple[Any, ...], Informer] = {}

    def of(self, gvr: GVR, *, field_selector: str = "", label_selector: str = "") -> Informer:
        key = (gvr, field_selector, label_selector)
        if key not in self._informers:
            self._informers[key] = Informer(
                self.client, gvr, field_selector=field_selector, label_selector=label_selector
            )
        return self._informers[key]

    def all(self) -> list[Informer]:
        return list(self._informers.values())
