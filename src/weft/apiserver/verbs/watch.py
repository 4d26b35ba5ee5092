"""Watch a collection: changes as they come, selected; DELETED when an object stops matching.

A watch begins after a resourceVersion, or with everything there is (resourceVersion "" or "0"), or, with
sendInitialEvents, with everything followed by a bookmark that says so (KEP-3157).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from weft.api.status import ApiError
from weft.apiserver.api import Api, Object
from weft.apiserver.cache import Change, changes
from weft.apiserver.objects import as_version
from weft.apiserver.request import Request, revision
from weft.apiserver.selection import Selection
from weft.apiserver.verbs.list import reach
from weft.client.base import EventType
from weft.store.base import CompactedError

_BOOKMARK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The query of a watch."""

    selection: Selection
    resource_version: str = ""
    bookmarks: bool = False
    initial_events: bool | None = None


@dataclass(slots=True)
class Sent:
    """An event for one watcher; `change` where it is the shared one, whose encoding is shared too."""

    type: EventType
    object: Object
    change: Change | None = None


async def watch(api: Api, request: Request, options: WatchOptions) -> AsyncGenerator[list[Sent], None]:
    """Raises ApiError: 410 where the revision is no longer known, 504 where it is in the future."""
    rtype = request.rtype
    hub = api.objects.hub(rtype)
    prefix = api.objects.prefix(rtype, request.namespace)
    asked = revision(options.resource_version) if options.resource_version else 0
    now = await reach(api, asked)
    start = asked
    initial = options.initial_events if options.initial_events is not None else asked == 0
    await api.prepare(request)
    if initial:
        present = [as_version(entry.object, rtype) for entry in hub.below(prefix)]
        first: list[Sent] = [Sent("ADDED", obj) for obj in present if options.selection.matches(obj)]
        if options.initial_events and options.bookmarks:
            first.append(_bookmark(request, now, {"k8s.io/initial-events-end": "true"}))
        start = now
    elif asked == 0:
        start = now
    stream = changes(api.cache, hub, prefix, start, _BOOKMARK_SECONDS)
    try:
        async with aclosing(stream):
            if initial:
                yield first
            async for batch in stream:
                if isinstance(batch, int):
                    if options.bookmarks:
                        yield [_bookmark(request, batch)]
                    continue
                if rtype.conversion is not None:
                    states = [state for change in batch for state in (change.object, change.old) if state is not None]
                    await api.converter.prepare(rtype, states)
                events = [sent for change in batch if (sent := _select(request, options.selection, change))]
                if events:
                    yield events
    except CompactedError as error:
        raise ApiError("Expired", f"too old resource version: {asked} ({error.compacted})") from None


def _select(request: Request, selection: Selection, change: Change) -> Sent | None:
    obj = as_version(change.object, request.rtype)
    shared = change if obj is change.object else None
    if selection.everything:
        return Sent(change.type, obj, shared)
    old = as_version(change.old, request.rtype) if change.old is not None else None
    matched = old is not None and selection.matches(old)
    matches = change.type != "DELETED" and selection.matches(obj)
    if matches and matched:
        return Sent("MODIFIED", obj, shared)
    if matches:
        return Sent("ADDED", obj, shared if change.type == "ADDED" else None)
    if not matched:
        return None
    if change.type == "DELETED":
        return Sent("DELETED", obj, shared)
    assert old is not None
    last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(change.revision)}}
    return Sent("DELETED", last)


def _bookmark(request: Request, at: int, annotations: dict[str, str] | None = None) -> Sent:
    metadata: Object = {"resourceVersion": str(at), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    gvr = request.rtype.gvr
    return Sent("BOOKMARK", {"kind": request.rtype.kind, "apiVersion": gvr.api_version, "metadata": metadata})
