"""What verbs and admission work with: kinds, objects, settings, clock, and the list of admission steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from weft.api.kinds import Kinds, ResourceType
from weft.api.validation import FieldError
from weft.apiserver.cache import Cache
from weft.apiserver.objects import Objects, Write
from weft.apiserver.request import Request
from weft.core.clock import Clock
from weft.core.settings import Settings

Object = dict[str, Any]
Validator = Callable[[Object], list[FieldError]]


@dataclass(slots=True)
class Attributes:
    """A write on its way into the store. Steps may change `obj` and add to `write`; a failing one raises ApiError."""

    api: "Api"
    request: Request
    operation: Literal["CREATE", "UPDATE", "DELETE"]
    obj: Object
    old: Object | None
    write: Write

    @property
    def which(self) -> tuple[str, str]:
        return self.request.group, self.request.resource


class Step(Protocol):
    """One admission step; most look at `attributes.which` and pass."""

    def __call__(self, attributes: Attributes, /) -> None: ...


@dataclass(slots=True)
class Api:
    """The heart of the server, without HTTP."""

    settings: Settings
    kinds: Kinds
    cache: Cache
    objects: Objects
    clock: Clock
    steps: Sequence[Step]
    extra_validators: Mapping[tuple[str, str], Validator] = field(default_factory=dict)

    def admit(self, attributes: Attributes) -> None:
        for step in self.steps:
            step(attributes)

    def extra_errors(self, rtype: ResourceType, obj: Object) -> list[FieldError]:
        validator = self.extra_validators.get((rtype.gvr.group, rtype.kind))
        return validator(obj) if validator is not None else []
