"""The scheduler gives a packet to the first queue that can send it; the bounded queue keeps its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import ConflictError, InvalidError
from weft.network.queueing import FifoQueue, Scheduler


class Picky:
    """Takes packets longer than `least`."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.sent: list[bytes] = []

    def can_send(self, packet: bytes) -> bool:
        return len(packet) > self.least

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)


def test_the_first_queue_that_can_send_does_and_no_other() -> None:
    queues = [Picky(5), Picky(2), Picky(0)]
    scheduler: Scheduler[bytes] = Scheduler(queues)
    assert scheduler.schedule(b"123") is queues[1]
    assert scheduler.schedule(b"123456") is queues[0]
    assert scheduler.schedule(b"") is None
    assert [queue.sent for queue in queues] == [[b"123456"], [b"123"], []]


def test_no_queues_send_nothing() -> None:
    assert Scheduler[bytes]([]).schedule(b"x") is None


@given(
    st.integers(1, 5),
    st.none() | st.integers(1, 50),
    st.lists(st.none() | st.binary(max_size=20), max_size=40),
)
def test_a_fifo_keeps_order_and_bounds(packets: int, size: int | None, steps: list[bytes | None]) -> None:
    queue: FifoQueue[bytes] = FifoQueue(packets, size)
    model: list[bytes] = []
    for step in steps:
        if step is None:
            assert queue.receive() == (model.pop(0) if model else None)
        else:
            room = len(model) < packets and (size is None or sum(map(len, model)) + len(step) <= size)
            assert queue.can_send(step) == room
            if room:
                queue.send(step)
                model.append(step)
            else:
                with pytest.raises(ConflictError):
                    queue.send(step)
        assert (len(queue), queue.bytes) == (len(model), sum(map(len, model)))


def test_an_empty_queue_is_true_so_that_schedule_can_be_asked_directly() -> None:
    assert FifoQueue[bytes]()


@pytest.mark.parametrize("bounds", [(0, None), (1, 0)])
def test_impossible_bounds_are_refused(bounds: tuple[int, int | None]) -> None:
    with pytest.raises(InvalidError, match="at least 1"):
        FifoQueue(*bounds)
