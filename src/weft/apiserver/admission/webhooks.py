"""Mutating and validating admission webhooks.

In: a write, and the configurations in the cache. Out: the object as the webhooks made it, warnings, or the refusal.
Mutating ones are asked one after another, in the order of their configurations' names; validating ones all at once.
Source: apiserver `pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go`, `request`, `errors`.
"""

import asyncio
import binascii
import logging
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from weft.api.gvr import GVR
from weft.api.patch import json_patch
from weft.api.status import ApiError, bad_request
from weft.apiserver import codec
from weft.apiserver.admission.calls import CallError, Calls
from weft.apiserver.admission.matching import check_conditions, is_exempt, is_meant, variables_of
from weft.apiserver.admission.review import review_request
from weft.apiserver.api import Api, Attributes, Object

_log = logging.getLogger(__name__)
MUTATING = GVR("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
VALIDATING = GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")


@dataclass(frozen=True, slots=True)
class _Answer:
    patch: list[Any] | None = None


class Webhooks:
    """`mutate` and `validate` a write; both raise ApiError."""

    def __init__(self, api: Api, calls: Calls) -> None:
        self._api = api
        self._calls = calls

    async def mutate(self, attributes: Attributes) -> bool:
        """Whether the object changed."""
        asked: list[tuple[Object, Object]] = []
        changed = False
        for hook in list(self._meant(MUTATING, attributes)):
            changed = await self._mutate_once(hook, attributes) or changed
            asked.append((hook, attributes.obj))
        for hook, result in asked:
            # What others made of the object after this one saw it, it may want to see (reinvocationPolicy).
            if hook.get("reinvocationPolicy") == "IfNeeded" and result != attributes.obj:
                changed = await self._mutate_once(hook, attributes) or changed
        return changed

    async def _mutate_once(self, hook: Object, attributes: Attributes) -> bool:
        answer = await self._ask(hook, attributes)
        if answer is None or not answer.patch or attributes.operation == "DELETE":
            return False
        try:
            patched = json_patch(attributes.obj, answer.patch)
        except ApiError as error:
            raise _internal(f"failed calling webhook {_quoted(hook)}: {error.message}") from None
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise _internal(f"failed calling webhook {_quoted(hook)}: the patched object has no metadata")
        new = codec.copied(patched)
        for field in ("name", "namespace", "uid"):  # whose object it is, a webhook may not say
            if field in attributes.obj["metadata"]:
                new["metadata"][field] = attributes.obj["metadata"][field]
        new["apiVersion"], new["kind"] = attributes.obj["apiVersion"], attributes.obj["kind"]
        if new == attributes.obj:
            return False
        attributes.obj = new
        return True

    async def validate(self, attributes: Attributes) -> None:
        hooks = list(self._meant(VALIDATING, attributes))
        if not hooks:
            return
        found = await asyncio.gather(*(self._ask(hook, attributes) for hook in hooks), return_exceptions=True)
        for result in found:
            if isinstance(result, BaseException):
                raise result

    def _meant(self, gvr: GVR, attributes: Attributes) -> Iterator[Object]:
        rtype = self._api.kinds.by_gvr(gvr)
        if rtype is None or not self._api.objects.hub(rtype).entries or is_exempt(attributes):
            return
        for configuration in list(self._api.objects.each(rtype)):
            for hook in configuration.get("webhooks") or ():
                if is_meant(hook, hook.get("rules") or (), attributes):
                    yield hook

    async def _ask(self, hook: Object, attributes: Attributes) -> _Answer | None:
        """None where the webhook does not want to be asked, or failed and may."""
        request = review_request(attributes)
        ignores = hook.get("failurePolicy") == "Ignore"
        if conditions := hook.get("matchConditions"):
            from weft.api.cel import STEPS, Budget

            said = check_conditions(conditions, variables_of(attributes, request), Budget(STEPS))
            if said.error and not ignores:
                raise forbidden(attributes, said.error)
            if not said.met:
                return None
        if attributes.request.dry_run and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f"admission webhook {_quoted(hook)} does not support dry run")
        try:
            return await self._call(hook, request, attributes)
        except CallError as error:
            if ignores:
                _log.warning("failed open: webhook %s: %s", hook.get("name"), error)
                return None
            raise _internal(f"failed calling webhook {_quoted(hook)}: failed to call webhook: {error}") from None

    async def _call(self, hook: Object, request: Object, attributes: Attributes) -> _Answer:
        review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
        answer = await self._calls.post(hook.get("clientConfig") or {}, review, hook.get("timeoutSeconds") or 10)
        response = _response(answer, request)
        warnings = response.get("warnings") or ()
        attributes.request.warnings += [str(each) for each in warnings]
        if annotations := response.get("auditAnnotations"):
            _log.info("webhook %s: %s", hook.get("name"), annotations)
        if response.get("allowed") is not True:
            raise _denied(hook, response.get("status"))
        if "patch" not in response:
            return _Answer()
        if response.get("patchType") != "JSONPatch":
            raise CallError(f"invalid response.patchType: {response.get('patchType')!r}, expected JSONPatch")
        try:
            operations = orjson.loads(b64decode(response["patch"], validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise CallError(f"couldn't decode the patch: {error}") from None
        return _Answer(operations)


def _response(answer: Object, request: Object) -> Object:
    if answer.get("kind") != "AdmissionReview" or answer.get("apiVersion") != "admission.k8s.io/v1":
        raise CallError(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, "
            f"got {answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallError("webhook response was absent")
    if response.get("uid") != request["uid"]:
        raise CallError(f'expected response.uid="{request["uid"]}", got "{response.get("uid", "")}"')
    return response


def _denied(hook: Object, status: Any) -> ApiError:
    status = status if isinstance(status, dict) else {}
    message, reason = str(status.get("message") or ""), str(status.get("reason") or "")
    code = status.get("code")
    text = f"admission webhook {_quoted(hook)} denied the request"
    text += f": {message or reason}" if message or reason else " without explanation"
    return ApiError(reason, text, code=code if isinstance(code, int) and 400 <= code < 600 else 400)


def _quoted(hook: Object) -> str:
    return f'"{hook.get("name")}"'


def _internal(message: str) -> ApiError:
    return ApiError("InternalError", f"Internal error occurred: {message}")


def forbidden(attributes: Attributes, why: str) -> ApiError:
    """As apiserver's `admission.NewForbidden` words it."""
    request = attributes.request
    name = request.name or str(attributes.obj["metadata"].get("name", ""))
    full = f"{request.resource}.{request.group}" if request.group else request.resource
    return ApiError(
        "Forbidden", f'{full} "{name}" is forbidden: {why}', kind=request.resource, group=request.group, name=name
    )
