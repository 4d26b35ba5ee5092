"""The variables of one evaluation and what it may still cost."""

from collections.abc import Callable
from typing import Any

from weft.api.cel.functions import Budget


class Frame:
    """Variables by name; one that is a `Lazy` is computed when it is first asked for."""

    __slots__ = ("budget", "values")

    def __init__(self, values: dict[str, Any], budget: Budget) -> None:
        self.values = values
        self.budget = budget

    def get(self, name: str) -> Any:
        value = self.values[name]
        if type(value) is Lazy:
            value = self.values[name] = value.compute()
        return value

    def inner(self) -> "Frame":
        """A copy, for the variables of a comprehension."""
        return Frame({**self.values}, self.budget)


class Lazy:
    """A variable that may never be needed."""

    __slots__ = ("compute",)

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


Evaluate = Callable[[Frame], Any]
