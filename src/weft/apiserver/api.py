"""What verbs and admission work with: kinds, objects, settings, clock, and the list of admission steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from weft.api.defaults import apply_defaults
from weft.api.kinds import Kinds, ResourceType
from weft.api.validation import FieldError, check_types, prune
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


@dataclass(frozen=True, slots=True)
class Steps:
    """The server's own steps: `first` may run twice, `allocate` takes what is scarce, `count` comes last of all."""

    first: Sequence[Step]
    allocate: Sequence[Step] = ()
    count: Sequence[Step] = ()


class Hooks(Protocol):
    """What is asked about a write beyond this server's own steps: webhooks and policies; both raise ApiError."""

    async def mutate(self, attributes: Attributes, /) -> bool:
        """Whether the object became another."""
        ...

    async def validate(self, attributes: Attributes, /) -> None: ...


class NoHooks:
    """Nobody is asked."""

    async def mutate(self, attributes: Attributes, /) -> bool:
        return False

    async def validate(self, attributes: Attributes, /) -> None:
        return


@dataclass(slots=True)
class Api:
    """The heart of the server, without HTTP."""

    settings: Settings
    kinds: Kinds
    cache: Cache
    objects: Objects
    clock: Clock
    steps: Steps
    extra_validators: Mapping[tuple[str, str], Validator] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=NoHooks)

    def admit(self, attributes: Attributes) -> None:
        """All steps of a write that nobody else is asked about: a deletion, of which hooks have heard before."""
        for step in (*self.steps.first, *self.steps.allocate, *self.steps.count):
            step(attributes)

    async def complete(self, attributes: Attributes) -> None:
        """Makes the object what it is to become; validation is next."""
        for step in self.steps.first:
            step(attributes)
        if await self.hooks.mutate(attributes):
            check_types(attributes.obj, attributes.request.rtype)
            prune(attributes.obj, attributes.request.rtype)
            apply_defaults(attributes.obj, attributes.request.rtype)
            for step in self.steps.first:
                step(attributes)
        for step in self.steps.allocate:
            step(attributes)

    async def approve(self, attributes: Attributes) -> None:
        """Asks policies and webhooks about the valid object, and counts it."""
        await self.hooks.validate(attributes)
        for step in self.steps.count:
            step(attributes)

    def extra_errors(self, rtype: ResourceType, obj: Object) -> list[FieldError]:
        validator = self.extra_validators.get((rtype.gvr.group, rtype.kind))
        return validator(obj) if validator is not None else []
