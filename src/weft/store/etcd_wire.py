"""etcd's messages as bytes: the few of its API that a store needs, in Protocol Buffers' wire format.

In: keys, revisions, operations of the contract. Out: the bytes of a request; from the bytes of an answer, its values.
Sans-IO. Who is next: `etcd_link`, which carries them by gRPC. Field numbers are those of etcd's `rpc.proto` and
`kv.proto` (etcd.io, "API reference"); the format is told at protobuf.dev/programming-guides/encoding. Unknown fields
are passed over, so newer servers may say more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weft.core.errors import UnavailableError
from weft.store.base import Compare, Delete, Operation, Put

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SKIPPED = {_FIXED64: 8, _FIXED32: 4}
# Compare.CompareTarget.MOD and mvccpb.Event.EventType.DELETE.
_MOD = 2
_DELETE = 1
# A revision that nothing bears.
_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Item:
    """mvccpb.KeyValue; a deletion has a key and a `mod_revision` only."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int


@dataclass(frozen=True, slots=True)
class Ranged:
    """RangeResponse; `revision` is the server's at that time."""

    items: tuple[Item, ...]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """TxnResponse: `changed` tells whether it wrote anything; `items` are what the compared keys were, if it failed."""

    succeeded: bool
    revision: int
    changed: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """mvccpb.Event; `previous` where the server still knows it."""

    deleted: bool
    item: Item
    previous: Item | None


@dataclass(frozen=True, slots=True)
class Watched:
    """WatchResponse: changes of whole revisions, or, without any, the revision up to which nothing is missing."""

    revision: int
    created: bool
    canceled: bool
    compact_revision: int
    reason: str
    changes: tuple[Change, ...]


