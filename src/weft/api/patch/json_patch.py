"""JSON patch (RFC 6902) with JSON pointers (RFC 6901).

In: a document and a list of operations. Out: the changed copy. A patch that is no patch is a 400, one that does not fit
the document (a path that is not there, a `test` that fails) a 422, as Kubernetes answers.
"""

from collections.abc import Callable
from typing import Any

import orjson

from weft.api.status import ApiError, bad_request
from weft.api.values import clone

MAX_OPERATIONS = 10_000  # as kube-apiserver
MAX_COPIED = 3 * 1024 * 1024  # bytes that all `copy` operations together may add

Pointer = list[str]


def json_patch(doc: Any, ops: Any) -> Any:
    """Raises ApiError BadRequest, Invalid, RequestEntityTooLarge."""
    if not isinstance(ops, list):
        raise bad_request("cannot decode the JSON patch: it must be an array of operations")
    if len(ops) > MAX_OPERATIONS:
        raise ApiError(
            "RequestEntityTooLarge",
            f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(ops)}",
        )
    decoded = [_decode(op) for op in ops]
    root = [clone(doc)]  # a list of one, so that the whole document can be replaced like any element
    copied = 0
    for name, path, source, value in decoded:
        if name == "copy":
            value = clone(_get(root, source, name))
            copied += len(orjson.dumps(value))
            if copied > MAX_COPIED:
                raise ApiError("RequestEntityTooLarge", f"the JSON patch copies more than {MAX_COPIED} bytes")
        elif name == "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise _rejected(f"cannot move {_text(source)} into its own child {_text(path)}")
            value = _get(root, source, name)
            _remove(root, source, None)
        _OPERATIONS[name](root, path, value)
    return root[0]


def _decode(op: Any) -> tuple[str, Pointer, Pointer, Any]:
    if not isinstance(op, dict):
        raise bad_request("cannot decode the JSON patch: an operation must be an object")
    name = op.get("op")
    if not isinstance(name, str) or name not in _OPERATIONS:
        raise bad_request(f"cannot decode the JSON patch: Unexpected kind: {name}")
    if name in ("add", "replace", "test") and "value" not in op:
        raise bad_request(f"cannot decode the JSON patch: the {name} operation has no value")
    source = _pointer(op.get("from"), "from") if name in ("move", "copy") else []
    return name, _pointer(op.get("path"), "path"), source, clone(op.get("value"))


def _pointer(text: Any, field: str) -> Pointer:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"cannot decode the JSON patch: {field} must be a JSON pointer, not {text!r}")
    return ["0"] + [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _text(pointer: Pointer) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in pointer[1:])


def _rejected(why: str) -> ApiError:
    return ApiError("Invalid", f"the server rejected our request due to an error in our request: {why}")


def _index(container: list[Any], step: str, name: str, path: Pointer, *, end: bool = False) -> int:
    if end and step == "-":
        return len(container)
    if not (step.isascii() and step.isdigit()) or (len(step) > 1 and step[0] == "0"):
        raise _rejected(f"{name} operation does not apply: {_text(path)}: {step!r} is not an index")
    index = int(step)
    if index > len(container) - (not end):
        raise _rejected(f"{name} operation does not apply: {_text(path)}: index {index} is out of range")
    return index


def _get(root: list[Any], path: Pointer, name: str) -> Any:
    node: Any = root
    for step in path:
        if isinstance(node, list):
            node = node[_index(node, step, name, path)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            raise _rejected(f"{name} operation does not apply: {_text(path)} is missing")
    return node


def _add(root: list[Any], path: Pointer, value: Any) -> None:
    if len(path) == 1:
        root[0] = value
        return
    parent, last = _get(root, path[:-1], "add"), path[-1]
    if isinstance(parent, list):
        parent.insert(_index(parent, last, "add", path, end=True), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _rejected(f"add operation does not apply: the parent of {_text(path)} is no object or array")


def _remove(root: list[Any], path: Pointer, value: Any) -> None:
    _get(root, path, "remove")
    if len(path) == 1:
        root[0] = None
        return
    parent, last = _get(root, path[:-1], "remove"), path[-1]
    del parent[int(last) if isinstance(parent, list) else last]


def _replace(root: list[Any], path: Pointer, value: Any) -> None:
    _get(root, path, "replace")
    parent = _get(root, path[:-1], "replace")
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value


def _test(root: list[Any], path: Pointer, value: Any) -> None:
    try:
        found = _get(root, path, "test")
    except ApiError:
        if value is None:  # Kubernetes's library takes a field that is not there for null
            return
        raise
    if not _same(found, value):
        raise _rejected(f"testing value {_text(path)} failed")


def _same(a: Any, b: Any) -> bool:
    """Equality in JSON, where true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


_OPERATIONS: dict[str, Callable[[list[Any], Pointer, Any], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _add,
    "copy": _add,
    "test": _test,
}
