"""Strict order: a packet goes to the first queue that can take it.

In: packets, by `schedule`. Out: each at a queue's `send`. The caller drains the queues.
"""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class Queue(Protocol[P_contra]):
    """What a scheduler asks of a queue."""

    def can_send(self, packet: P_contra, /) -> bool: ...

    def send(self, packet: P_contra, /) -> object: ...


class Scheduler(Generic[P]):
    """The order of `queues` is their priority, the first being the highest."""

    def __init__(self, queues: Iterable[Queue[P]]) -> None:
        self.queues = list(queues)

    def schedule(self, packet: P) -> Queue[P] | None:
        """Sends `packet` by the first queue that can; returns that queue, or None where none can."""
        for queue in self.queues:
            if queue.can_send(packet):
                queue.send(packet)
                return queue
        return None
