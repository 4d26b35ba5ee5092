"""Strategic merge patch: a merge patch that knows, from the schema, which lists are maps in disguise.

In: an object, a patch and the object's schema (`x-kubernetes-patch-strategy`, `x-kubernetes-patch-merge-key`).
Out: the changed copy. Directives: `$patch: replace|merge|delete`, `$deleteFromPrimitiveList/f`, `$setElementOrder/f`,
`$retainKeys`. Source: the design document "strategic-merge-patch" and apimachinery `pkg/util/strategicpatch`.
"""

from collections.abc import Callable, Hashable
from typing import Any

from weft.api.schema import Schema, definition_schema
from weft.api.status import bad_request
from weft.api.values import clone

Object = dict[str, Any]

_PATCH = "$patch"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_RETAIN = "$retainKeys"


def strategic_merge(doc: Object, patch: Any, schema: Schema) -> Object:
    """Raises ApiError BadRequest."""
    if not isinstance(patch, dict):
        raise bad_request("cannot decode the strategic merge patch: it must be an object")
    return _merge_map(doc, patch, schema)


def _merge_map(original: Object, patch: Object, schema: Schema) -> Object:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _merge_map({}, {key: value for key, value in patch.items() if key != _PATCH}, schema)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    merged = dict(original)
    if _RETAIN in patch:
        _retain(merged, patch)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(merged, key, value, patch, schema)
        elif key.startswith((_DELETE, _ORDER)):
            # A directive for a list that the patch itself does not touch.
            field = key.partition("/")[2]
            if field not in patch and isinstance(merged.get(field), list):
                _merge_field(merged, field, [], patch, schema)
        elif key not in (_PATCH, _RETAIN):
            raise bad_request(f"unknown directive of a strategic merge patch: {key}")
    return {key: clone(value) if value is original.get(key) else value for key, value in merged.items()}


def _retain(merged: Object, patch: Object) -> None:
    keep = patch[_RETAIN]
    if not isinstance(keep, list) or not all(isinstance(key, str) for key in keep):
        raise bad_request(f"{_RETAIN} must be a list of strings")
    for key, value in patch.items():
        if not key.startswith("$") and value is not None and key not in keep:
            raise bad_request(f"{_RETAIN} does not list the field {key} that the patch sets")
    for key in set(merged) - set(keep):
        del merged[key]


def _merge_field(merged: Object, key: str, value: Any, patch: Object, schema: Schema) -> None:
    child = schema.properties.get(key) or schema.values or definition_schema("any")
    present = merged.get(key)
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        base = present if isinstance(present, dict) and "replace" not in child.patch_strategy else {}
        result = _merge_map(base, value, child)
        if value.get(_PATCH) == "delete":
            merged.pop(key, None)
        else:
            merged[key] = result
    elif isinstance(value, list):
        base_list = present if isinstance(present, list) else []
        if "merge" in child.patch_strategy:
            deleted = _directive(patch, _DELETE + key)
            order = _directive(patch, _ORDER + key)
            merged[key] = _merge_list(base_list, value, deleted or [], order, child)
        elif key in patch:
            merged[key] = clone(value)
        else:  # a list of one piece: of the directives only deletion means something
            gone = _directive(patch, _DELETE + key) or []
            merged[key] = [each for each in base_list if each not in gone]
    else:
        merged[key] = value


def _directive(patch: Object, key: str) -> list[Any] | None:
    value = patch.get(key)
    if value is not None and not isinstance(value, list):
        raise bad_request(f"{key} must be a list")
    return value


def _merge_list(
    original: list[Any], patch: list[Any], deleted: list[Any], order: list[Any] | None, schema: Schema
) -> list[Any]:
    """Equal elements of the original, such as two variables of one name, stay; a patch changes the first of them."""
    if not schema.merge_key:
        return _merge_scalars(original, patch, deleted, order)
    items, merge_key = schema.items or definition_schema("any"), schema.merge_key

    def key_of(element: Any) -> Hashable:
        if not isinstance(element, dict) or merge_key not in element:
            raise bad_request(f"map: {element} does not contain declared merge key: {merge_key}")
        value = element[merge_key]
        if isinstance(value, (dict, list)):
            raise bad_request(f"the merge key {merge_key} of a list's element must be a scalar")
        return _itself(value)

    if any(isinstance(each, dict) and each.get(_PATCH) == "replace" for each in patch):
        kept = [{k: v for k, v in each.items() if k != _PATCH} for each in patch]
        return [_merge_map({}, each, items) for each in kept if each]
    merged = list(original)
    keys = [key_of(each) for each in original]
    changed: list[Object] = []
    for each in patch:
        key = key_of(each)
        if each.get(_PATCH) == "delete":
            merged = [other for other, name in zip(merged, keys, strict=True) if name != key]
            keys = [name for name in keys if name != key]
            continue
        changed.append(each)
        if key in keys:
            position = keys.index(key)
            merged[position] = _merge_map(merged[position], each, items)
        else:
            merged.append(_merge_map({}, each, items))
            keys.append(key)
    if order is None:
        return _ordered(merged, changed, original, key_of)
    listed = {key_of(each) for each in order}
    if not all(key_of(each) in listed for each in changed):
        raise bad_request(f"the patch's list has elements that {_ORDER} does not list: by {merge_key}")
    return _ordered(merged, order, original, key_of)


def _merge_scalars(original: list[Any], patch: list[Any], deleted: list[Any], order: list[Any] | None) -> list[Any]:
    for element in (*patch, *deleted, *(order or ())):
        if isinstance(element, (dict, list)):
            raise bad_request("cannot merge a list of scalars: the patch holds an object or a list")
    gone = set(map(_itself, deleted))
    there = set(map(_itself, original))
    new = [each for each in dict.fromkeys(patch) if _itself(each) not in there]
    merged = [each for each in (*original, *new) if _itself(each) not in gone]
    return _ordered(merged, patch if order is None else order, original, _itself)


def _itself(value: Any) -> Hashable:
    return (type(value) is bool, value)


def _ordered(merged: list[Any], order: list[Any], before: list[Any], key_of: Callable[[Any], Hashable]) -> list[Any]:
    """Elements that `order` names stand in its order; the others where they stood in `before` relative to these.

    A named element that was not there before goes first, as in Kubernetes.
    """
    rank = {key_of(each): position for position, each in reversed(list(enumerate(order)))}
    place = {key_of(each): position for position, each in reversed(list(enumerate(before)))}
    named = sorted((each for each in merged if key_of(each) in rank), key=lambda each: rank[key_of(each)])
    others = [each for each in merged if key_of(each) not in rank]
    others.sort(key=lambda each: place.get(key_of(each), len(before)))
    result: list[Any] = []
    others.reverse()
    named.reverse()
    while others and named:
        other, name = place.get(key_of(others[-1])), place.get(key_of(named[-1]))
        result.append((others if other is not None and name is not None and other < name else named).pop())
    return result + named[::-1] + others[::-1]
