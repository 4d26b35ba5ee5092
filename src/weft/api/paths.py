"""Reading a value inside an object by a path: the part of Kubernetes's JSONPath that CRDs use.

In: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.items[0].name`, `.list[*].name`, `['a.b']`.
Out: a function from an object to the list of values found. Who is next: tables, field selectors, scale subresources.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

Find = Callable[[Any], list[Any]]
_Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""\.?\[\?\(\s*@(?P<filter>(?:\.[A-Za-z0-9_\-/\\.]+?)+)\s*(?P<op>==|!=)\s*(?P<literal>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]
    | \[(?P<index>-?\d+)\] | \.?\[(?P<all>\*)\] | \.(?P<star>\*)
    | \.?\[(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\]
    | \.(?P<name>(?:\\.|[^.\[\]\\*])+)""",
    re.VERBOSE,
)


@lru_cache(512)
def compile_path(path: str) -> Find:
    """Raises ValueError where the path is not of this part of JSONPath."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$").removeprefix("@")
    if text and text[0] not in ".[":
        text = "." + text
    steps: list[_Step] = []
    position = 0
    while position < len(text) and text != ".":
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read the path {path!r} at {text[position:]!r}")
        steps.append(_step(match))
        position = match.end()

    def find(obj: Any) -> list[Any]:
        values = [obj]
        for step in steps:
            values = [found for value in values for found in step(value)]
        return values

    return find


def _step(match: re.Match[str]) -> _Step:
    if match["filter"] is not None:
        inner, literal = compile_path(match["filter"]), match["literal"]
        wanted = literal[1:-1] if literal[0] in "\"'" else literal
        equal = match["op"] == "=="
        return lambda value: [
            each for each in _elements(value) if any(as_text(found) == wanted for found in inner(each)) == equal
        ]
    if match["index"] is not None:
        index = int(match["index"])
        return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else ()
    if match["all"] or match["star"]:
        return _elements
    name = match["single"] or match["double"] or re.sub(r"\\(.)", r"\1", match["name"] or "")
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else ()


def _elements(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def as_text(value: Any) -> str:
    """A scalar as Kubernetes prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def get_path(obj: Any, path: str, default: Any = None) -> Any:
    """The first value at `path`."""
    found = compile_path(path)(obj)
    return found[0] if found else default


def set_path(obj: dict[str, Any], path: str, value: Any) -> None:
    """Sets a field by a path of plain names, such as a CRD's `specReplicasPath`, making what is missing between."""
    *parents, last = path.strip(".").split(".")
    node = obj
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
