"""RIP messages: round trips, authentication, entries that cannot be, and any bytes."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing.authentication import Authentication
from weft.network.routing.protocol import PacketError
from weft.network.routing.rip.packet import REQUEST, RESPONSE, WHOLE_TABLE, Entry, Message, decode, encode, room

AUTHENTICATIONS = [
    Authentication(),
    Authentication("simple", b"secret"),
    Authentication("md5", b"secret", 7),
    *(Authentication(f"hmac-sha-{size}", b"x" * 70, 3) for size in ("1", "256", "384", "512")),
]
prefixes = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda v: IPv4Network(v, strict=False))
addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
entries = st.builds(Entry, prefixes, st.integers(1, 16), st.integers(0, 65535), addresses)


@given(
    command=st.sampled_from((REQUEST, RESPONSE)),
    content=st.lists(entries, min_size=1, max_size=24).map(tuple),
    authentication=st.sampled_from(AUTHENTICATIONS),
    sequence=st.integers(0, 2**32 - 1),
)
def test_messages_come_back_as_they_went(command, content, authentication, sequence) -> None:
    message = Message(command, content, sequence if authentication.digest_length else 0)
    assert decode(encode(message, authentication), authentication) == message


@given(content=st.lists(entries, min_size=1, max_size=5).map(tuple), data=st.data())
def test_a_changed_message_does_not_pass_for_the_same(content, data) -> None:
    authentication = data.draw(st.sampled_from(AUTHENTICATIONS[2:]))
    message = Message(RESPONSE, content, 9)
    raw = bytearray(encode(message, authentication))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(raw), authentication)
    except PacketError:
        return
    assert found == message


@given(data=st.binary(max_size=120), authentication=st.sampled_from(AUTHENTICATIONS))
def test_any_bytes_give_a_message_or_a_packet_error(data, authentication) -> None:
    for raw in (data, b"\x02\x02\x00\x00" + data):
        try:
            decode(raw, authentication)
        except PacketError as error:
            assert str(error)  # noqa: PT017


def test_a_known_message() -> None:
    raw = bytes.fromhex("02020000 0002000a 0a010000 ffff0000 00000000 00000003".replace(" ", ""))
    assert decode(raw, Authentication()) == Message(RESPONSE, (Entry(IPv4Network("10.1.0.0/16"), 3, 10),))
    assert encode(WHOLE_TABLE, Authentication()).hex() == "01020000" + "00" * 19 + "10"


def test_an_entry_that_cannot_be_is_left_out_and_the_others_count() -> None:
    good = "00020000 0a010000 ffff0000 00000000 00000003"
    bad = [
        "00020000 0a010000 ff00ff00 00000000 00000003",
        "00020000 0a010001 ffff0000 00000000 00000003",
        "00020000 0a010000 ffff0000 00000000 00000011",
        "00020000 0a010000 ffff0000 00000000 00000000",
        "00070000 0a010000 ffff0000 00000000 00000003",
    ]
    raw = bytes.fromhex("02020000" + "".join([*bad, good]).replace(" ", ""))
    message = decode(raw, Authentication())
    assert [entry.metric for entry in message.entries] == [3]
    assert len(message.refused) == len(bad)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0201" + "00" * 22, "version 1"),
        ("0302" + "00" * 22, "command 3"),
        ("0202" + "00" * 30, "no whole number"),
        ("0202", "too short"),
        ("02020000" + "ffff0002" + "00" * 16, "not configured"),
    ],
)
def test_malformed_messages_are_refused(raw, text) -> None:
    with pytest.raises(PacketError, match=text):
        decode(bytes.fromhex(raw), Authentication())


def test_a_keyed_message_has_less_room_and_takes_both_ways_of_counting_the_digest() -> None:
    key = Authentication("md5", b"k")
    assert (room(Authentication()), room(key)) == (25, 24)
    raw = bytearray(encode(Message(RESPONSE, (Entry(IPv4Network("10.0.0.0/8"), 1),), 5), key))
    raw[11] = 20
    body = bytes(raw[:-16])
    assert decode(body + key.digest(body), key).sequence == 5
