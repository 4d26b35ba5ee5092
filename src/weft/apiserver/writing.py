"""The way of every write from a body to the store: decode checks, defaults, admission, validation, commit, retry.

In: what a verb wants stored. Out: the object as stored, shared. Reading, changing and writing is one loop with
optimistic locking: a write names the revision it is based on, and is done again when another came first, unless the
client itself named a revision.
"""

from collections.abc import Callable

from weft.api.defaults import apply_defaults
from weft.api.patch import update_managed_fields
from weft.api.status import ApiError, already_exists, conflict, not_found
from weft.api.validation import (
    check_types,
    invalid,
    prune,
    strict_decoding_error,
    unknown_fields,
    validate,
    validate_update,
)
from weft.apiserver import codec, strategy
from weft.apiserver.api import Api, Attributes, Object
from weft.apiserver.cache import Entry
from weft.apiserver.objects import Write, as_version
from weft.apiserver.request import Request
from weft.store.base import Compare

# A write that lost this many races in a row gives up with a conflict.
_ATTEMPTS = 50


def check_fields(request: Request, obj: Object) -> None:
    """Types always (400); unknown fields as fieldValidation says: refused, warned of, or ignored."""
    check_types(obj, request.rtype)
    if request.validation == "Ignore":
        return
    problems = unknown_fields(obj, request.rtype)
    if not problems:
        return
    if request.validation == "Strict":
        raise strict_decoding_error(problems, request.rtype)
    request.warnings += problems


async def store_new(api: Api, request: Request, body: Object, *, managed: bool = False) -> Object:
    """Creates an object of a body that is the caller's own; raises ApiError.

    `managed` says that the body brings its managedFields along, as server-side apply does.
    """
    rtype = request.rtype
    for _ in range(_ATTEMPTS):
        obj = codec.copied(body)
        generated = strategy.generate_name(obj["metadata"])
        strategy.prepare_create(rtype, obj, api.clock.now())
        prune(obj, rtype)
        apply_defaults(obj, rtype)
        write = Write()
        attributes = Attributes(api, request, "CREATE", obj, None, write)
        await api.complete(attributes)
        obj = attributes.obj
        errors = validate(obj, rtype) + api.extra_errors(rtype, obj)
        if errors:
            raise invalid(errors, rtype, str(obj["metadata"].get("name", "")))
        if not managed:
            obj["metadata"].pop("managedFields", None)
            _manage(api, request, None, obj)
        name = obj["metadata"]["name"]
        key = api.objects.key(rtype, request.namespace, name)
        if api.objects.entry(rtype, request.namespace, name) is not None:
            if generated:
                continue
            raise already_exists(request.resource, name, request.group)
        await api.approve(attributes)
        stored = await api.converter.stored(rtype, obj)
        async with api.turn(request):
            api.count(attributes)
            if request.dry_run:
                return obj
            write.compares.append(Compare(key, 0))
            write.puts.append((key, stored))
            if await api.objects.commit(write):
                return api.kept(rtype, obj, stored)
    raise ApiError("Conflict", f"cannot create {request.resource}: too many others write at the same time")


async def mutate(api: Api, request: Request, produce: Callable[[Object], Object], *, managed: bool = False) -> Object:
    """Replaces an object by what `produce` makes of it: a new object; the old one is shared and stays as it is.

    The result is the object as stored, the old one where nothing changed. Raises ApiError.
    """
    rtype = request.rtype
    for _ in range(_ATTEMPTS):
        entry = api.objects.entry(rtype, request.namespace, request.name)
        if entry is None:
            raise not_found(request.resource, request.name, request.group)
        await api.converter.prepare(rtype, (entry.object,))
        old = as_version(entry.object, rtype)
        new = produce(old)
        pinned = strategy.check_version(request, new, old)
        stored = await _replace(api, request, entry, new, old, managed)
        if stored is not None:
            return stored
        if pinned:
            break
    raise conflict(request.resource, request.name, request.group)


async def _replace(api: Api, request: Request, entry: Entry, new: Object, old: Object, managed: bool) -> Object | None:
    """One attempt; None where another write came first."""
    rtype = request.rtype
    strategy.prepare_update(request, new, old)
    prune(new, rtype)
    apply_defaults(new, rtype)
    write = Write()
    attributes = Attributes(api, request, "UPDATE", new, old, write)
    await api.complete(attributes)
    new = attributes.obj
    strategy.count_generation(rtype, new, old)
    # A binding changes what nobody else may change.
    errors = validate(new, rtype) if request.subresource == "binding" else validate_update(new, old, rtype)
    errors = errors + api.extra_errors(rtype, new)
    if errors:
        raise invalid(errors, rtype, old["metadata"]["name"])
    strategy.check_finalizers(request, new, old)
    if not managed:
        _manage(api, request, old, new)
    await api.approve(attributes)
    if strategy.is_gone(new):
        return await remove(api, request, entry, new)
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    if strategy.unchanged(new, old):
        return old
    stored = await api.converter.stored(rtype, new)
    async with api.turn(request):
        api.count(attributes)
        if request.dry_run:
            return new
        write.compares.append(Compare(entry.key, entry.revision))
        write.puts.append((entry.key, stored))
        return api.kept(rtype, new, stored) if await api.objects.commit(write) else None


async def remove(api: Api, request: Request, entry: Entry, last: Object) -> Object | None:
    """Takes an object out of the store; its last state, or None where another write came first."""
    if request.dry_run:
        return last
    async with api.turn(request):
        write = Write()
        api.admit(Attributes(api, request, "DELETE", last, last, write))
        write.compares.append(Compare(entry.key, entry.revision))
        write.deletes.append(entry.key)
        return last if await api.objects.commit(write) else None


def _manage(api: Api, request: Request, old: Object | None, new: Object) -> None:
    manager = request.field_manager or request.user.name
    new["metadata"]["managedFields"] = update_managed_fields(
        old, new, manager, request.rtype.schema, subresource=request.subresource, now=api.clock.now()
    )
