"""Deadlines by key, kept in a heap; putting a deadline off, which hellos do all the time, costs no heap operation."""

import heapq
from collections.abc import Hashable, Iterator
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._queued: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()

    def set(self, key: K, when: float) -> None:
        """Starts a timer, or moves it."""
        self._due[key] = when
        queued = self._queued.get(key)
        if queued is None or when < queued:
            self._push(key, when)

    def start(self, key: K, when: float) -> None:
        """Starts a timer that does not run yet."""
        if key not in self._due:
            self.set(key, when)

    def cancel(self, key: K) -> None:
        self._due.pop(key, None)

    def running(self, key: K) -> bool:
        return key in self._due

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap:
            when, _, key = self._heap[0]
            due = self._due.get(key)
            if due == when and self._queued.get(key) == when:
                return when
            heapq.heappop(self._heap)
            if self._queued.get(key) != when:
                continue  # an earlier deadline was put before it
            del self._queued[key]
            if due is not None:
                self._push(key, due)
        return None

    def expired(self, now: float) -> Iterator[K]:
        """Takes out, one by one, what is due; what runs meanwhile may set and cancel timers."""
        while (when := self.next()) is not None and when <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._queued[key]
            del self._due[key]
            yield key

    def _push(self, key: K, when: float) -> None:
        self._queued[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))
