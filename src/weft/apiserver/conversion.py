"""Custom resources between their versions, by the CRD's conversion webhook.

In: objects as they are stored, and the version that is asked for; or an object to be stored. Out: the same objects in
the other version, kept beside the kind until it changes, so that reading needs no webhook twice.
Source: apiextensions `pkg/apiserver/conversion/webhook_converter.go`; `pkg/apis/apiextensions/v1` ConversionReview.
"""

from collections.abc import Iterable
from typing import Any

from weft.api.kinds import ResourceType
from weft.api.status import ApiError
from weft.apiserver.admission.calls import CallError, Calls
from weft.apiserver.api import Object
from weft.apiserver.objects import identity
from weft.core.ids import uid

# Objects kept in another version than the stored one, for each kind.
_KEPT = 5000


class Conversions:
    """`weft.apiserver.api.Converter`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def prepare(self, rtype: ResourceType, objects: Iterable[Object]) -> None:
        """Sees to it that `as_version` knows these; raises ApiError."""
        if rtype.conversion is None:
            return
        version = rtype.gvr.api_version
        others = [obj for obj in objects if obj.get("apiVersion") != version]
        missing = [obj for obj in others if identity(obj) not in rtype.converted]
        if not missing:
            return
        if len(rtype.converted) + len(missing) > _KEPT:
            rtype.converted.clear()
            missing = others
        for obj, made in zip(missing, await self._convert(rtype, version, missing), strict=True):
            rtype.converted[identity(obj)] = made

    async def stored(self, rtype: ResourceType, obj: Object) -> Object:
        """The object in the version that is stored."""
        if rtype.conversion is None or rtype.gvr.version == rtype.storage_version:
            return obj
        (made,) = await self._convert(rtype, f"{rtype.gvr.group}/{rtype.storage_version}", [obj])
        return made

    async def _convert(self, rtype: ResourceType, version: str, objects: list[Object]) -> list[Object]:
        assert rtype.conversion is not None
        failed = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={rtype.kind} failed: "
        request = {"uid": uid(), "desiredAPIVersion": version, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "request": request}
        try:
            answer = await self._calls.post(dict(rtype.conversion), review, 30)
            return _checked(answer, request, objects)
        except CallError as error:
            raise ApiError("InternalError", failed + str(error)) from None


def _checked(answer: Object, request: Object, objects: list[Object]) -> list[Object]:
    response = answer.get("response")
    if answer.get("kind") != "ConversionReview" or not isinstance(response, dict):
        raise CallError("invalid response: expected a ConversionReview with a response")
    if response.get("uid") != request["uid"]:
        raise CallError(f'expected response.uid="{request["uid"]}", got "{response.get("uid", "")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise CallError(str(result.get("message") or "no reason was given"))
    made = response.get("convertedObjects")
    if not isinstance(made, list) or len(made) != len(objects):
        count = len(made) if isinstance(made, list) else 0
        raise CallError(f"webhook returned {count} objects, expected {len(objects)}")
    return [_one(index, each, obj, request) for index, (each, obj) in enumerate(zip(made, objects, strict=True))]


def _one(index: int, made: Any, obj: Object, request: Object) -> Object:
    """Only labels and annotations of metadata may be converted."""
    if not isinstance(made, dict) or made.get("apiVersion") != request["desiredAPIVersion"]:
        raise CallError(f"invalid converted object at index {index}: wrong apiVersion")
    if made.get("kind") != obj.get("kind"):
        raise CallError(f"invalid converted object at index {index}: wrong kind")
    theirs = made.get("metadata")
    if not isinstance(theirs, dict):
        raise CallError(f"invalid metadata of converted object at index {index}")
    for key in ("name", "namespace", "uid"):
        if theirs.get(key) != obj["metadata"].get(key):
            raise CallError(f"invalid metadata of converted object at index {index}: metadata.{key} changed")
    metadata = dict(obj["metadata"])
    for key in ("labels", "annotations"):
        metadata.pop(key, None)
        if theirs.get(key):
            metadata[key] = theirs[key]
    return {**made, "metadata": metadata}
