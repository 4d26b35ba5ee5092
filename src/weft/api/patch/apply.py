"""Server-side apply, and who owns which fields after any other write.

In: the live object, what a manager applied (or the object that a write made), the schema. Out: the new object, or the
new managedFields. A manager owns what it applied; what it owned, applies no longer and nobody else owns is removed; to
change what another owns is a conflict unless forced. Source: KEP-555, sigs.k8s.io/structured-merge-diff `merge`.
"""

from typing import Any

import orjson

from weft.api.decoding import prune_value
from weft.api.patch import fieldset
from weft.api.patch.fieldset import Path, Trie
from weft.api.patch.managers import Manager, decode, disown, encode
from weft.api.schema import Schema, definition_schema
from weft.api.status import ApiError, Cause, bad_request
from weft.api.values import clone
from weft.core.clock import rfc3339

Object = dict[str, Any]

_ANY = definition_schema("any")
_FIELDS_OF_NEW: dict[tuple[Schema, bytes], Trie] = {}
_REMEMBERED = 512
_IDENTITY = ("apiVersion", "kind", "metadata")


def apply(
    live: Object | None,
    applied: Object,
    manager: str,
    force: bool,
    schema: Schema,
    subresource: str = "",
    *,
    now: float | None = None,
    yielding: frozenset[Path] = frozenset(),
) -> Object:
    """The object after `manager` applied `applied`, with its managedFields; raises ApiError Conflict, BadRequest.

    Fields in `yielding` are taken from whoever owns them.
    """
    metadata = applied.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("the applied configuration has no metadata")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    wanted = clone(_without_others_fields(applied, schema, subresource))
    prune_value(wanted, schema)
    _check_lists(wanted, schema)
    managers = _with_unmanaged(live, schema)
    mine = Manager(manager, "Apply", str(applied.get("apiVersion", "")), subresource, _stamp(now))
    for path in fieldset.of(wanted, schema):
        fieldset.insert(mine.fields, path)
    disown(mine.fields)
    last = next((each for each in managers if each.is_same(mine)), None)
    others = [each for each in managers if each is not last]

    base = live or {}
    merged: Object = _merge(base, wanted, schema)
    if last is not None:
        _remove_abandoned(merged, wanted, last.fields, mine.fields, others, schema)
        if last.fields == mine.fields and live is not None and _same_but_metadata(merged, live):
            mine.time = last.time

    added: set[Path] = set()
    changed: set[Path] = set()
    removed: set[Path] = set()
    if live is not None:
        fieldset.difference(base, merged, schema, (), added, changed, removed)
    touched = sorted(added | changed)
    conflicts = [(each, path) for each in others for path in touched if fieldset.contains(each.fields, path)]
    refused = [(each, path) for each, path in conflicts if path not in yielding]
    if refused and not force:
        raise _conflict(refused)
    for each, path in conflicts:
        fieldset.remove(each.fields, path)
    for path in removed:
        for each in others:
            if fieldset.contains(each.fields, path):
                fieldset.remove(each.fields, path)
    merged.setdefault("metadata", {})["managedFields"] = encode([*others, mine])
    return merged


def update_managed_fields(
    old: Object | None,
    new: Object,
    manager: str,
    schema: Schema,
    *,
    operation: str = "Update",
    subresource: str = "",
    now: float | None = None,
) -> list[dict[str, Any]]:
    """The managedFields of `new` after `manager` made `new` of `old` by create, update or patch.

    A `new` with an empty managedFields list asks to start over, as Kubernetes lets clients do.
    """
    claimed = (new.get("metadata") or {}).get("managedFields")
    if old is not None and claimed == []:
        return []
    if old is None and not claimed and not fieldset.is_atomic(new, schema):
        return _of_new(new, manager, schema, operation, subresource, now)
    added: set[Path] = set()
    changed: set[Path] = set()
    removed: set[Path] = set()
    before = {key: value for key, value in (old or {}).items() if key in new or key not in _IDENTITY}
    fieldset.difference(_owned(before), _owned(new), schema, (), added, changed, removed)
    if not (added or changed or removed):
        return ((old or {}).get("metadata") or {}).get("managedFields") or []
    managers = decode(new if claimed else old)
    mine = Manager(manager, operation, str(new.get("apiVersion", "")), subresource, _stamp(now))
    last = next((each for each in managers if each.is_same(mine)), None)
    if last is None:
        managers.append(mine)
    else:
        last.time = mine.time
        mine = last
    gained = added | changed
    for each in managers:
        for path in removed:
            fieldset.remove(each.fields, path)
        if each is not mine:
            for path in gained:
                if fieldset.contains(each.fields, path):
                    fieldset.remove(each.fields, path)
    for path in sorted(gained):
        fieldset.insert(mine.fields, path)
    if old is None and not schema.custom:
        mine.fields.pop("f:status", None)  # a new object's status is the server's
    disown(mine.fields)
    return encode(managers)


