"""A local, always fresh copy of a collection: list once, then watch; list again when the watch is lost.

Comes in: a Client and a GVR. Goes out: objects by name and by index, and a call of each handler for each change.
Objects are shared by all readers: treat them as frozen. After client-go's `tools/cache`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from weft.api.gvr import GVR
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.core.clock import Clock, SystemClock
from weft.core.errors import WeftError
from weft.core.tasks import Tasks

logger = logging.getLogger(__name__)

Key = tuple[str, str]
Handler = Callable[[Object | None, Object | None], None]
IndexFunction = Callable[[Object], Iterable[str]]

_FIRST_DELAY, _MAX_DELAY = 0.05, 5.0


def key_of(obj: Object) -> Key:
    """(namespace, name); the namespace of a cluster-wide object is empty."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def version_of(obj: Object) -> int:
    """The resourceVersion as a number; 0 where the server does not count in numbers."""
    text = obj["metadata"].get("resourceVersion", "")
    return int(text) if text.isdigit() else 0


def by_owner(obj: Object) -> list[str]:
    """An index function: the uids of all owners."""
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]


def by_namespace(obj: Object) -> list[str]:
    """An index function: the namespace."""
    return [obj["metadata"].get("namespace") or ""]


class _Index:
    """The keys of the objects that `function` gives a value for, in the order in which they came."""

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        self.keys: dict[str, dict[Key, None]] = {}

    def add(self, key: Key, obj: Object) -> None:
        for value in self.function(obj):
            self.keys.setdefault(value, {})[key] = None

    def remove(self, key: Key, obj: Object) -> None:
        for value in self.function(obj):
            entries = self.keys.get(value, {})
            entries.pop(key, None)
            if not entries:
                self.keys.pop(value, None)


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
        clock: Clock | None = None,
    ) -> None:
        self.gvr = gvr
        self._client = client
        self._namespace = namespace
        self._labels, self._fields = label_selector, field_selector
        self._clock = clock or SystemClock()
        self._objects: dict[Key, Object] = {}
        self._handlers: list[Handler] = []
        self._indices = {"namespace": _Index(by_namespace)}
        self._synced = asyncio.Event()
        self.version = 0  # every change up to this revision has been seen

    # Reading

    def get(self, namespace: str | None, name: str) -> Object | None:
        return self._objects.get((namespace or "", name))

    def list(self, namespace: str | None = None, selector: LabelSelector | None = None) -> Sequence[Object]:
        """The objects of a namespace (None: of all) that `selector` picks (None: all)."""
        found = self._objects.values() if namespace is None else self.by_index("namespace", namespace)
        return [obj for obj in found if selector is None or selector.matches(obj["metadata"].get("labels"))]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Adds an index, once; the same name again is no error."""
        if name in self._indices:
            return
        index = self._indices[name] = _Index(function)
        for key, obj in self._objects.items():
            index.add(key, obj)

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        return [self._objects[key] for key in self._indices[name].keys.get(value, ())]

    def on_change(self, handler: Handler) -> None:
        """`handler(old, new)` for each change; `old` is None for a new object, `new` for one that is gone.

        An object that was deleted and made again under its name is two changes, even if nobody saw it missing.
        """
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
        delay = _FIRST_DELAY
        version = ""
        while True:
            began = self._clock.monotonic()
            try:
                if not version:
                    version = await self._relist()
                async for event in self._client.watch(
                    self.gvr,
                    self._namespace,
                    resource_version=version,
                    label_selector=self._labels,
                    field_selector=self._fields,
                ):
                    version = event.object["metadata"]["resourceVersion"]
                    delay = _FIRST_DELAY
                    self.version = version_of(event.object)
                    if event.type != "BOOKMARK":
                        self._take(event.object, gone=event.type == "DELETED")
            except ApiError as error:
                # Expired (410) among others; a version from before a restore is in the server's future.
                version = ""
                if error.code == 404:  # the kind is not served any more
                    self._replace([])
                level = logging.DEBUG if error.code in (404, 410) else logging.WARNING
                logger.log(level, "cannot watch %s: %s", self.gvr, error)
            except (WeftError, OSError) as error:
                logger.info("lost the watch of %s: %s", self.gvr, error)
            if self._clock.monotonic() - began > 2 * _MAX_DELAY:
                delay = _FIRST_DELAY
            await self._clock.sleep(delay)
            delay = min(delay * 2, _MAX_DELAY)

    async def _relist(self) -> str:
        found = await self._client.list(
            self.gvr, self._namespace, label_selector=self._labels, field_selector=self._fields
        )
        self._replace(found.items)
        self.version = int(found.resource_version) if found.resource_version.isdigit() else 0
        return found.resource_version

    def _replace(self, items: Sequence[Object]) -> None:
        present = {key_of(obj) for obj in items}
        for key in [key for key in self._objects if key not in present]:
            self._take(self._objects[key], gone=True)
        for obj in items:
            old = self._objects.get(key_of(obj))
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._take(obj, gone=False)
        self._synced.set()

    def _take(self, obj: Object, *, gone: bool) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if gone and old is None:
            return
        if old is not None and not gone and old["metadata"]["uid"] != obj["metadata"]["uid"]:
            self._take(old, gone=True)
            old = None
        if old is not None:
            for index in self._indices.values():
                index.remove(key, old)
        if gone:
            del self._objects[key]
        else:
            self._objects[key] = obj
            for index in self._indices.values():
                index.add(key, obj)
        new = None if gone else obj
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                # The others must still hear of it: nobody would tell them again.
                logger.exception("a handler of %s failed at %s", self.gvr, "/".join(key))


class Informers:
    """One informer for each collection, shared by all who ask."""

    def __init__(self, client: Client, *, clock: Clock | None = None) -> None:
        self.client = client
        self._clock = clock
        self._informers: dict[tuple[GVR, str, str], Informer] = {}
        self._tasks: Tasks | None = None

    def of(self, gvr: GVR, *, field_selector: str = "", label_selector: str = "") -> Informer:
        """The informer of a collection; one that is new after `start` runs at once."""
        key = (gvr, field_selector, label_selector)
        if key not in self._informers:
            informer = self._informers[key] = Informer(
                self.client, gvr, field_selector=field_selector, label_selector=label_selector, clock=self._clock
            )
            if self._tasks is not None:
                self._tasks.start(f"informer {gvr}", informer.run)
        return self._informers[key]

    def all(self) -> list[Informer]:
        return list(self._informers.values())

    def start(self, tasks: Tasks) -> None:
        """Runs all informers, those that are still to come included, as `tasks`."""
        self._tasks = tasks
        for informer in self.all():
            tasks.start(f"informer {informer.gvr}", informer.run)
