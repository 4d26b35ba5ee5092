"""GET a collection: selected, paged, all pages at one revision.

The first page and, as long as nothing changed since, the further ones come from the cache; later ones from the store's
history at the revision that the continue token pins (kubernetes.io, "Retrieving large results sets in chunks").
"""

import base64
import binascii
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import orjson

from weft.api.status import ApiError, Cause, bad_request
from weft.apiserver.api import Api, Object
from weft.apiserver.cache import Entry
from weft.apiserver.objects import as_version
from weft.apiserver.request import Request, revision
from weft.apiserver.selection import Selection
from weft.store.base import CompactedError

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """`remaining` is what is left, known only where nothing was selected."""

    items: list[Object]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query of a list; `match` is resourceVersionMatch."""

    selection: Selection
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    match: str = ""


async def list_(api: Api, request: Request, options: ListOptions) -> Page:
    """Raises ApiError (400, 410 Expired, 504 for a revision of the future)."""
    hub = api.objects.hub(request.rtype)
    prefix = api.objects.prefix(request.rtype, request.namespace)
    at, start_after = await _position(api, options, prefix)
    await api.prepare(request)
    if at >= hub.changed_at:
        entries = _from_cache(hub.below(prefix, start_after))
    else:
        entries = _from_store(api, prefix, at, start_after)
    items: list[Object] = []
    last, more = "", False
    try:
        async for entry in entries:
            if not entry.key.startswith(prefix):
                break
            if request.rtype.conversion is not None:
                await api.converter.prepare(request.rtype, (entry.object,))
            obj = as_version(entry.object, request.rtype)
            if not options.selection.matches(obj):
                continue
            if options.limit and len(items) == options.limit:
                more = True
                break
            items.append(obj)
            last = entry.key
    except CompactedError:
        raise _expired() from None
    if not more:
        return Page(items, at)
    remaining = None
    if options.selection.everything and at >= hub.changed_at:
        remaining = hub.count_below(prefix, last)
    return Page(items, at, _token(at, last[len(prefix) :]), remaining)


async def _position(api: Api, options: ListOptions, prefix: str) -> tuple[int, str]:
    """The revision to read at and the key to start after."""
    if options.continue_token:
        if options.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        at, start = _read_token(options.continue_token)
        await reach(api, at)
        return at, prefix + start
    if options.match and not options.resource_version:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if options.match not in ("", "Exact", "NotOlderThan"):
        raise bad_request(f'resourceVersionMatch: Unsupported value: "{options.match}"')
    asked = revision(options.resource_version) if options.resource_version else 0
    now = await reach(api, asked)
    if options.match == "Exact":
        if asked == 0:
            raise bad_request('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
        return asked, ""
    return now, ""


async def _from_cache(entries: Iterator[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:  # nothing waits in between, so the cache cannot change under way
        yield entry


async def _from_store(api: Api, prefix: str, at: int, start_after: str) -> AsyncIterator[Entry]:
    while True:
        found = await api.objects.past(prefix, at, _PAGE, start_after)
        for item in found.items:
            yield Entry.of(item)
        if not found.more:
            return
        start_after = found.items[-1].key


def _token(at: int, start: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"v": "meta.k8s.io/v1", "rv": at, "start": start})).decode()


def _read_token(token: str) -> tuple[int, str]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(value["rv"]), str(value["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid") from None


async def reach(api: Api, asked: int) -> int:
    """The cache's revision, once it is `asked` or newer; raises ApiError 504 where that is in the future."""
    now = api.cache.revision
    if asked > now:  # another server may have written it
        now = await api.cache.fresh()
    if asked > now:
        cause = Cause("ResourceVersionTooLarge", "Too large resource version")
        text = f"Too large resource version: {asked}, current: {now}"
        raise ApiError("Timeout", text, code=504, causes=[cause])
    return now


def _expired() -> ApiError:
    return ApiError(
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You must start a new list "
        "without the continue parameter.",
    )
