"""PATCH an object: JSON patch, merge patch, strategic merge patch, server-side apply."""

from collections.abc import Callable
from typing import Any

from weft.api.patch import apply, json_patch, last_applied, merge_patch, strategic_merge
from weft.api.status import ApiError, bad_request
from weft.apiserver import codec, strategy
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.writing import check_fields, mutate, store_new

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TYPES = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH, STRATEGIC_PATCH)


def decode(body: bytes, media: str) -> Any:
    """The patch in a body; raises ApiError (400, 415)."""
    if media not in TYPES:
        raise unsupported(media, TYPES)
    return codec.from_yaml(body) if media == APPLY_PATCH else codec.from_json(body)


def unsupported(media: str, types: tuple[str, ...]) -> ApiError:
    return ApiError(
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(types)}"
        + (f" (not {media})" if media else ""),
    )


async def patch(api: Api, request: Request, body: Any, media: str) -> Object:
    """The object as stored."""
    if media == APPLY_PATCH:
        return await _apply(api, request, body)
    change = patcher(request, body, media)

    def produce(old: Object) -> Object:
        new = change(old)
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise bad_request("the patched object has no metadata")
        strategy.check_body(request, new)
        check_fields(request, new)
        if new["metadata"].get("resourceVersion") == old["metadata"]["resourceVersion"]:
            del new["metadata"]["resourceVersion"]  # the patch did not ask for it: another write may come between
        return new

    return await mutate(api, request, produce)


def patcher(request: Request, body: Any, media: str) -> Callable[[Object], Any]:
    """What the patch makes of an object, as a fresh copy; raises ApiError 415."""
    if request.force:
        raise bad_request("force is forbidden for non-apply patch")
    if media == JSON_PATCH:
        return lambda old: codec.copied(json_patch(old, body))
    if media == MERGE_PATCH:
        return lambda old: codec.copied(merge_patch(old, body))
    if media == STRATEGIC_PATCH:
        if request.rtype.is_custom:
            raise unsupported(media, TYPES[:3])
        return lambda old: codec.copied(strategic_merge(old, body, request.rtype.schema))
    raise unsupported(media, TYPES)


async def _apply(api: Api, request: Request, body: Any) -> Object:
    if not isinstance(body, dict):
        raise bad_request("the applied configuration must be an object")
    if not request.field_manager:
        raise bad_request("fieldManager is required for apply patch")
    strategy.check_body(request, body)
    if body["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    check_fields(request, body)
    schema, manager, now = request.rtype.schema, request.field_manager, api.clock.now()
    while True:
        if api.objects.entry(request.rtype, request.namespace, request.name) is None and not request.subresource:
            first = apply(None, body, manager, request.force, schema, now=now)
            try:
                return await store_new(api, request, first, managed=True)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise

        def produce(old: Object) -> Object:
            by_kubectl = manager == last_applied.MANAGER and not request.subresource
            mine = last_applied.fields(old, schema) if by_kubectl else frozenset()
            result = apply(old, body, manager, request.force, schema, request.subresource, now=now, yielding=mine)
            new = codec.copied(result)
            if by_kubectl:
                last_applied.refresh(new, body)
            new["metadata"]["resourceVersion"] = body["metadata"].get("resourceVersion")
            return new

        try:
            return await mutate(api, request, produce, managed=True)
        except ApiError as error:
            if error.reason != "NotFound" or request.subresource:
                raise
