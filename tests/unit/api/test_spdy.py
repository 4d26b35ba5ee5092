"""SPDY/3.1: known bytes, both ends against each other, windows, and whatever a peer may send."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.streams import spdy
from weft.api.streams import spdy_frames as wire
from weft.api.streams.spdy import Connection
from weft.api.streams.spdy_headers import DICTIONARY, HeaderReader, HeaderWriter
from weft.core.errors import ConflictError, InvalidError


def pair(*, windowed: bool = False) -> tuple[Connection, Connection]:
    return Connection("client", windowed=windowed), Connection("server", windowed=windowed)


def pass_on(source: Connection, sink: Connection) -> list[spdy.Event]:
    return sink.receive(source.to_send())


def opened(client: Connection, server: Connection, *, fin: bool = False) -> int:
    stream = client.open({"streamtype": "data"}, fin=fin)
    pass_on(client, server)
    server.reply(stream, {})
    pass_on(server, client)
    return stream


def test_the_dictionary_is_the_drafts() -> None:
    # The number by which zlib streams of SPDY/3 name it, seen in other implementations' traffic.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_are_laid_out_as_the_draft_draws_them() -> None:
    client = Connection("client")
    assert client.open({"a": "b"}, fin=True) == 1
    frame = client.to_send()
    assert frame[:18] == bytes.fromhex("80030001 01") + (len(frame) - 8).to_bytes(3, "big") + bytes.fromhex(
        "00000001 00000000 00 00"
    )
    plain = zlib.decompressobj(zdict=DICTIONARY).decompress(frame[18:])
    assert plain == bytes.fromhex("00000001 00000001 61 00000001 62")
    assert client.open({"a": "b"}) == 3
    client.to_send()
    client.send(3, b"hello")
    client.send(3, b"", fin=True)
    client.reset(3, spdy.CANCEL)
    client.ping()
    client.go_away()
    assert client.to_send() == (
        bytes.fromhex("00000003 00000005") + b"hello" + bytes.fromhex("00000003 01000000")
        + bytes.fromhex("80030003 00000008 00000003 00000005")
        + bytes.fromhex("80030006 00000004 00000001")
        + bytes.fromhex("80030007 00000008 00000000 00000000")
    )  # fmt: skip


def test_a_stream_from_its_opening_to_its_end() -> None:
    client, server = pair()
    stream = client.open({"StreamType": "data", "port": "80"})
    assert pass_on(client, server) == [spdy.Opened(1, {"streamtype": "data", "port": "80"}, False)]
    server.reply(stream, {"ok": "1"})
    assert pass_on(server, client) == [spdy.Replied(1, {"ok": "1"})]
    client.send(stream, b"question", fin=True)
    assert pass_on(client, server) == [spdy.Received(1, b"question", True)]
    server.send(stream, b"answer")
    server.send(stream, b"", fin=True)
    assert pass_on(server, client) == [spdy.Received(1, b"answer", False), spdy.Received(1, b"", True)]
    for side in (client, server):
        with pytest.raises(ConflictError):
            side.send(stream, b"more")


def test_many_blocks_share_one_compressor() -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    sizes = []
    for n in range(20):
        block = writer.write({"streamtype": "error", "requestid": str(n)})
        sizes.append(len(block))
        assert reader.read(block) == {"streamtype": "error", "requestid": str(n)}
    assert sizes[-1] < sizes[0]


@pytest.mark.parametrize(
    "plain",
    [
        struct.pack("!I", 1),
        struct.pack("!II", 1, 5) + b"ab",
        struct.pack("!IIII", 1, 0, 0, 0),
        struct.pack("!II", 1, 1) + b"A" + struct.pack("!I", 0),
        struct.pack("!II", 2, 1) + b"a" + struct.pack("!II", 0, 1) + b"a" + struct.pack("!I", 0),
        struct.pack("!I", 0) + b"rest",
        struct.pack("!II", 1, 1) + b"a" + struct.pack("!I", 1 << 20) + bytes(1 << 20),
    ],
)
def test_bad_header_blocks_end_the_session(plain: bytes) -> None:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    block = deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)
    server = Connection("server")
    with pytest.raises(InvalidError):
        server.receive(wire.syn_stream(1, block, fin=False))
    assert server.to_send() == wire.two_numbers(wire.GOAWAY, 0, spdy.GOAWAY_PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("80020001 00000000"),  # SPDY/2
        bytes.fromhex("80030006 00000005 0000000000"),  # a PING of five bytes
        bytes.fromhex("80030004 00000004 00000001"),  # SETTINGS without its entry
        bytes.fromhex("80030001 00FFFFFF"),
        b"GET / HTTP/1.1\r\n\r\n\x80\x04",
    ],
)
def test_what_is_no_spdy_is_refused(data: bytes) -> None:
    server = Connection("server")
    server.receive(b"")
    if data.startswith(b"GET"):  # reads as data of a stream that never was
        server.receive(data)
        assert server.to_send()[:8] == bytes.fromhex("80030003 00000008")
    else:
        with pytest.raises(InvalidError):
            server.receive(data)


def test_streams_must_be_numbered_upwards_by_their_side() -> None:
    for numbers in ((2,), (0,), (3, 1), (1, 1)):
        server, writer = Connection("server"), HeaderWriter()
        *good, bad = numbers
        for number in good:
            server.receive(wire.syn_stream(number, writer.write({}), fin=False))
        with pytest.raises(InvalidError):
            server.receive(wire.syn_stream(bad, writer.write({}), fin=False))


def test_data_after_the_end_and_after_a_reset() -> None:
    client, server = pair()
    stream = opened(client, server)
    server.receive(wire.data_head(stream, 0, fin=True))
    assert server.receive(wire.data_head(stream, 1, fin=False) + b"x") == [
        spdy.WasReset(stream, spdy.STREAM_ALREADY_CLOSED)
    ]
    server.to_send()
    assert server.receive(wire.data_head(stream, 1, fin=False) + b"x") == []
    assert server.to_send() == b""
    server.receive(wire.data_head(99, 0, fin=False))
    assert server.to_send() == wire.two_numbers(wire.RST_STREAM, 99, spdy.INVALID_STREAM)


def test_a_reset_ends_both_directions() -> None:
    client, server = pair()
    stream = opened(client, server)
    client.reset(stream)
    client.reset(stream)
    assert pass_on(client, server) == [spdy.WasReset(stream, spdy.CANCEL)]
    with pytest.raises(ConflictError):
        server.send(stream, b"x")


def test_pings_are_answered_and_no_stream_opens_after_goaway() -> None:
    client, server = pair()
    assert client.ping() == 1
    assert pass_on(client, server) == []
    assert pass_on(server, client) == [spdy.Ponged(1)]
    server.go_away()
    assert pass_on(server, client) == [spdy.GoingAway(0)]
    with pytest.raises(ConflictError):
        client.open({})


def test_windows_hold_the_sender_back() -> None:
    client, server = pair(windowed=True)
    stream = opened(client, server)
    client.send(stream, bytes(spdy.WINDOW))
    assert client.room(stream) == 0
    with pytest.raises(ConflictError):
        client.send(stream, b"x")
    pass_on(client, server)
    server.consumed(stream, 1000)
    assert pass_on(server, client) == [spdy.Writable(stream)]
    assert client.room(stream) == 1000
    # A first window that shrinks is taken from streams that are there (2.6.8).
    settings = struct.pack("!IIII", 0x80030004, 12, 1, wire.INITIAL_WINDOW_SIZE) + struct.pack("!I", 10)
    client.receive(settings)
    assert client.room(stream) == 0
    assert client.room(client.open({})) == 10


def test_a_sender_that_overruns_its_window_is_reset() -> None:
    client, server = Connection("client"), Connection("server", windowed=True)
    stream = opened(client, server)
    client.send(stream, bytes(spdy.WINDOW + 1))
    assert pass_on(client, server) == [spdy.WasReset(stream, spdy.FLOW_CONTROL_ERROR)]
    plain = Connection("server")
    block = HeaderWriter().write({})
    plain.receive(wire.syn_stream(1, block, fin=False))
    assert plain.room(1) > spdy.WINDOW  # peers that know no windows are not held to them


@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=300)), max_size=20),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_however_the_bytes_are_cut_the_data_is_the_same(writes: list[tuple[int, bytes]], cuts: list[int]) -> None:
    client, server = pair()
    streams = [client.open({"n": str(n)}) for n in range(3)]
    wanted = dict.fromkeys(streams, b"")
    for which, data in writes:
        client.send(streams[which], data)
        wanted[streams[which]] += data
    for stream in streams:
        client.send(stream, b"", fin=True)
    sent = client.to_send()
    got: dict[int, bytes] = {}
    ended = []
    place = 0
    while place < len(sent):
        size = cuts[place % len(cuts)]
        for event in server.receive(sent[place : place + size]):
            if isinstance(event, spdy.Opened):
                got[event.stream] = b""
            elif isinstance(event, spdy.Received):
                got[event.stream] += event.data
                ended += [event.stream] if event.fin else []
        place += size
    assert (got, ended) == (wanted, streams)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames that look right to varying degrees."""
    kind = draw(st.integers(0, 11))
    body = draw(st.binary(max_size=24))
    if draw(st.booleans()):
        return wire.control(kind, draw(st.integers(0, 3)), draw(st.integers(0, 9)).to_bytes(4, "big") + body)
    return wire.data_head(draw(st.integers(0, 9)), len(body), fin=draw(st.booleans())) + body


@settings(max_examples=400)
@given(st.lists(st.one_of(frames(), st.binary(max_size=30)), max_size=12), st.booleans())
def test_no_input_breaks_the_connection_itself(pieces: list[bytes], windowed: bool) -> None:
    server = Connection("server", windowed=windowed)
    server.receive(wire.syn_stream(1, HeaderWriter().write({"a": "b"}), fin=False))
    try:
        for piece in pieces:
            for event in server.receive(piece):
                assert not isinstance(event, spdy.Received) or event.stream == 1
    except InvalidError:
        assert wire.two_numbers(wire.GOAWAY, 1, spdy.GOAWAY_PROTOCOL_ERROR) in server.to_send()
    # What it says is always well-formed.
    Connection("client").receive(b"")
    wire.FrameReader().feed(server.to_send())