def _of_new(
    new: Object, manager: str, schema: Schema, operation: str, subresource: str, now: float | None
) -> list[dict[str, Any]]:
    """What the general way comes to where there was nothing before: all is its maker's."""
    owned = _owned(new)
    # The pods of one template differ in nothing that is owned: what was found for one holds for all.
    key = (schema, orjson.dumps(owned))
    fields = _FIELDS_OF_NEW.get(key)
    if fields is None:
        fields = fieldset.of_new(owned, schema)
        if not schema.custom:
            fields.pop("f:status", None)  # a new object's status is the server's
        disown(fields)
        if len(_FIELDS_OF_NEW) >= _REMEMBERED:
            _FIELDS_OF_NEW.clear()
        _FIELDS_OF_NEW[key] = fields
    return encode([Manager(manager, operation, str(new.get("apiVersion", "")), subresource, _stamp(now), fields)])


def _owned(obj: Object) -> Object:
    """The object without what changes at every write."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    ours = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "name", "namespace")
    kept = {key: value for key, value in metadata.items() if key not in ours}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return {**rest, "metadata": kept}


def _stamp(now: float | None) -> str:
    return "" if now is None else rfc3339(now)


def _without_others_fields(applied: Object, schema: Schema, subresource: str) -> Object:
    """What this endpoint writes: status belongs to /status alone (of custom resources the API server knows)."""
    if subresource == "status":
        return {key: value for key, value in applied.items() if key in (*_IDENTITY, "status")}
    if not subresource and not schema.custom:
        return {key: value for key, value in applied.items() if key != "status"}
    return applied


def _check_lists(value: Any, schema: Schema) -> None:
    """Elements of associative lists must have their keys, each once."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, (dict, list)):
                _check_lists(each, schema.properties.get(key) or schema.values or _ANY)
    elif isinstance(value, list):
        if not fieldset.is_atomic(value, schema):
            fieldset.elements(value, schema, strict=True)
        for each in value:
            _check_lists(each, schema.items or _ANY)


def _with_unmanaged(live: Object | None, schema: Schema) -> list[Manager]:
    """The managers of the live object; one stands in for those who wrote before fields were managed."""
    managers = decode(live)
    if live is not None and not managers:
        before = Manager("before-first-apply", "Update", str(live.get("apiVersion", "")))
        for path in fieldset.of(live, schema):
            fieldset.insert(before.fields, path)
        disown(before.fields)
        managers.append(before)
    return managers


def _merge(live: Any, applied: Any, schema: Schema) -> Any:
    if isinstance(applied, dict) and isinstance(live, dict) and not fieldset.is_atomic(applied, schema):
        merged = clone(live)
        for key, each in applied.items():
            child = schema.properties.get(key) or schema.values or _ANY
            merged[key] = _merge(live[key], each, child) if key in live else clone(each)
        return merged
    if isinstance(applied, list) and isinstance(live, list) and not fieldset.is_atomic(applied, schema):
        items = schema.items or _ANY
        found = {step: clone(each) for step, each in fieldset.elements(live, schema).items()}
        for step, each in fieldset.elements(applied, schema).items():
            found[step] = _merge(found[step], each, items) if step in found else clone(each)
        return list(found.values())
    return clone(applied)


def _remove_abandoned(
    merged: Object, wanted: Object, last: Trie, mine: Trie, others: list[Manager], schema: Schema
) -> None:
    """Removes what the manager applied before and does not now, where no one else owns it or something below it."""
    for path in sorted(fieldset.paths(last), key=len):
        if fieldset.find(mine, path) is not None:
            continue
        while path and not _is_owned(path, mine, others):
            parent = _take_out(merged, path, schema)
            if parent is None or parent:  # gone already, or other things stand beside it
                break
            path = path[:-1]  # a map or list that this emptied goes too, but where an empty one was applied
            if _is_there(wanted, path, schema):
                break


def _is_owned(path: Path, mine: Trie, others: list[Manager]) -> bool:
    return fieldset.find(mine, path) is not None or any(fieldset.find(each.fields, path) is not None for each in others)


def _is_there(value: Any, path: Path, schema: Schema) -> bool:
    for step in path:
        if step.startswith("f:") and isinstance(value, dict) and step[2:] in value:
            value, schema = value[step[2:]], schema.properties.get(step[2:]) or schema.values or _ANY
        elif isinstance(value, list) and step in (found := fieldset.elements(value, schema)):
            value, schema = found[step], schema.items or _ANY
        else:
            return False
    return True


def _take_out(value: Any, path: Path, schema: Schema) -> Any:
    """Deletes the value at a path; the map or list that it stood in, or None where there is no such value."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        key = step[2:]
        if not isinstance(value, dict) or key not in value:
            return None
        if not rest:
            del value[key]
            return value
        return _take_out(value[key], rest, schema.properties.get(key) or schema.values or _ANY)
    if not isinstance(value, list):
        return None
    for index, each in enumerate(value):
        if fieldset.element_step(each, schema) == step:
            if not rest:
                del value[index]
                return value
            return _take_out(each, rest, schema.items or _ANY)
    return None


def _same_but_metadata(a: Object, b: Object) -> bool:
    return _owned(a) == _owned(b)


def _conflict(conflicts: list[tuple[Manager, Path]]) -> ApiError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {manager.describe()}", fieldset.text(path))
        for manager, path in conflicts
    ]
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {manager.describe()}: {fieldset.text(path)}"
        return ApiError("Conflict", message, causes=causes)
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager.describe(), []).append(fieldset.text(path))
    lines = []
    for name in sorted(by_manager):
        lines += [f"conflicts with {name}:", *(f"- {path}" for path in by_manager[name])]
    return ApiError("Conflict", f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines), causes=causes)
