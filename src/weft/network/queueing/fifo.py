"""A first-in first-out queue with bounds in packets and bytes: tail drop, as Linux's pfifo and bfifo.

In: packets by `send`, refused where a bound would be passed. Out: the same, in order, by `receive`.
"""

from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

from weft.core.errors import ConflictError, InvalidError

P = TypeVar("P", bound=Sized)


class FifoQueue(Generic[P]):
    """Holds at most `max_packets` packets and `max_bytes` bytes; a packet's size is its `len`."""

    def __init__(self, max_packets: int = 1000, max_bytes: int | None = None, *, name: str = "") -> None:
        if max_packets < 1 or (max_bytes is not None and max_bytes < 1):
            raise InvalidError("cannot make a queue: its bounds must be at least 1")
        self.name = name
        self.max_packets, self.max_bytes = max_packets, max_bytes
        self.bytes = 0
        self._packets: deque[P] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    def __bool__(self) -> bool:
        return True  # an empty queue is still a queue: `if scheduler.schedule(packet)` must hold

    def __repr__(self) -> str:
        return f"FifoQueue({self.name!r}, {len(self)} packets, {self.bytes} bytes)"

    def can_send(self, packet: P) -> bool:
        """Whether there is room."""
        within = self.max_bytes is None or self.bytes + len(packet) <= self.max_bytes
        return within and len(self._packets) < self.max_packets

    def send(self, packet: P) -> None:
        """Takes `packet`; raises ConflictError where there is no room, and then changes nothing."""
        if not self.can_send(packet):
            raise ConflictError(f"cannot queue a packet of {len(packet)} bytes: {self!r} is full")
        self._packets.append(packet)
        self.bytes += len(packet)

    def receive(self) -> P | None:
        """The packet that has waited longest; None where none waits."""
        if not self._packets:
            return None
        packet = self._packets.popleft()
        self.bytes -= len(packet)
        return packet
