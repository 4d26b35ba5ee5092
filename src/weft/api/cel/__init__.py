"""The Common Expression Language, with Kubernetes's functions: expressions that validate, match and compute.

In: an expression and the types of its variables (of an OpenAPI schema by `type_of`). Out: a `Program`, or
CelSyntaxError drawn as Kubernetes draws it. Evaluating takes values and a `Budget`: it ends in a value or CelError,
after a bounded number of steps. It is ours because libraries do not check types before running, know no optional
values, and cannot be stopped; tests hold it against one of them.
Who is next: `weft.api.validation.rules` (custom resources), admission policies and match conditions.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from weft.api.cel import extensions, kubernetes, standard
from weft.api.cel.check import Checker
from weft.api.cel.errors import CelError, CelSyntaxError, CostError
from weft.api.cel.frame import Evaluate, Frame, Lazy
from weft.api.cel.functions import Budget
from weft.api.cel.syntax import parse
from weft.api.cel.types import BOOL, DYN, LIST, MAP, STRING, Type, as_value, map_of, optional_of, type_of
from weft.api.cel.values import NONE, Optional

__all__ = [
    "BOOL",
    "DYN",
    "LIST",
    "MAP",
    "NONE",
    "STRING",
    "Budget",
    "CelError",
    "CelSyntaxError",
    "CostError",
    "Lazy",
    "Optional",
    "Program",
    "Type",
    "as_value",
    "compile_cel",
    "extensions",
    "kubernetes",
    "map_of",
    "optional_of",
    "standard",
    "type_of",
    "uses",
]

# What one expression may take: about half a second.
STEPS = 200_000


class Program:
    """A checked expression; `type` is its result's."""

    def __init__(self, text: str, type_: Type, run: Evaluate) -> None:
        self.text = text
        self.type = type_
        self._run = run

    def evaluate(self, values: dict[str, Any], budget: Budget | None = None) -> Any:
        """Raises CelError."""
        try:
            return self._run(Frame(dict(values), budget or Budget(STEPS)))
        except (RecursionError, MemoryError):
            raise CostError from None
        except (OverflowError, UnicodeError) as error:
            raise CelError(str(error)) from None


def compile_cel(text: str, variables: Mapping[str, Type]) -> Program:
    """Raises CelSyntaxError."""
    try:
        type_, run = Checker(text).check(parse(text), variables)
    except RecursionError:
        raise CelSyntaxError(text, 0, "expression recursion limit exceeded") from None
    return Program(text, type_, run)


@lru_cache(512)
def uses(text: str, variable: str) -> bool:
    """Whether an expression names a variable; raises CelSyntaxError."""
    waiting = [parse(text)]
    while waiting:
        node = waiting.pop()
        if node.kind == "ident" and node.name == variable:
            return True
        waiting += node.args
        if node.target is not None:
            waiting.append(node.target)
    return False
