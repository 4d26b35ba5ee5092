"""The macros: all, exists, exists_one, map, filter, cel.bind, optMap, optFlatMap. Source: cel-go `parser/macro.go`."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from weft.api.cel.errors import CelError, CostError, no_such_overload
from weft.api.cel.frame import Evaluate, Frame
from weft.api.cel.syntax import Node
from weft.api.cel.types import BOOL, DYN, Type, bind, list_of, optional_of
from weft.api.cel.values import NONE, Optional

if TYPE_CHECKING:
    from weft.api.cel.check import Checked, Checker, Scope

Each = Callable[[Frame, Any], Any]
_MARKS = {"all": "_&&_", "exists": "_||_"}


def check(checker: "Checker", node: Node, scope: "Scope") -> "Checked":
    if node.name == "bind":
        kind, initial = checker.check(node.args[0], scope)
        result, body = checker.check(node.args[1], {**scope, node.variable: kind})
        run = _with(node.variable, body)
        return result, lambda frame: run(frame, initial(frame))
    assert node.target is not None
    owner, source = checker.check(node.target, scope)
    if node.name in ("optMap", "optFlatMap"):
        return _optional(checker, node, scope, owner, source)
    item = _item(checker, node, owner)
    inner = {**scope, node.variable: item}
    checked = [checker.check(part, inner) for part in node.args]
    if node.name == "map":
        condition = _with(node.variable, checked[0][1]) if len(checked) == 2 else None
        if condition is not None and not bind(BOOL, checked[0][0], {}):
            checker.no_overload(node, "_?_:_", [checked[0][0], list_of(DYN), list_of(DYN)])
        result, body = checked[-1]
        return list_of(result), _mapping(source, condition, _with(node.variable, body))
    tested, body = checked[0]
    if not bind(BOOL, tested, {}):
        checker.no_overload(node.args[0], _MARKS.get(node.name, "_?_:_"), [BOOL, tested])
    test = _with(node.variable, body)
    if node.name == "filter":
        return list_of(item), lambda frame: [each for each in _items(frame, source) if _sure(test(frame, each))]
    if node.name == "exists_one":
        return BOOL, lambda frame: sum(_sure(test(frame, each)) for each in _items(frame, source)) == 1
    return BOOL, _quantifier(source, test, decides=node.name == "exists")


def _item(checker: "Checker", node: Node, owner: Type) -> Type:
    if owner.kind not in ("list", "map", "dyn"):
        why = f"expression of type '{owner}' cannot be range of a comprehension (must be list, map, or dynamic)"
        checker.fail(node.target or node, why)
    return owner.args[0] if owner.args else DYN


def _optional(checker: "Checker", node: Node, scope: "Scope", owner: Type, source: Evaluate) -> "Checked":
    if owner.kind not in ("optional", "dyn"):
        checker.no_overload(node, node.name, [owner, DYN], member=True)
    inner = owner.args[0] if owner.args else DYN
    result, body = checker.check(node.args[0], {**scope, node.variable: inner})
    run = _with(node.variable, body)
    flat = node.name == "optFlatMap"

    def call(frame: Frame) -> Any:
        value = source(frame)
        if not isinstance(value, Optional):
            raise no_such_overload()
        if not value.present:
            return NONE
        found = run(frame, value.value)
        return found if flat else Optional(True, found)

    return optional_of(result), call


def _with(variable: str, body: Evaluate) -> Each:
    def run(frame: Frame, value: Any) -> Any:
        frame.budget.spend(1)
        inner = frame.inner()
        inner.values[variable] = value
        return body(inner)

    return run


def _items(frame: Frame, source: Evaluate) -> Iterable[Any]:
    found = source(frame)
    if isinstance(found, (list, dict)):
        return found
    raise no_such_overload()


def _sure(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_such_overload()


def _mapping(source: Evaluate, condition: Each | None, body: Each) -> Evaluate:
    if condition is None:
        return lambda frame: [body(frame, each) for each in _items(frame, source)]
    chosen = condition
    return lambda frame: [body(frame, each) for each in _items(frame, source) if _sure(chosen(frame, each))]


def _quantifier(source: Evaluate, test: Each, *, decides: bool) -> Evaluate:
    def run(frame: Frame) -> bool:
        failed: CelError | None = None
        for each in _items(frame, source):
            try:
                if _sure(test(frame, each)) is decides:
                    return decides
            except CostError:
                raise
            except CelError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not decides

    return run
