"""A link-state database with the ages of what is in it (RFC 2328, 12.2 and 14)."""

from collections.abc import Iterator
from dataclasses import dataclass

from weft.network.routing.ospf.lsa import MAX_AGE, Key, Lsa


@dataclass(slots=True)
class Entry:
    """`age` is that at the time `installed`; `flooded`: it came by flooding, so that MinLSArrival counts."""

    lsa: Lsa
    age: int
    installed: float
    flooded: bool = False
    sent: float = float("-inf")  # when it last answered an older instance (13, step 8)
    told: float = float("-inf")  # when anyone was first sent it

    def age_at(self, now: float) -> int:
        return min(MAX_AGE, self.age + int(now - self.installed)) if self.age < MAX_AGE else MAX_AGE


class Database:
    """The LSAs of one area, or the AS-external LSAs of all."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        # No LSA reaches MaxAge before.
        self.earliest_expiry = float("inf")

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def install(self, lsa: Lsa, age: int, now: float, *, flooded: bool) -> Entry:
        entry = self._entries[lsa.key] = Entry(lsa, age, now, flooded)
        if age < MAX_AGE:
            self.earliest_expiry = min(self.earliest_expiry, now + MAX_AGE - age)
        return entry

    def remove(self, key: Key) -> None:
        self._entries.pop(key, None)

    def expire(self, now: float) -> list[Entry]:
        """Those that have come to MaxAge by themselves since the last call; they are marked so."""
        expired = []
        self.earliest_expiry = float("inf")
        for entry in self._entries.values():
            if entry.age >= MAX_AGE:
                continue
            if entry.age_at(now) >= MAX_AGE:
                entry.age = MAX_AGE
                expired.append(entry)
            else:
                self.earliest_expiry = min(self.earliest_expiry, entry.installed + MAX_AGE - entry.age)
        return expired

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)
