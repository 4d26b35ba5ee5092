"""The RIPv2 codec: round trips, and only PacketError on any bytes."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing.protocol import PacketError
from weft.network.routing.rip.packet import RESPONSE, Entry, Message, decode

_PREFIXES = st.builds(lambda a, n: IPv4Network((a, n), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32))
_ENTRIES = st.builds(
    Entry, _PREFIXES, st.integers(0, 2**32 - 1), st.integers(0, 65535), st.ip_addresses(v=4), st.sampled_from([0, 2])
)
_MESSAGES = st.builds(Message, st.sampled_from([1, 2]), st.lists(_ENTRIES, max_size=25).map(tuple))


@given(_MESSAGES)
def test_round_trip(message: Message) -> None:
    assert decode(message.encode()) == message


@given(st.binary(max_size=600) | st.binary(max_size=60).map(lambda b: b"\x02\x02\0\0" + b))
def test_any_bytes_give_a_message_or_packet_error(data: bytes) -> None:
    try:
        decode(data)
    except PacketError:
        pass


def test_bytes_of_a_response() -> None:
    entry = Entry(IPv4Network("10.1.0.0/16"), 3, 7, IPv4Address("192.0.2.1"))
    assert Message(RESPONSE, (entry,)).encode().hex() == "02020000000200070a010000ffff0000c000020100000003"


@pytest.mark.parametrize(
    "data",
    ["02010000", "03020000", "020200", "02020000" + "000200000a000000ff00ff000000000000000001"],
)
def test_refused(data: str) -> None:
    with pytest.raises(PacketError):
        decode(bytes.fromhex(data))
