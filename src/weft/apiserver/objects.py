"""Objects in the store: their keys, reading them from the cache, writing them in transactions.

In: objects as verbs made them. Out: whether the write went through, after the cache knows of it, so that whoever wrote
reads what it wrote. A resourceVersion is the store's revision and is never stored inside the object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from weft.api import events
from weft.api.kinds import ResourceType
from weft.api.status import ApiError
from weft.apiserver import codec
from weft.apiserver.cache import ROOT, Cache, Entry, Hub, Object
from weft.store.base import Compare, Delete, Operation, Put, RangeResult, Store


@dataclass(slots=True)
class Write:
    """A transaction in the making; admission adds to it, such as the allocation of an address."""

    compares: list[Compare] = field(default_factory=list)
    puts: list[tuple[str, Object]] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)


class Objects:
    """`Objects(store, cache)`."""

    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self.cache = cache

    @staticmethod
    def prefix(rtype: ResourceType, namespace: str | None = None) -> str:
        """The key prefix of a resource, or of its objects in one namespace."""
        group = "" if rtype.gvr.group == events.GROUP else rtype.gvr.group
        prefix = f"{ROOT}{group or 'core'}/{rtype.gvr.resource}/"
        return f"{prefix}{namespace}/" if namespace else prefix

    @classmethod
    def key(cls, rtype: ResourceType, namespace: str | None, name: str) -> str:
        return cls.prefix(rtype, namespace if rtype.namespaced else None) + name

    def hub(self, rtype: ResourceType) -> Hub:
        return self.cache.hub(self.prefix(rtype))

    def entry(self, rtype: ResourceType, namespace: str | None, name: str) -> Entry | None:
        return self.hub(rtype).entries.get(self.key(rtype, namespace, name))

    def get(self, rtype: ResourceType, namespace: str | None, name: str) -> Object | None:
        entry = self.entry(rtype, namespace, name)
        return as_version(entry.object, rtype) if entry is not None else None

    def each(self, rtype: ResourceType, namespace: str | None = None) -> Iterator[Object]:
        """Present objects, in order; shared ones."""
        for entry in self.hub(rtype).below(self.prefix(rtype, namespace)):
            yield as_version(entry.object, rtype)

    async def past(self, prefix: str, at: int, limit: int, start_after: str) -> RangeResult:
        """Objects as they were at a revision; raises CompactedError."""
        return await self._store.range(prefix, at, limit, start_after)

    async def commit(self, write: Write) -> bool:
        """Writes it all or nothing; False where a compare failed. Then the cache knows what made it fail."""
        handed = []
        operations: list[Operation] = [Delete(key) for key in write.deletes]
        for key, obj in write.puts:
            metadata = obj.get("metadata")
            if metadata is not None:
                metadata.pop("resourceVersion", None)
            if obj.get("apiVersion") == events.VERSION:
                kept = events.to_core(obj)
                obj.clear()  # in place: the cache gives its resourceVersion to what the caller holds
                obj.update(kept)
            raw = codec.encode(obj)
            self.cache.hand_over(raw, obj)
            handed.append(raw)
            operations.append(Put(key, raw))
        try:
            result = await self._store.txn(write.compares, operations)
            await self.cache.reach(result.revision)
        finally:
            for raw in handed:
                self.cache.take_back(raw)
        return result.succeeded


def identity(obj: Object) -> tuple[str, str]:
    """One state of one object."""
    metadata = obj["metadata"]
    return metadata.get("uid", ""), metadata.get("resourceVersion", "")


def as_version(obj: Object, rtype: ResourceType) -> Object:
    """The object as the version of `rtype` shows it.

    Resources are stored in one version. Versions differ in name only, but for Events and where a webhook converts;
    what that made of an object must have been prepared.
    """
    version = rtype.gvr.api_version
    if rtype.conversion is not None and obj.get("apiVersion") != version:
        made = rtype.converted.get(identity(obj))
        if made is None:
            raise ApiError("ServiceUnavailable", f"{rtype.gvr} is being converted; try again")
        return made
    if rtype.gvr.group == events.GROUP:
        return events.to_events(obj) if obj.get("apiVersion") != version else obj
    return obj if obj.get("apiVersion") == version else {**obj, "apiVersion": version}
