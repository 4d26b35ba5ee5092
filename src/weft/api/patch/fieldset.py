"""Sets of fields, as managedFields holds them, and the differences between two objects as such sets.

In: objects with their schema. Out: paths, which are tuples of steps written as in FieldsV1: `f:name` (a field or key),
`k:{"name":"x"}` (an element of a list that is a map), `v:"x"` (an element of a set). A set of paths is kept as the trie
that FieldsV1 is: `{}` is a member without members below, `.` marks a member that has some.
Source: sigs.k8s.io/structured-merge-diff, `fieldpath` and `typed`. Who is next: `weft.api.patch.apply`.
"""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from weft.api.defaults import VALUES
from weft.api.schema import Schema, definition_schema
from weft.api.status import bad_request

Path = tuple[str, ...]
Trie = dict[str, Any]

_ANY = definition_schema("any")
_SIMPLE = frozenset({str, int, bool, type(None)})  # what both encoders of JSON write alike


def insert(trie: Trie, path: Path) -> None:
    node = trie
    fresh = False
    for step in path:
        if not fresh and not node and node is not trie:
            node["."] = {}  # a member so far without anything below
        child = node.get(step)
        if child is None:
            child = node[step] = {}
            fresh = True
        node = child
    if not fresh and node:
        node["."] = {}


def remove(trie: Trie, path: Path) -> None:
    """Takes one path out; what is below it stays."""
    nodes = [trie]
    for step in path:
        child = nodes[-1].get(step)
        if child is None:
            return
        nodes.append(child)
    if nodes[-1]:
        nodes[-1].pop(".", None)
        return
    for parent, step in zip(reversed(nodes[:-1]), reversed(path), strict=True):
        del parent[step]
        if set(parent) == {"."}:
            parent.clear()  # a member again without anything below
            return
        if parent:
            return


def contains(trie: Trie, path: Path) -> bool:
    node = find(trie, path)
    return node is not None and (not node or "." in node)


def find(trie: Trie, path: Path) -> Trie | None:
    """The trie below a path; None where neither it nor anything below is a member."""
    node: Trie | None = trie
    for step in path:
        node = node.get(step) if node is not None else None
    return node


def paths(trie: Trie, prefix: Path = ()) -> Iterator[Path]:
    """All members."""
    for step, child in trie.items():
        if step == ".":
            continue
        path = (*prefix, step)
        if not child or "." in child:
            yield path
        yield from paths(child, path)


def of(value: Any, schema: Schema, path: Path = ()) -> Iterator[Path]:
    """The fields of an applied configuration: leaves, list elements, keys of maps, and empty maps."""
    if isinstance(value, dict) and not is_atomic(value, schema):
        properties = schema.properties
        for key, each in value.items():
            child = properties.get(key)
            step = (*path, "f:" + key)
            yield from of(each, child or schema.values or _ANY, step)
            if child is None or each is None or each == {}:
                yield step
    elif isinstance(value, list) and not is_atomic(value, schema):
        items = schema.items or _ANY
        for step_name, each in elements(value, schema).items():
            step = (*path, step_name)
            yield step
            if isinstance(each, dict):
                yield from of(each, items, step)
    else:
        yield path


def of_new(value: dict[str, Any], schema: Schema) -> Trie:
    """All that `difference` from nothing to `value` adds, as a trie, in order; `value` is a whole object."""
    trie: Trie = {}
    for key in sorted(value):
        each, child = value[key], schema.properties.get(key)
        below, member = _below(each, child or schema.values or _ANY)
        member = member or child is None or not each or (isinstance(each, dict) and child.values is not None)
        if below or member:
            trie["f:" + key] = _marked(below, member)
    return trie


def _below(value: Any, schema: Schema) -> tuple[Trie, bool]:
    """What `of` finds below a value, and whether it counts the value itself."""
    trie: Trie = {}
    if isinstance(value, dict) and not is_atomic(value, schema):
        properties = schema.properties
        for key in sorted(value):
            each, child = value[key], properties.get(key)
            if isinstance(each, (dict, list)):
                below, member = _below(each, child or schema.values or _ANY)
                member = member or child is None or each == {}
                if below or member:
                    trie["f:" + key] = _marked(below, member)
            else:
                trie["f:" + key] = {}
        return trie, False
    if isinstance(value, list) and not is_atomic(value, schema):
        items = schema.items or _ANY
        for step, each in sorted(elements(value, schema).items()):
            trie[step] = _marked(_below(each, items)[0], True) if isinstance(each, dict) else {}
        return trie, False
    return trie, True


