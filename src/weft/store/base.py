"""The contract of a store: a key space with one revision counter, as etcd has it.

In: transactions on keys (`txn`). Out: present and past values (`get`, `range`) and every change in order (`watch`).
Who is next: `weft.apiserver.cache`, which keeps decoded objects; nobody else imports a store.
The model is etcd's (etcd.io, "KV API guarantees"): every transaction that changes something takes the next revision,
and all of its changes bear it. A suite in `weft.testing.store` holds every implementation to this contract.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from weft.core.errors import InvalidError, WeftError


class CompactedError(WeftError):
    """The revision that was asked for is no longer kept."""

    def __init__(self, asked: int, compacted: int) -> None:
        super().__init__(f"cannot read revision {asked}: everything before {compacted} has been compacted")
        self.asked = asked
        self.compacted = compacted


class FutureRevisionError(InvalidError):
    """The revision that was asked for has not happened yet."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stood at `mod_revision`, the revision that last wrote it."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds if the key was last written at `mod_revision`; 0 means that the key does not exist."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Creates or replaces a key."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a key; removing one that does not exist changes nothing."""

    key: str


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class TxnResult:
    """Whether all compares held, and the store's revision after the transaction."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Keys in order; `revision` is the one they were read at, `more` whether `limit` cut them short."""

    items: tuple[KeyValue, ...]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key: `value` is None for a deletion; `previous_revision` is 0 where the key was new.

    `create_revision` is that of the key's present (for a deletion: ended) life.
    """

    key: str
    value: bytes | None
    revision: int
    create_revision: int
    previous_revision: int


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """The events of whole revisions, in order, and the revision up to which the watcher now knows everything."""

    events: tuple[Event, ...]
    revision: int


class Store(Protocol):
    """What every store offers. All reads without `at_revision` see every acknowledged transaction."""

    @property
    def revision(self) -> int:
        """The newest revision that this process knows to be acknowledged; an empty store has 1, as etcd has."""
        ...

    @property
    def compacted(self) -> int:
        """Reads at and watches from revisions below this one fail."""
        ...

    async def start(self) -> None: ...

    async def fresh(self) -> int:
        """Waits until `revision` has reached what any process had been acknowledged before this call; returns it.

        Watches of this process have been given everything up to it.
        """
        ...

    async def stop(self) -> None:
        """Finishes what was handed in, ends all watches, closes."""
        ...

    async def get(self, key: str, at_revision: int | None = None) -> KeyValue | None:
        """Raises CompactedError, FutureRevisionError."""
        ...

    async def range(
        self, prefix: str, at_revision: int | None = None, limit: int = 0, start_after: str = ""
    ) -> RangeResult:
        """The keys that begin with `prefix`, in the order of their UTF-8 bytes, those after `start_after` only.

        `limit` 0 means no limit. Raises CompactedError, FutureRevisionError.
        """
        ...

    async def txn(self, compares: Sequence[Compare], then: Sequence[Operation]) -> TxnResult:
        """Does all of `then` at one revision if all of `compares` hold, else nothing; durable when it returns."""
        ...

    def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        """Every event at or after `from_revision`: none lost, none twice, in order.

        The first batch comes at once, possibly empty, and holds all that has happened. Raises CompactedError where
        `from_revision` is below `compacted`. Ends when the store stops.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forgets what was overwritten or deleted before `revision`; present values stay."""
        ...
