"""The channel without a switch: handshake, versions, silence, transactions, and bytes however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.codec import decode, encode
from weft.network.southbound.openflow.connection import Connection, Dead, Done, Failure, Ready, Received
from weft.network.southbound.openflow.oxm import match

FEATURES = m.Features(0x17, 0, 254)


def sent(connection: Connection) -> list[tuple[int, m.Message]]:
    data, out = connection.take(), []
    while data:
        length = int.from_bytes(data[2:4])
        out.append(tuple(decode(data[:length])))
        data = data[length:]
    return out


def ready() -> Connection:
    connection = Connection(0.0)
    connection.receive(encode(m.Hello(), 1), 0.0)
    assert connection.receive(encode(FEATURES, 2), 0.0) == [Ready(FEATURES)]
    connection.take()
    return connection


def test_the_handshake_asks_who_the_switch_is() -> None:
    connection = Connection(0.0)
    assert [each for _, each in sent(connection)] == [m.Hello()]
    assert not connection.receive(encode(m.Hello(None, 5), 1), 0.0)  # a later one without a bitmap agrees on ours
    assert [each for _, each in sent(connection)] == [m.FeaturesRequest()]


@pytest.mark.parametrize("hello", [m.Hello(frozenset({1, 5}), 5), m.Hello(None, 1)])
def test_another_version_is_refused_with_an_error(hello: m.Hello) -> None:
    connection = Connection(0.0)
    connection.take()
    assert isinstance(connection.receive(encode(hello, 1), 0.0)[0], Dead)
    assert [type(each) for _, each in sent(connection)] == [m.Error]
    assert not connection.receive(encode(FEATURES, 2), 0.0)


def test_silence_makes_us_ask_and_then_give_up() -> None:
    connection = ready()
    assert connection.tick(4.9) == []
    assert not sent(connection)
    assert connection.tick(connection.deadline) == []
    assert [each for _, each in sent(connection)] == [m.EchoRequest()]
    connection.receive(encode(m.EchoReply(), 9), 6.0)
    assert connection.deadline == 11.0
    connection.tick(11.0)
    assert isinstance(connection.tick(21.0)[0], Dead)


def test_echoes_are_answered_with_their_data_and_id() -> None:
    connection = ready()
    connection.receive(encode(m.EchoRequest(b"ab"), 77), 0.0)
    assert sent(connection) == [(77, m.EchoReply(b"ab"))]


def test_a_bundle_ends_with_its_commit_and_tells_what_was_refused() -> None:
    connection = ready()
    last = connection.bundle([m.FlowMod(match(in_port=each)) for each in (1, 2)])
    xids = [xid for xid, _ in sent(connection)]
    assert xids == list(range(last - 3, last + 1))
    error = m.Error(5, 1)
    opened = m.BundleControl(1, m.BundleStep.OPEN_REPLY)
    assert not connection.receive(encode(opened, xids[0]) + encode(error, xids[2]), 0.0)
    refused = m.Error(17, 7)
    failures = (Failure(2, error), Failure(3, refused))
    assert connection.receive(encode(refused, last), 0.0) == [Done(last, (), failures)]
    assert connection.receive(encode(refused, last), 0.0) == [Received(refused)]


@given(st.lists(st.integers(1, 60), max_size=10))
def test_replies_in_pieces_are_one_answer_however_bytes_are_cut(cuts: list[int]) -> None:
    connection = ready()
    xid = connection.request(m.PortStatsRequest())
    pieces = [m.Multipart(4, (m.PortStats(each, 1, 2, 3, 4),), each == 1) for each in (1, 2)]
    data = b"".join(encode(each, xid) for each in pieces)
    events = []
    for cut in [*cuts, len(data)]:
        events += connection.receive(data[:cut], 0.0)
        data = data[cut:]
    assert events == [Done(xid, tuple(pieces), ())]


def test_a_length_that_cannot_be_ends_the_channel() -> None:
    assert isinstance(ready().receive(bytes.fromhex("0402000700000001"), 0.0)[0], Dead)
