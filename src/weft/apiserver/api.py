"""What verbs and admission work with: kinds, objects, settings, clock, and the list of admission steps."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from weakref import WeakValueDictionary

from weft.api.defaults import apply_defaults
from weft.api.gvr import GVR
from weft.api.kinds import Kinds, ResourceType
from weft.api.validation import FieldError, check_types, prune
from weft.apiserver.cache import Cache
from weft.apiserver.objects import Objects, Write, as_version, identity
from weft.apiserver.request import Request
from weft.core.clock import Clock
from weft.core.settings import Settings

Object = dict[str, Any]
RESOURCEQUOTAS = GVR("", "v1", "resourcequotas")
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


class Converter(Protocol):
    """Custom resources in another version than the stored one; both raise ApiError."""

    async def prepare(self, rtype: ResourceType, objects: Iterable[Object], /) -> None: ...
    async def stored(self, rtype: ResourceType, obj: Object, /) -> Object: ...


class NoConversion:
    """Versions differ in name only."""

    async def prepare(self, rtype: ResourceType, objects: Iterable[Object], /) -> None:
        return

    async def stored(self, rtype: ResourceType, obj: Object, /) -> Object:
        return obj


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
    converter: Converter = field(default_factory=NoConversion)
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def prepare(self, request: Request) -> None:
        """Has what the request may read converted to its version."""
        rtype = request.rtype
        if rtype.conversion is None:
            return
        if request.name:
            entry = self.objects.entry(rtype, request.namespace, request.name)
            await self.converter.prepare(rtype, [entry.object] if entry is not None else [])
        else:
            below = self.objects.hub(rtype).below(self.objects.prefix(rtype, request.namespace))
            await self.converter.prepare(rtype, [entry.object for entry in below])

    def kept(self, rtype: ResourceType, obj: Object, stored: Object) -> Object:
        """The object, now that it is stored as `stored`."""
        if rtype.conversion is not None and stored is not obj:
            metadata = {**obj["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}
            rtype.converted[identity(stored)] = {**obj, "metadata": metadata}
        return as_version(stored, rtype)

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
        """Asks policies and webhooks about the valid object."""
        await self.hooks.validate(attributes)

    def count(self, attributes: Attributes) -> None:
        """Counts the write against quotas; within a `turn`."""
        for step in self.steps.count:
            step(attributes)

    def turn(self, request: Request) -> AbstractAsyncContextManager[Any]:
        """Where writes are counted they take turns, else all but one of many at once would be in vain."""
        quotas = self.kinds.by_gvr(RESOURCEQUOTAS)
        if quotas is None or not request.namespace or not self.objects.hub(quotas).entries:
            return nullcontext()
        lock = self.turns.get(request.namespace)
        if lock is None:
            lock = self.turns[request.namespace] = asyncio.Lock()
        return lock

    def extra_errors(self, rtype: ResourceType, obj: Object) -> list[FieldError]:
        validator = self.extra_validators.get((rtype.gvr.group, rtype.kind))
        return validator(obj) if validator is not None else []
