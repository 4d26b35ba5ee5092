"""BFD: the wire, the state machine, timing under a virtual clock, loss, and any bytes."""

import heapq
import random
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.bfd import Bfd, BfdConfig
from weft.network.routing.bfd.packet import ControlPacket, State, decode
from weft.network.routing.protocol import (
    Interface,
    InterfaceChanged,
    InterfaceRemoved,
    NeighborChanged,
    Notice,
    PacketError,
    PacketReceived,
    Send,
    Shutdown,
    TimerFired,
)

ADDRESSES = (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))


class Pair:
    """Two routers with a session, joined by a wire that may lose packets."""

    def __init__(self, a: BfdConfig, b: BfdConfig, seed: int = 1) -> None:
        self.cores = [Bfd(a, random.Random(seed)), Bfd(b, random.Random(seed + 1))]
        self.now = 0.0
        self.loss = 0.0
        self.told: list[tuple[float, int, str]] = []
        self.sent = [0, 0]
        self._rng = random.Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        for side in (0, 1):
            self._act(side, self.cores[side].open("e", ADDRESSES[1 - side], 0.0))

    def _act(self, side: int, actions) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.sent[side] += 1
                if self._rng.random() >= self.loss:
                    self._count += 1
                    heapq.heappush(self._queue, (self.now + 0.001, self._count, 1 - side, action.data))
            elif isinstance(action, NeighborChanged):
                self.told.append((self.now, side, action.state))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(100_000):
            timers = [(core.next_timer() or 1e9, side) for side, core in enumerate(self.cores)]
            when, side = min(timers)
            packet = self._queue[0][0] if self._queue else 1e9
            if min(when, packet) > end:
                self.now = end
                return
            self.now = max(self.now, min(when, packet))
            if packet <= when:
                _, _, side, data = heapq.heappop(self._queue)
                event = PacketReceived("e", ADDRESSES[1 - side], ADDRESSES[side], data, 255)
                self._act(side, self.cores[side].handle(event, self.now))
            else:
                self._act(side, self.cores[side].handle(TimerFired(), self.now))
        raise AssertionError("too many events")

    def states(self) -> list[str]:
        return [next(iter(core.sessions().values())) for core in self.cores]


def test_a_session_comes_up_and_silence_is_seen_in_the_detection_time() -> None:
    pair = Pair(BfdConfig(0.01, 0.01, 3), BfdConfig(0.01, 0.01, 3))
    pair.run(5)
    assert pair.states() == ["Up", "Up"]
    pair.loss = 1.0
    began = pair.now
    pair.run(0.2)
    assert pair.states() == ["Down", "Down"]
    downs = [when - began for when, _, state in pair.told if state == "Down"]
    assert len(downs) == 2
    assert all(0.02 <= after <= 0.032 for after in downs)
    pair.loss = 0.0
    pair.run(5)
    assert pair.states() == ["Up", "Up"]


def test_the_slower_side_sets_the_pace_and_a_down_session_is_slow() -> None:
    pair = Pair(BfdConfig(0.01, 0.05, 3), BfdConfig(0.1, 0.01, 4))
    pair.run(5)
    pair.sent = [0, 0]
    pair.run(10)
    assert 1000 <= pair.sent[0] <= 1400, "every 7.5 to 10 ms: what one likes to send, the other can take"
    assert 100 <= pair.sent[1] <= 140, "every 75 to 100 ms: no more than it likes to send"
    pair.loss = 1.0
    pair.run(2)
    pair.sent = [0, 0]
    pair.run(10)
    assert all(10 <= sent <= 14 for sent in pair.sent), "about one a second (RFC 5880, 6.8.3)"


def test_taking_leave_is_told_apart_from_failure() -> None:
    pair = Pair(BfdConfig(), BfdConfig())
    pair.run(5)
    pair._act(0, pair.cores[0].handle(Shutdown(), pair.now))
    pair.run(0.1)
    assert pair.told[-1][1:] == (1, "AdminDown")
    assert not pair.cores[0].sessions()


