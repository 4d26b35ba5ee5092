"""An API in memory, for tests of controllers: `weft.client.base.Client` without server, store, admission or waiting.

    client = FakeClient(clock=FakeClock())
    await client.create(PODS, {"metadata": {"name": "a"}, "spec": {...}}, "default")

Kinds, defaults, validation, patches and the rules of metadata are the real server's; of admission there is only what
namespaces need, and server-side apply and /scale are not there. What a real server cannot be asked for is: `fail` makes
calls fail, `hold` and `release` let watches lag behind, `break_watches` and `forget_history` end them as networks and
compaction do. `tests/unit/client` holds it to the behaviour of the real client.
"""

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from weft.api.defaults import apply_defaults
from weft.api.gvr import GVR, NAMESPACES, PODS
from weft.api.kinds import Kinds, ResourceType
from weft.api.patch import json_patch, merge_patch, strategic_merge
from weft.api.selectors import FieldSelector, LabelSelector
from weft.api.status import ApiError, Cause, already_exists, bad_request, conflict, not_found
from weft.api.validation import invalid, validate, validate_update
from weft.api.values import clone
from weft.apiserver import strategy
from weft.apiserver.request import Request
from weft.client.base import ListResult, Object, PatchType, Propagation, WatchEvent
from weft.core.clock import Clock, SystemClock, rfc3339
from weft.core.errors import UnavailableError

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "create_subresource"]
Key = tuple[str, str]
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_FINALIZERS: dict[Propagation, str] = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


