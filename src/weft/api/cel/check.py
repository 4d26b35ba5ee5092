"""From a tree to something that can be run: every name, field and call is checked against types, once.

In: a tree and the types of its variables. Out: the type of the result and a closure that computes it, or
CelSyntaxError. What the types cannot tell (dyn) is decided when it runs. Source: cel-go `checker/checker.go`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from weft.api.cel import comprehension
from weft.api.cel.errors import CelError, CelSyntaxError, CostError, no_such_overload
from weft.api.cel.frame import Evaluate, Frame
from weft.api.cel.functions import FUNCTIONS, Overload
from weft.api.cel.syntax import Node, UInt
from weft.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    TYPE,
    UINT,
    Type,
    bind,
    field_name,
    join,
    list_of,
    map_of,
    optional_of,
    resolve,
)
from weft.api.cel.values import NONE, Optional, TypeValue, fits, hashable_key, kind_of

Checked = tuple[Type, Evaluate]
Scope = Mapping[str, Type]

_LITERALS: dict[type, Type] = {
    bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL,
}  # fmt: skip
_TYPE_NAMES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"})


class Checker:
    """`Checker(text).check(tree, {"self": type})`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def check(self, node: Node, scope: Scope) -> Checked:
        handler: Callable[[Node, Scope], Checked] = getattr(self, f"_{node.kind}")
        return handler(node, scope)

    def fail(self, node: Node, message: str) -> NoReturn:
        raise CelSyntaxError(self._text, node.position, message)

    def no_overload(self, node: Node, name: str, given: list[Type], *, member: bool = False) -> NoReturn:
        parts = [str(type_) for type_ in given]
        shown = f"{parts[0]}.({', '.join(parts[1:])})" if member else f"({', '.join(parts)})"
        self.fail(node, f"found no matching overload for '{name}' applied to '{shown}'")

    def _literal(self, node: Node, scope: Scope) -> Checked:
        value = node.value
        return _LITERALS[type(value)], lambda frame: value

    def _ident(self, node: Node, scope: Scope) -> Checked:
        name = node.name
        if name in scope:
            return scope[name], lambda frame: frame.get(name)
        if name not in _TYPE_NAMES:
            self.fail(node, f"undeclared reference to '{name}' (in container '')")
        value = TypeValue(name)
        return TYPE, lambda frame: value

    def _select(self, node: Node, scope: Scope) -> Checked:
        assert node.target is not None
        dotted = self._dotted_type(node, scope)
        if dotted is not None:
            return TYPE, lambda frame: dotted
        owner, operand = self.check(node.target, scope)
        chained = owner.kind == "optional"
        inner = owner.args[0] if chained else owner
        name = node.name
        match inner.kind:
            case "object":
                name = field_name(name)
                if name not in inner.fields:
                    self.fail(node, f"undefined field '{node.name}'")
                found = inner.fields[name]
            case "map":
                found = inner.args[1]
            case "dyn":
                found = DYN
            case other:
                self.fail(node, f"type '{other}' does not support field selection")
        if node.test:
            return BOOL, lambda frame: _has(operand(frame), name)
        if node.optional or chained:
            return optional_of(found), lambda frame: _select_optional(operand(frame), name)
        return found, lambda frame: _select(operand(frame), name)

    def _dotted_type(self, node: Node, scope: Scope) -> TypeValue | None:
        """google.protobuf.Timestamp and Duration, which are names of types."""
        parts = [node.name]
        target = node.target
        while target is not None and target.kind == "select":
            parts.append(target.name)
            target = target.target
        if target is None or target.kind != "ident" or target.name in scope:
            return None
        name = ".".join([target.name, *reversed(parts)])
        return TypeValue(name) if name in ("google.protobuf.Timestamp", "google.protobuf.Duration") else None

    def _index(self, node: Node, scope: Scope) -> Checked:
        (owner, operand), (index_type, index) = (self.check(part, scope) for part in node.args)
        chained = owner.kind == "optional"
        inner = owner.args[0] if chained else owner
        match inner.kind:
            case "list" if bind(INT, index_type, {}):
                found = inner.args[0]
            case "map" if bind(inner.args[0], index_type, {}):
                found = inner.args[1]
            case "dyn":
                found = DYN
            case _:
                self.no_overload(node, "_[_]", [owner, index_type])
        if node.optional or chained:
            return optional_of(found), lambda frame: _index_optional(operand(frame), index(frame))
        return found, lambda frame: _index(operand(frame), index(frame))

    def _call(self, node: Node, scope: Scope) -> Checked:
        name, target = node.name, node.target
        if target is not None and target.kind == "ident" and target.name not in scope:
            qualified = f"{target.name}.{name}"
            if qualified in FUNCTIONS:
                name, target = qualified, None
        parts = [target, *node.args] if target is not None else list(node.args)
        checked = [self._argument(part, scope, mixed=name == "format") for part in parts]
        given = [type_ for type_, _ in checked]
        if name not in FUNCTIONS:
            self.fail(node, f"undeclared reference to '{name}' (in container '')")
        matched: list[Overload] = []
        results: list[Type] = []
        for overload in FUNCTIONS[name]:
            known: dict[str, Type] = {}
            if overload.member != (target is not None) or len(overload.params) != len(given):
                continue
            if all(bind(wanted, type_, known) for wanted, type_ in zip(overload.params, given, strict=True)):
                matched.append(overload)
                results.append(resolve(overload.result, known))
        if not matched:
            self.no_overload(node, name, given, member=target is not None)
        result = results[0] if len({str(each) for each in results}) == 1 else DYN
        return result, _calling(matched, [run for _, run in checked], given)

    def _argument(self, node: Node, scope: Scope, *, mixed: bool) -> Checked:
        """What is formatted may be of several types."""
        return self._list(node, scope, mixed=True) if mixed and node.kind == "list" else self.check(node, scope)

    def _cond(self, node: Node, scope: Scope) -> Checked:
        (tested, test), (one, then), (other, otherwise) = (self.check(part, scope) for part in node.args)
        result = join(one, other)
        if not bind(BOOL, tested, {}) or result is None:
            self.no_overload(node, "_?_:_", [tested, one, other])
        return result, lambda frame: then(frame) if _truth(test(frame)) else otherwise(frame)

    def _and(self, node: Node, scope: Scope) -> Checked:
        return BOOL, _logic(self._terms(node, scope, "_&&_"), False)

    def _or(self, node: Node, scope: Scope) -> Checked:
        return BOOL, _logic(self._terms(node, scope, "_||_"), True)

    def _terms(self, node: Node, scope: Scope, name: str) -> list[Evaluate]:
        checked = [self.check(part, scope) for part in node.args]
        for index, (type_, _) in enumerate(checked):
            if not bind(BOOL, type_, {}):
                self.no_overload(node, name, [BOOL, type_] if index else [type_, checked[1][0]])
        return [run for _, run in checked]

    def _list(self, node: Node, scope: Scope, *, mixed: bool = False) -> Checked:
        checked = [self.check(part, scope) for part in node.args]
        optional = node.optional_at
        types = [self._unwrapped(type_, at in optional) for at, (type_, _) in enumerate(checked)]
        item = DYN if mixed else self._common(node, types)
        runs = [(run, at in optional) for at, (_, run) in enumerate(checked)]

        def make(frame: Frame) -> list[Any]:
            found = []
            for run, may_miss in runs:
                value = run(frame)
                if not may_miss:
                    found.append(value)
                elif value.present:
                    found.append(value.value)
            return found

        return list_of(item), make

    def _map(self, node: Node, scope: Scope) -> Checked:
        checked = [self.check(part, scope) for part in node.args]
        optional = node.optional_at
        key = self._common(node, [type_ for type_, _ in checked[::2]])
        value = self._common(
            node, [self._unwrapped(type_, at in optional) for at, (type_, _) in enumerate(checked[1::2])]
        )
        runs = [(checked[at][1], checked[at + 1][1], at // 2 in optional) for at in range(0, len(checked), 2)]

        def make(frame: Frame) -> dict[Any, Any]:
            found = {}
            for run_key, run, may_miss in runs:
                name, each = hashable_key(run_key(frame)), run(frame)
                if may_miss:
                    if not each.present:
                        continue
                    each = each.value
                if name in found:
                    raise CelError(f"Failed with repeated key: {name}")
                found[name] = each
            return found

        return map_of(key, value), make

    def _unwrapped(self, type_: Type, optional: bool) -> Type:
        return type_.args[0] if optional and type_.kind == "optional" else type_

    def _common(self, node: Node, types: list[Type]) -> Type:
        if not types:
            return DYN
        common = types[0]
        for position, each in enumerate(types):
            joined = join(common, each)
            if joined is None:
                self.fail(node.args[min(position, len(node.args) - 1)], f"expected type '{common}' but found '{each}'")
            common = joined
        return common

    def _macro(self, node: Node, scope: Scope) -> Checked:
        return comprehension.check(self, node, scope)


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_such_overload()


def _logic(terms: list[Evaluate], decides: bool) -> Evaluate:
    """&& and ||: one operand that decides makes up for an error in another, wherever it stands."""

    def run(frame: Frame) -> bool:
        failed: CelError | None = None
        for term in terms:
            try:
                if _truth(term(frame)) is decides:
                    return decides
            except CostError:
                raise
            except CelError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not decides

    return run


def _calling(overloads: list[Overload], args: list[Evaluate], given: list[Type]) -> Evaluate:
    sure = len(overloads) == 1 and all(
        type_.kind != "dyn" and not type_.nullable and type_.kind != "null_type" for type_ in given
    )
    first = overloads[0]
    if sure and len(args) == 2 and not first.costly:
        call, (one, other) = first.call, args

        def run_two(frame: Frame) -> Any:
            frame.budget.spend(1)
            return call(one(frame), other(frame))

        return run_two

    def run(frame: Frame) -> Any:
        budget = frame.budget
        budget.spend(1)
        values = [arg(frame) for arg in args]
        for overload in overloads:
            if sure or all(map(fits, values, overload.params)):
                return overload.call(budget, *values) if overload.costly else overload.call(*values)
        raise no_such_overload()

    return run


def _select(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        try:
            return value[name]
        except KeyError:
            raise CelError(f"no such key: {name}") from None
    raise no_such_overload()


def _has(value: Any, name: str) -> bool:
    if isinstance(value, Optional):
        return value.present and _has(value.value, name)
    if isinstance(value, dict):
        return name in value
    raise no_such_overload()


def _select_optional(value: Any, name: str) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if not isinstance(value, dict):
        raise no_such_overload()
    if name not in value:
        return NONE
    found = value[name]
    return found if isinstance(found, Optional) else Optional(True, found)


def _index(value: Any, index: Any) -> Any:
    if isinstance(value, list):
        at = _position(index)
        if not 0 <= at < len(value):
            raise CelError(f"index out of bounds: {at}")
        return value[at]
    if isinstance(value, dict):
        if hashable_key(index) not in value:
            raise CelError(f"no such key: {index}")
        return value[index]
    raise no_such_overload()


def _position(index: Any) -> int:
    if kind_of(index) in ("int", "uint") or (isinstance(index, float) and index.is_integer()):
        return int(index)
    raise CelError(f"unsupported index type '{kind_of(index)}' in list")


def _index_optional(value: Any, index: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if isinstance(value, list):
        at = _position(index)
        return Optional(True, value[at]) if 0 <= at < len(value) else NONE
    if isinstance(value, dict):
        return Optional(True, value[index]) if hashable_key(index) in value else NONE
    raise no_such_overload()
