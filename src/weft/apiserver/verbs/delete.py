"""DELETE an object: at once, after its finalizers, or after a pod's grace period.

What hangs on an object is not deleted here: Background leaves it to the garbage collector, which finds owners gone;
Foreground and Orphan leave a finalizer that the garbage collector works off (kubernetes.io, "Garbage Collection").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.api.status import ApiError, bad_request, conflict, not_found
from weft.apiserver import codec, strategy
from weft.apiserver.api import Api, Attributes, Object
from weft.apiserver.objects import Write, as_version
from weft.apiserver.request import Request, flag, number
from weft.apiserver.writing import remove
from weft.core.clock import parse_rfc3339, rfc3339
from weft.store.base import Compare

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_ORPHANS_BY_DEFAULT = frozenset({("batch", "jobs"), ("", "replicationcontrollers")})
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions, as far as deletion knows them; None where not given."""

    grace: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False

    @classmethod
    def read(cls, body: Object | None, query: Mapping[str, str]) -> "DeleteOptions":
        """Raises ApiError 400."""
        body = body or {}
        grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
        if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
            raise bad_request("gracePeriodSeconds must be a number")
        propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or None
        orphan: Any = body.get("orphanDependents")
        if orphan is None and "orphanDependents" in query:
            orphan = flag(query, "orphanDependents")
        if orphan is not None:
            if propagation:
                raise bad_request("orphanDependents and propagationPolicy cannot be both set")
            propagation = "Orphan" if orphan else "Background"
        if propagation not in (None, "Background", "Foreground", "Orphan"):
            raise ApiError(
                "Invalid",
                f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{propagation}": '
                'supported values: "Background", "Foreground", "Orphan"',
            )
        conditions = body.get("preconditions") or {}
        dry_run = body.get("dryRun") or []
        if dry_run not in ([], ["All"]):
            raise bad_request("invalid value for dryRun, must be All")
        version = conditions.get("resourceVersion")
        return cls(grace, propagation, conditions.get("uid"), version, bool(dry_run))


async def delete(api: Api, request: Request, options: DeleteOptions) -> tuple[Object, bool]:
    """The object's last state, and whether it is gone for good; raises ApiError (404, 409)."""
    request.dry_run = request.dry_run or options.dry_run
    await _ask(api, request)
    for _ in range(_ATTEMPTS):
        entry = api.objects.entry(request.rtype, request.namespace, request.name)
        if entry is None:
            raise not_found(request.resource, request.name, request.group)
        await api.converter.prepare(request.rtype, (entry.object,))
        old = as_version(entry.object, request.rtype)
        _check_preconditions(request, options, old)
        new = codec.copied(old)
        _mark(api, request, options, new)
        if strategy.is_gone(new):
            last = await remove(api, request, entry, codec.copied(old))
            if last is not None:
                return last, True
            continue
        if new == old:
            return old, False
        if request.dry_run:
            return new, False
        same = new["apiVersion"] == entry.object["apiVersion"]
        stored = new if same else {**entry.object, "metadata": new["metadata"]}
        write = Write([Compare(entry.key, entry.revision)], [(entry.key, stored)])
        api.admit(Attributes(api, request, "DELETE", new, old, write))
        if await api.objects.commit(write):
            return api.kept(request.rtype, new, stored), False
    raise conflict(request.resource, request.name, request.group)


async def _ask(api: Api, request: Request) -> None:
    """Webhooks and policies hear of the deletion before anything of it is done."""
    await api.prepare(request)
    present = api.objects.get(request.rtype, request.namespace, request.name)
    if present is not None:
        attributes = Attributes(api, request, "DELETE", present, present, Write())
        await api.hooks.mutate(attributes)
        await api.hooks.validate(attributes)


def _check_preconditions(request: Request, options: DeleteOptions, old: Object) -> None:
    metadata = old["metadata"]
    for label, field, asked in (
        ("UID", "uid", options.uid),
        ("ResourceVersion", "resourceVersion", options.resource_version),
    ):
        if asked and asked != metadata[field]:
            why = f"Precondition failed: {label} in precondition: {asked}, {label} in object meta: {metadata[field]}"
            raise conflict(request.resource, metadata["name"], request.group, why)


def _mark(api: Api, request: Request, options: DeleteOptions, obj: Object) -> None:
    """Writes into a copy of the object what its deletion asks for."""
    metadata = obj["metadata"]
    _set_finalizers(request, options, metadata)
    grace = _grace(request, options, obj)
    now = api.clock.now()
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        # A second request may only shorten what is left; counted from when the first one came.
        began = parse_rfc3339(metadata["deletionTimestamp"]) - metadata["deletionGracePeriodSeconds"]
        metadata["deletionTimestamp"] = rfc3339(began + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if obj["kind"] == "Namespace":
        obj.setdefault("status", {})["phase"] = "Terminating"


def _set_finalizers(request: Request, options: DeleteOptions, metadata: Object) -> None:
    finalizers = list(metadata.get("finalizers") or [])
    which = (request.group, request.resource)
    policy = options.propagation
    if policy is None:
        if ORPHAN in finalizers or FOREGROUND in finalizers:
            return
        policy = "Orphan" if which in _ORPHANS_BY_DEFAULT else "Background"
        if policy == "Orphan":
            request.warnings.append(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to "
                "remove them or set propagationPolicy=Orphan to suppress this warning"
            )
    finalizers = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        finalizers.append(ORPHAN)
    elif policy == "Foreground":
        finalizers.append(FOREGROUND)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _grace(request: Request, options: DeleteOptions, obj: Object) -> int:
    """Only pods that a node runs are given time."""
    if (request.group, request.resource) != ("", "pods"):
        return 0
    spec = obj.get("spec", {})
    if not spec.get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    wanted = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 30)
    return max(int(wanted), 1) if wanted != 0 else 0
