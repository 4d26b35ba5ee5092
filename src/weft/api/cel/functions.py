"""The table of functions: what the checker matches calls against and what evaluation calls.

A module of functions enters rows with `function` and `method`; a parameter type of one capital letter is any type.
Work that grows with its arguments is paid for with `spend` before it is done, so that no expression can take long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from weft.api.cel.errors import CostError
from weft.api.cel.types import Type

_F = TypeVar("_F", bound=Callable[..., Any])


class Budget:
    """The steps that evaluations may still take; several may share one."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises CostError when there is nothing left."""
        self.left -= steps
        if self.left < 0:
            raise CostError


@dataclass(frozen=True, slots=True)
class Overload:
    """One signature; a member's first parameter is its receiver. A `costly` one is handed the budget first."""

    params: tuple[Type, ...]
    result: Type
    call: Callable[..., Any]
    member: bool
    costly: bool = False


FUNCTIONS: dict[str, list[Overload]] = {}


def function(name: str, *params: Type, to: Type, costly: bool = False) -> Callable[[_F], _F]:
    return _entry(name, params, to, False, costly)


def method(name: str, *params: Type, to: Type, costly: bool = False) -> Callable[[_F], _F]:
    return _entry(name, params, to, True, costly)


def _entry(name: str, params: tuple[Type, ...], result: Type, member: bool, costly: bool) -> Callable[[_F], _F]:
    def enter(call: _F) -> _F:
        FUNCTIONS.setdefault(name, []).append(Overload(params, result, call, member, costly))
        return call

    return enter
