"""Longest prefix match (RFC 1812, 5.2.4.3) over the prefixes of one address family, as numbers.

In: prefixes as (network, length), addresses as integers. Out: what was stored for the longest prefix that covers an
address. `table` puts a map of each family behind texts and ipaddress objects; `rib` keeps its routes in one.

Items are in one hash table for each length. Which length wins for an address is known before the only probe there:
bits are cut into levels of eight, and a level keeps, for each block of 256 slots in use, one byte a slot with the
longest length of that level that covers the slot (controlled prefix expansion: Srinivasan and Varghese, "Fast
address lookups using controlled prefix expansion", 1999; not pushed down to other levels, so that a short prefix
writes at most one block). A look-up asks the levels from the lowest, and most addresses are answered by the first two.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_STRIDE = 8
_SLOTS = 1 << _STRIDE
# Writing a length over slots leaves those that a longer one holds: bytes.translate does it without a loop.
_RAISE = [bytes(max(old, length) for old in range(_SLOTS)) for length in range(129)]
_ABSENT = object()


class PrefixMap(Generic[T]):
    """`insert`, `remove`, `get` by exact prefix; `match` by address. The caller passes networks without host bits."""

    __slots__ = ("_bits", "_items", "_levels", "_shifts", "_size")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._items: list[dict[int, T]] = [{} for _ in range(bits + 1)]
        self._levels: list[dict[int, bytearray]] = [{} for _ in range(bits // _STRIDE)]
        self._shifts: list[tuple[int, int, dict[int, bytearray]]] = []
        self._size = 0

    def insert(self, network: int, length: int, item: T) -> None:
        """Stores an item, in place of the one there was."""
        items = self._items[length]
        key = network >> (self._bits - length)
        before = len(items)
        items[key] = item
        if len(items) != before:
            self._size += 1
            if length:
                self._cover(key, length)

    def load(self, entries: Iterable[tuple[int, int, T]]) -> None:
        """Stores many, as (network, length, item)."""
        bits, tables, levels, cover = self._bits, self._items, self._levels, self._cover
        added = 0
        for network, length, item in entries:
            items = tables[length]
            key = network >> (bits - length)
            before = len(items)
            items[key] = item
            if len(items) == before:
                continue
            added += 1
            if length and not length % _STRIDE:
                # The common lengths (/24, /48) hold one slot, and nothing of their level is longer.
                block = levels[length // _STRIDE - 1].get(key >> _STRIDE)
                if block is not None:
                    block[key & 255] = length
                    continue
            if length:
                cover(key, length)
        self._size += added

    def remove(self, network: int, length: int) -> bool:
        """Whether there was such a prefix."""
        items = self._items[length]
        key = network >> (self._bits - length)
        if items.pop(key, _ABSENT) is _ABSENT:
            return False
        self._size -= 1
        if length:
            self._uncover(key, length)
        return True

    def get(self, network: int, length: int) -> T | None:
        return self._items[length].get(network >> (self._bits - length))

    def match(self, address: int) -> T | None:
        """What the longest prefix that covers this address holds."""
        for shift, shorter, blocks in self._shifts:
            slot = address >> shift
            block = blocks.get(slot >> 8)
            if block is not None:
                length = block[slot & 255]
                if length:
                    return self._items[length][slot >> (shorter - length)]
        return self._items[0].get(0)

    def matches(self, address: int, longest: int) -> Iterator[tuple[int, T]]:
        """(length, item) of every prefix that covers the first `longest` bits of an address, the longest first."""
        for length in range(longest, -1, -1):
            items = self._items[length]
            if items:
                key = address >> (self._bits - length)
                if key in items:
                    yield length, items[key]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[int, int, T]]:
        """(network, length, item) of all, from the shortest length."""
        for length, items in enumerate(self._items):
            shift = self._bits - length
            for key, item in items.items():
                yield key << shift, length, item

    def _cover(self, key: int, length: int) -> None:
        number = (length - 1) // _STRIDE
        level = self._levels[number]
        spare = (number + 1) * _STRIDE - length
        first = key << spare
        block = level.get(first >> _STRIDE)
        if block is None:
            if not level:
                level[first >> _STRIDE] = block = bytearray(_SLOTS)
                self._note_levels()
            else:
                level[first >> _STRIDE] = block = bytearray(_SLOTS)
        slot = first & (_SLOTS - 1)
        if spare:
            end = slot + (1 << spare)
            block[slot:end] = block[slot:end].translate(_RAISE[length])
        else:
            block[slot] = length

    def _uncover(self, key: int, length: int) -> None:
        number = (length - 1) // _STRIDE
        level = self._levels[number]
        top = (number + 1) * _STRIDE
        parent = 0
        for shorter in range(length - 1, number * _STRIDE, -1):
            if key >> (length - shorter) in self._items[shorter]:
                parent = shorter
                break
        first = key << (top - length)
        block = level[first >> _STRIDE]
        slot = first & (_SLOTS - 1)
        end = slot + (1 << (top - length))
        block[slot:end] = block[slot:end].replace(bytes((length,)), bytes((parent,)))
        if not parent and block.count(0) == _SLOTS:
            del level[first >> _STRIDE]
            if not level:
                self._note_levels()

    def _note_levels(self) -> None:
        """The levels in use, lowest first: (bits below a slot, bits down to a slot, blocks)."""
        tops = [(number + 1) * _STRIDE for number in range(len(self._levels))]
        self._shifts = [
            (self._bits - top, top, blocks)
            for top, blocks in zip(reversed(tops), reversed(self._levels), strict=True)
            if blocks
        ]