def test_an_interface_that_goes_down_takes_its_sessions_down() -> None:
    pair = Pair(BfdConfig(), BfdConfig())
    pair.run(5)
    down = Interface("e", IPv4Interface("10.0.0.1/24"), up=False)
    pair._act(0, pair.cores[0].handle(InterfaceChanged(down), pair.now))
    assert pair.told[-1][1:] == (0, "Down")


@settings(max_examples=30, deadline=None)
@given(loss=st.floats(0, 0.9), seed=st.integers(0, 99), multiplier=st.integers(1, 5))
def test_after_any_loss_both_sides_come_up_and_agree(loss, seed, multiplier) -> None:
    pair = Pair(BfdConfig(0.05, 0.05, multiplier), BfdConfig(0.02, 0.1, 3), seed)
    pair.loss = loss
    pair.run(10)
    pair.loss = 0.0
    pair.run(15)
    assert pair.states() == ["Up", "Up"]


u32 = st.integers(0, 2**32 - 1)
packets = st.builds(
    ControlPacket, st.sampled_from(State), u32.filter(bool), u32.filter(bool), u32, u32,
    st.integers(1, 255), st.integers(0, 31), st.booleans(), st.booleans(),
)  # fmt: skip


@given(packet=packets)
def test_packets_come_back_as_they_went(packet) -> None:
    assert decode(packet.encode()) == packet


@given(data=st.one_of(st.binary(max_size=40), packets.map(lambda each: each.encode()[:23] + b"\xff")))
def test_any_bytes_give_a_packet_or_a_packet_error_and_never_raise_in_a_session(data) -> None:
    try:
        decode(data)
    except PacketError as error:
        assert str(error)  # noqa: PT017
    core = Bfd(BfdConfig(), random.Random(1))
    core.open("e", ADDRESSES[1], 0.0)
    core.handle(PacketReceived("e", ADDRESSES[1], ADDRESSES[0], data, 255), 0.1)


def test_a_packet_that_a_router_passed_on_is_refused() -> None:
    pair = Pair(BfdConfig(), BfdConfig())
    pair.run(5)
    data = ControlPacket(State.DOWN, 7, 0, 1, 1).encode()
    for ttl in (254, 1):
        actions = pair.cores[0].handle(PacketReceived("e", ADDRESSES[1], ADDRESSES[0], data, ttl), pair.now)
        assert [type(action) for action in actions] == [Notice]
    assert pair.states() == ["Up", "Up"]


def test_intervals_out_of_range_are_refused() -> None:
    for values in ((0, 0.1, 3), (0.1, 5000, 3), (0.1, 0.1, 0), (0.1, 0.1, 256)):
        with pytest.raises(InvalidError):
            BfdConfig(*values)


def test_leave_is_taken_for_a_detection_time_and_then_there_is_silence() -> None:
    """RFC 5880, 6.8.16: one packet may be lost."""
    pair = Pair(BfdConfig(1.0, 1.0, 3), BfdConfig(1.0, 1.0, 3))
    pair.run(10)
    assert pair.states() == ["Up", "Up"]
    pair.sent = [0, 0]
    pair.loss = 1.0
    pair._act(0, pair.cores[0].close("e", ADDRESSES[1], pair.now))
    pair.loss = 0.0
    pair.run(2.5)
    assert [state for _, side, state in pair.told if side == 1][-1] == "AdminDown"
    pair.run(2.5)
    assert 3 <= pair.sent[0] <= 5
    pair.run(20)
    assert 3 <= pair.sent[0] <= 5
    assert pair.cores[0].next_timer() is None


def test_a_session_that_is_opened_again_while_leave_is_taken_comes_up() -> None:
    pair = Pair(BfdConfig(), BfdConfig())
    pair.run(5)
    pair._act(0, pair.cores[0].close("e", ADDRESSES[1], pair.now))
    pair.run(0.2)
    pair._act(0, pair.cores[0].open("e", ADDRESSES[1], pair.now))
    pair.run(5)
    assert pair.states() == ["Up", "Up"]
    assert [state for _, side, state in pair.told if side == 0][-1] == "Up"
    pair._act(0, pair.cores[0].close("e", ADDRESSES[1], pair.now))
    assert pair.cores[0].handle(InterfaceRemoved("e"), pair.now) == []
    assert pair.cores[0].next_timer() is None, "there is nobody left to tell"