def _marked(below: Trie, member: bool) -> Trie:
    return {".": {}, **below} if below and member else below


def is_atomic(value: Any, schema: Schema) -> bool:
    """Whether a map or list has one owner as a whole."""
    if isinstance(value, dict):
        return schema.map_type == "atomic" or (schema.type == "object" and schema.open and not schema.custom)
    return schema.list_type == "atomic"


def elements(value: list[Any], schema: Schema, *, strict: bool = False) -> dict[str, Any]:
    """The elements of a set or map list by step, the last of equal ones; `strict` refuses equal ones with a 400."""
    found: dict[str, Any] = {}
    for each in value:
        step = element_step(each, schema, strict=strict)
        if strict and step in found:
            raise bad_request(f"duplicate entries for key {_step_text(step)}")
        found[step] = each
    return found


def element_step(element: Any, schema: Schema, *, strict: bool = False) -> str:
    if schema.list_type == "set" or (not isinstance(element, dict) and not strict):
        return "v:" + _compact(element)
    if not isinstance(element, dict):
        raise bad_request(f"associative list with keys has an element that is no object: {_compact(element)}")
    keys = {}
    items = schema.items or _ANY
    for key in schema.list_map_keys:
        value = element.get(key)
        if value is None:
            value = _default(items, key)
        if value is None and strict:
            raise bad_request(
                f'associative list with keys has an element that omits key field "{key}" '
                "(and doesn't have default value)"
            )
        keys[key] = value
    return "k:" + _compact(keys)


def _default(items: Schema, key: str) -> Any:
    child = items.properties.get(key)
    if child is not None and "default" in child.raw:
        return child.raw["default"]
    return VALUES.get(items.name, {}).get(key)


def _compact(value: Any) -> str:
    if type(value) is str or (type(value) is dict and all(type(each) in _SIMPLE for each in value.values())):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        except TypeError:  # a number of more than 64 bits
            pass
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def difference(
    old: Any, new: Any, schema: Schema, path: Path, added: set[Path], changed: set[Path], removed: set[Path]
) -> None:
    """Adds the paths to the three sets; order within associative lists does not count."""
    if old is new or (old == new and type(old) is type(new)):
        return
    if isinstance(old, dict) and isinstance(new, dict) and not is_atomic(new, schema):
        properties, values = schema.properties, schema.values or _ANY
        for key, each in new.items():
            child = properties.get(key) or values
            if key not in old:
                _whole(each, child, (*path, "f:" + key), added, key not in properties)
            else:
                difference(old[key], each, child, (*path, "f:" + key), added, changed, removed)
        for key, each in old.items():
            if key not in new:
                _whole(each, properties.get(key) or values, (*path, "f:" + key), removed, key not in properties)
    elif isinstance(old, list) and isinstance(new, list) and not is_atomic(new, schema):
        items = schema.items or _ANY
        before, after = elements(old, schema), elements(new, schema)
        for step, each in after.items():
            if step not in before:
                _whole(each, items, (*path, step), added, True)
            else:
                difference(before[step], each, items, (*path, step), added, changed, removed)
        for step, each in before.items():
            if step not in after:
                _whole(each, items, (*path, step), removed, True)
    else:
        changed.add(path)


def _whole(value: Any, schema: Schema, path: Path, found: set[Path], member: bool) -> None:
    """A value that came or went with all that is below it; maps count themselves, as something that can be empty."""
    if member or not isinstance(value, (dict, list)) or not value or (isinstance(value, dict) and schema.values):
        found.add(path)
    if isinstance(value, (dict, list)):
        found.update(of(value, schema, path))


def text(path: Path) -> str:
    """As in conflicts: `.spec.containers[name="x"].image`."""
    return "".join(_step_text(step) for step in path)


def _step_text(step: str) -> str:
    kind, rest = step[:2], step[2:]
    if kind == "f:":
        return "." + rest
    if kind == "v:":
        return f"[={rest}]"
    keys = json.loads(rest)
    return "[" + ",".join(f"{key}={_compact(value)}" for key, value in keys.items()) + "]"