@dataclass(frozen=True, slots=True)
class Change:
    """One write; `old` is None for a new object, `new` for one that is gone (`last` is its last state)."""

    revision: int
    gvr: GVR
    old: Object | None
    new: Object | None
    last: Object


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or watch is about."""

    namespace: str | None
    labels: LabelSelector
    fields: FieldSelector

    def matches(self, obj: Object | None) -> bool:
        return (
            obj is not None
            and (not self.namespace or obj["metadata"].get("namespace") == self.namespace)
            and self.labels.matches(obj["metadata"].get("labels"))
            and self.fields.matches(obj)
        )


class FakeClient:
    """Has the namespaces that every cluster has. `calls` lists every call as (verb, resource, name)."""

    def __init__(self, *, clock: Clock | None = None, kinds: Kinds | None = None) -> None:
        self.kinds = kinds or Kinds.builtin()
        self.clock = clock or SystemClock()
        self.calls: list[tuple[Verb, str, str]] = []
        self._objects: dict[GVR, dict[Key, Object]] = {}
        self._history: list[Change] = []
        self._revision = self._forgotten = 1
        self._held: int | None = None
        self._moved = asyncio.Event()
        self._breaks = 0
        self._failures: deque[tuple[Verb, GVR | None, Exception]] = deque()
        for name in _NAMESPACES:
            self._create(NAMESPACES, {"metadata": {"name": name}}, None)

    # What tests may ask for

    def fail(self, verb: Verb, error: Exception, gvr: GVR | None = None, times: int = 1) -> None:
        """The next `times` calls of `verb` (on `gvr` only) raise `error` and do nothing."""
        self._failures.extend([(verb, gvr, error)] * times)

    def hold(self) -> None:
        """Watches see nothing more until `release`, as caches that lag behind; lists do."""
        self._held = self._revision

    def release(self) -> None:
        self._held = None
        self._wake()

    def break_watches(self) -> None:
        """All present watches raise UnavailableError."""
        self._breaks += 1
        self._wake()

    def forget_history(self) -> None:
        """Watches that have not caught up, and those that start in the past, get 410 Expired."""
        self._history.clear()
        self._forgotten = self._revision
        self._wake()

    def all(self, gvr: GVR, namespace: str | None = None) -> list[Object]:
        """The present objects, by name, without a call."""
        found = sorted(self._objects.get(gvr, {}).items())
        return [obj for key, obj in found if namespace is None or key[0] == namespace]

    # The Client

    async def get(self, gvr: GVR, name: str, namespace: str | None = None) -> Object:
        return self._present(self._called("get", gvr, namespace, name))

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
        request = self._called("list", gvr, namespace)
        selection = self._selection(request, label_selector, field_selector)
        start = int(continue_token or 0)
        items = [obj for obj in self.all(gvr) if selection.matches(obj)][start:]
        more = bool(limit) and len(items) > limit
        return ListResult(items[:limit] if more else items, str(self._revision), str(start + limit) if more else "")

    async def watch(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        request = self._called("watch", gvr, namespace)
        selection = self._selection(request, label_selector, field_selector)
        if not resource_version.isdigit():
            raise bad_request(f'invalid resourceVersion: Invalid value: "{resource_version}"')
        seen, breaks = int(resource_version), self._breaks
        if seen > self._revision:
            raise ApiError("Timeout", f"Too large resource version: {seen}, current: {self._revision}")
        while True:
            moved = self._moved
            if breaks != self._breaks:
                raise UnavailableError(f"the watch of {gvr} broke")
            if seen < self._forgotten:
                raise ApiError("Expired", f"too old resource version: {seen} ({self._forgotten})")
            upto = self._revision if self._held is None else self._held
            start = bisect_right(self._history, seen, key=lambda change: change.revision)
            for change in self._history[start:]:
                if change.revision > upto:
                    break
                if change.gvr == gvr and (event := _event(change, selection)) is not None:
                    yield event
            seen = max(seen, upto)
            await moved.wait()

    async def create(self, gvr: GVR, obj: Object, namespace: str | None = None) -> Object:
        namespace = namespace or (obj.get("metadata") or {}).get("namespace")
        self._called("create", gvr, namespace, (obj.get("metadata") or {}).get("name", ""))
        return self._create(gvr, obj, namespace)

    async def update(self, gvr: GVR, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj.get("metadata") or {}
        request = self._called("update", gvr, metadata.get("namespace"), metadata.get("name", ""), subresource)
        new = clone(obj)
        strategy.check_body(request, new)
        if subresource == "finalize":
            new = {**clone(self._present(request)), "spec": {"finalizers": obj["spec"].get("finalizers") or []}}
            new["metadata"]["resourceVersion"] = metadata.get("resourceVersion")
        return self._replace(request, new)

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
        request = self._called("patch", gvr, namespace, name, subresource)
        old = self._present(request)
        match patch_type:
            case "application/json-patch+json":
                new = clone(json_patch(old, patch))
            case "application/merge-patch+json":
                new = clone(merge_patch(old, patch))
            case "application/strategic-merge-patch+json" if not request.rtype.is_custom:
                new = clone(strategic_merge(old, patch, request.rtype.schema))
            case _:
                raise ApiError("UnsupportedMediaType", f"{patch_type} is not supported here")
        strategy.check_body(request, new)
        return self._replace(request, new)

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
        request = self._called("delete", gvr, namespace, name)
        old = self._present(request)
        for label, field, asked in (("UID", "uid", uid), ("ResourceVersion", "resourceVersion", resource_version)):
            if asked and asked != old["metadata"][field]:
                raise conflict(gvr.resource, name, gvr.group, f"Precondition failed: {label} in precondition: {asked}")
        new = clone(old)
        metadata = new["metadata"]
        if propagation is not None:
            others = [each for each in metadata.get("finalizers") or [] if each not in _FINALIZERS.values()]
            wanted = [_FINALIZERS[propagation]] if propagation in _FINALIZERS else []
            metadata["finalizers"] = others + wanted
        grace = _grace(gvr, new, grace_period_seconds)
        if grace < metadata.get("deletionGracePeriodSeconds", grace + 1):
            metadata |= {"deletionGracePeriodSeconds": grace, "deletionTimestamp": rfc3339(self.clock.now() + grace)}
        if gvr == NAMESPACES:
            new["status"]["phase"] = "Terminating"
        if not metadata.get("finalizers"):
            metadata.pop("finalizers", None)
        if strategy.is_gone(new):
            self._write(gvr, old, None)
            return old
        if new != old:
            if "deletionTimestamp" not in old["metadata"] and "generation" in metadata:
                metadata["generation"] += 1
            return self._write(gvr, old, new)
        return old

    async def create_subresource(
        self, gvr: GVR, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        request = self._called("create_subresource", gvr, namespace, name, subresource)
        if subresource == "eviction":
            return await self.delete(gvr, name, namespace)
        if subresource != "binding":
            raise ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        old = self._present(request)
        uid = (body.get("metadata") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise conflict("pods/binding", name, "", f"Precondition failed: UID in precondition: {uid}")
        if old["spec"].get("nodeName"):
            raise conflict(
                "pods/binding", name, "", f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"'
            )
        if "deletionTimestamp" in old["metadata"]:
            raise conflict("pods/binding", name, "", f"pod {name} is being deleted, cannot be assigned to a host")
        new = clone(old)
        new["spec"]["nodeName"] = body["target"]["name"]
        others = [each for each in new["status"].get("conditions") or [] if each["type"] != "PodScheduled"]
        stamp = rfc3339(self.clock.now())
        new["status"]["conditions"] = [*others, {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp}]
        self._write(PODS, old, new)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    # How it is done

    def _called(
        self, verb: Verb, gvr: GVR, namespace: str | None, name: str = "", subresource: str | None = None
    ) -> Request:
        """Notes the call, fails it if a test wants that, and checks that there is such a resource."""
        self.calls.append((verb, f"{gvr.resource}/{subresource}" if subresource else gvr.resource, name))
        for failure in self._failures:
            if failure[0] == verb and failure[1] in (None, gvr):
                self._failures.remove(failure)
                raise failure[2]
        rtype = self._type(gvr)
        if (namespace and not rtype.namespaced) or (subresource and subresource not in rtype.subresources):
            raise ApiError("NotFound", "the server could not find the requested resource")
        return Request(rtype, namespace or None, name, subresource or "")

    def _type(self, gvr: GVR) -> ResourceType:
        rtype = self.kinds.by_gvr(gvr)
        if rtype is None:
            raise ApiError("NotFound", "the server could not find the requested resource")
        return rtype

    def _selection(self, request: Request, labels: str, fields: str) -> Selection:
        parsed = FieldSelector.parse(fields, request.rtype)
        return Selection(request.namespace, LabelSelector.parse(labels), parsed)

    def _present(self, request: Request) -> Object:
        key = (request.namespace or "", request.name)
        found = self._objects.get(request.rtype.gvr, {}).get(key)
        if found is None:
            raise not_found(request.resource, request.name, request.group)
        return found

    def _create(self, gvr: GVR, obj: Object, namespace: str | None) -> Object:
        request = Request(self._type(gvr), namespace)
        new = clone(obj)
        strategy.check_body(request, new)
        if new["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        strategy.generate_name(new["metadata"])
        strategy.prepare_create(request.rtype, new, self.clock.now())
        apply_defaults(new, request.rtype)
        self._check_namespace(request, new)
        if errors := validate(new, request.rtype):
            raise invalid(errors, request.rtype, new["metadata"].get("name", ""))
        key = (new["metadata"].get("namespace", ""), new["metadata"]["name"])
        if key in self._objects.get(gvr, {}):
            raise already_exists(request.resource, key[1], request.group)
        return self._write(gvr, None, new)

    def _check_namespace(self, request: Request, obj: Object) -> None:
        if not request.rtype.namespaced:
            return
        name = obj["metadata"]["namespace"]
        namespace = self._objects[NAMESPACES].get(("", name))
        if namespace is None:
            raise not_found("namespaces", name)
        if "deletionTimestamp" in namespace["metadata"]:
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise ApiError("Forbidden", why, causes=[Cause("NamespaceTerminating", why, "metadata.namespace")])

    def _replace(self, request: Request, new: Object) -> Object:
        old = self._present(request)
        strategy.check_version(request, new, old)
        strategy.prepare_update(request, new, old)
        apply_defaults(new, request.rtype)
        if request.rtype.gvr == NAMESPACES and request.subresource != "finalize":
            new["spec"] = old["spec"]
        strategy.count_generation(request.rtype, new, old)
        if errors := validate_update(new, old, request.rtype):
            raise invalid(errors, request.rtype, request.name)
        strategy.check_finalizers(request, new, old)
        if strategy.is_gone(new):
            self._write(request.rtype.gvr, old, None)
            return new
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        return old if strategy.unchanged(new, old) else self._write(request.rtype.gvr, old, new)

    def _write(self, gvr: GVR, old: Object | None, new: Object | None) -> Object:
        last = new if new is not None else old
        assert last is not None
        self._revision += 1
        if new is not None:
            new["metadata"]["resourceVersion"] = str(self._revision)
        else:
            last = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self._revision)}}
        key = (last["metadata"].get("namespace", ""), last["metadata"]["name"])
        objects = self._objects.setdefault(gvr, {})
        if new is None:
            del objects[key]
        else:
            objects[key] = new
        self._history.append(Change(self._revision, gvr, old, new, last))
        self._wake()
        return last

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _grace(gvr: GVR, obj: Object, asked: int | None) -> int:
    """Only pods that a node runs are given time."""
    if gvr != PODS or not obj["spec"].get("nodeName") or obj["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    wanted = asked if asked is not None else obj["spec"].get("terminationGracePeriodSeconds", 30)
    return max(int(wanted), 1) if wanted else 0


def _event(change: Change, selection: Selection) -> WatchEvent | None:
    before, after = selection.matches(change.old), selection.matches(change.new)
    if after:
        return WatchEvent("MODIFIED" if before else "ADDED", change.last)
    if not before or change.old is None:
        return None
    version = str(change.revision)  # an object that stops to match is shown as it last did
    return WatchEvent("DELETED", {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": version}})


async def eventually(check: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until `check` holds, looking every millisecond; raises AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.001)