class Wire:
    """Requests and answers; `shift` is added to every revision of etcd's, so that they begin where others ended."""

    def __init__(self, shift: int = 0) -> None:
        self._shift = shift

    # Requests

    def range(
        self, first: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0, count_only: bool = False
    ) -> bytes:
        """`end` empty reads one key; `revision` 0 is the newest."""
        at = self._there(revision)
        return _bytes(1, first) + _bytes(2, end) + _int(3, limit) + _int(4, at) + _int(9, count_only)

    def put(self, key: bytes, value: bytes) -> bytes:
        return _bytes(1, key) + _bytes(2, value)

    def txn(self, prefix: bytes, compares: Sequence[Compare], then: Sequence[Operation]) -> bytes:
        """If it fails it reads the compared keys; `prefix` stands before every key."""
        parts = []
        for compare in compares:
            key = prefix + compare.key.encode()
            # mod_revision is one of several: it must be there even where it is 0.
            modified = b"\x30" + _varint(self._there(compare.mod_revision))
            parts.append(_bytes(1, _int(2, _MOD) + _bytes(3, key) + modified))
            parts.append(_bytes(3, _bytes(1, self.range(key) + _int(8, 1))))
        for operation in then:
            parts.append(_bytes(2, self._operation(prefix + operation.key.encode(), operation)))
        return b"".join(parts)

    def _operation(self, key: bytes, operation: Operation) -> bytes:
        match operation:
            case Put():
                return _bytes(2, self.put(key, operation.value))
            case Delete():
                return _bytes(3, _bytes(1, key))

    def compact(self, revision: int) -> bytes:
        return _int(1, self._there(revision))

    def watch(self, first: bytes, end: bytes, from_revision: int) -> bytes:
        """With previous values, and with word of progress when nothing changes for long."""
        start = _int(3, self._there(from_revision))
        return _bytes(1, _bytes(1, first) + _bytes(2, end) + start + _int(4, 1) + _int(6, 1))

    def _there(self, revision: int) -> int:
        if revision == 0:
            return 0
        return revision - self._shift if revision > self._shift else _NEVER

    # Answers

    def ranged(self, data: bytes) -> Ranged:
        items: list[Item] = []
        revision, more = 0, False
        for number, value in _fields(data):
            if number == 1:
                revision = self._header(value)
            elif number == 2:
                items.append(self._item(value))
            elif number == 3:
                more = bool(value)
        return Ranged(tuple(items), revision, more)

    def revision(self, data: bytes) -> int:
        """That in the header of any answer."""
        return next((self._header(value) for number, value in _fields(data) if number == 1), 0)

    def committed(self, data: bytes) -> Committed:
        revision, succeeded, changed = 0, False, False
        items: list[Item] = []
        for number, value in _fields(data):
            if number == 1:
                revision = self._header(value)
            elif number == 2:
                succeeded = bool(value)
            elif number == 3:
                for kind, response in _fields(value):
                    if kind == 1:
                        items += self.ranged(_as_bytes(response)).items
                    elif kind == 2:
                        changed = True
                    elif kind == 3:
                        changed |= any(field == 2 and count for field, count in _fields(response))
        return Committed(succeeded, revision, changed, tuple(items))

    def watched(self, data: bytes) -> Watched:
        revision = compact = 0
        created = canceled = False
        reason = ""
        changes: list[Change] = []
        for number, value in _fields(data):
            match number:
                case 1:
                    revision = self._header(value)
                case 3:
                    created = bool(value)
                case 4:
                    canceled = bool(value)
                case 5:
                    compact = self._here(value)
                case 6:
                    reason = _as_bytes(value).decode(errors="replace")
                case 11:
                    changes.append(self._change(value))
        return Watched(revision, created, canceled, compact, reason, tuple(changes))

    def _change(self, data: bytes | int) -> Change:
        kind, item, previous = 0, None, None
        for number, value in _fields(data):
            if number == 1:
                kind = _as_int(value)
            elif number == 2:
                item = self._item(value)
            elif number == 3:
                previous = self._item(value)
        if item is None:
            raise UnavailableError("cannot read etcd's answer: an event without a key")
        return Change(kind == _DELETE, item, previous)

    def _item(self, data: bytes | int) -> Item:
        key = content = b""
        created = modified = version = 0
        for number, value in _fields(data):
            match number:
                case 1:
                    key = _as_bytes(value)
                case 2:
                    created = self._here(value)
                case 3:
                    modified = self._here(value)
                case 4:
                    version = _as_int(value)
                case 5:
                    content = _as_bytes(value)
        return Item(key, content, created, modified, version)

    def _header(self, data: bytes | int) -> int:
        return next((self._here(value) for number, value in _fields(data) if number == 3), 0)

    def _here(self, value: bytes | int) -> int:
        revision = _as_int(value)
        return revision + self._shift if revision else 0


def authenticate(name: str, password: str) -> bytes:
    """AuthenticateRequest."""
    return _bytes(1, name.encode()) + _bytes(2, password.encode())


def token(data: bytes) -> str:
    """That of an AuthenticateResponse."""
    return next((_as_bytes(value).decode(errors="replace") for number, value in _fields(data) if number == 2), "")


# --- the wire format ---


def _fields(data: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field: integers for varints, bytes for what has a length. Raises UnavailableError."""
    if isinstance(data, int):
        raise UnavailableError("cannot read etcd's answer: a number where a message should be")
    position, end = 0, len(data)
    try:
        while position < end:
            tag, position = _read_varint(data, position)
            kind = tag & 7
            if kind == _VARINT:
                value, position = _read_varint(data, position)
                yield tag >> 3, value
            elif kind == _BYTES:
                length, position = _read_varint(data, position)
                if position + length > end:
                    raise UnavailableError("cannot read etcd's answer: it is cut short")
                yield tag >> 3, data[position : position + length]
                position += length
            else:
                position += _SKIPPED[kind]
    except (IndexError, KeyError):
        raise UnavailableError("cannot read etcd's answer: it is malformed") from None


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(int(value)) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    """Nothing where there is nothing: etcd takes a range whose end is there and empty for one without end."""
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value if value else b""


def _as_int(value: bytes | int) -> int:
    if isinstance(value, bytes):
        raise UnavailableError("cannot read etcd's answer: bytes where a number should be")
    return value


def _as_bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise UnavailableError("cannot read etcd's answer: a number where bytes should be")
    return value
