"""The wire format: round trips, checksums, authentication, and any bytes at all."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication
from weft.network.routing.ospf import OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.ospf.lsa import (
    MAX_AGE,
    ExternalBody,
    Lsa,
    LsaHeader,
    NetworkBody,
    RouterBody,
    RouterLink,
    SummaryBody,
    decode_lsa,
    make_lsa,
    newer,
)
from weft.network.routing.ospf.packet import (
    DatabaseDescription,
    Hello,
    LinkStateAck,
    LinkStateRequest,
    LinkStateUpdate,
    Packet,
    decode,
    encode,
)
from weft.network.routing.protocol import PacketError

u8, u16, u24, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 24, 32))
masks = st.integers(0, 32).map(lambda length: 0xFFFFFFFF ^ (0xFFFFFFFF >> length))
ages = st.integers(0, MAX_AGE)
sequences = st.integers(-0x7FFFFFFF, 0x7FFFFFFF)
bodies = st.one_of(
    st.tuples(st.just(1), st.builds(RouterBody, u8, st.lists(st.builds(RouterLink, u8, u32, u32, u16)).map(tuple))),
    st.tuples(st.just(2), st.builds(NetworkBody, masks, st.lists(u32, min_size=1).map(tuple))),
    st.tuples(st.sampled_from((3, 4)), st.builds(SummaryBody, masks, u24)),
    st.tuples(st.just(5), st.builds(ExternalBody, masks, st.booleans(), u24, u32, u32)),
)
lsas = st.builds(lambda o, kb, i, r, s: make_lsa(o, kb[0], i, r, s, kb[1]), u8, bodies, u32, u32, sequences)
headers = st.builds(LsaHeader, u16, u8, u8, u32, u32, sequences, u16, st.integers(20, 65535))
header_lists = st.lists(headers, max_size=5).map(tuple)
contents = st.one_of(
    st.builds(Hello, u32, u16, u8, u8, u32, u32, u32, st.lists(u32, max_size=5).map(tuple)),
    st.builds(DatabaseDescription, u16, u8, u8, u32, header_lists),
    st.builds(LinkStateRequest, st.lists(st.tuples(u32, u32, u32), max_size=5).map(tuple)),
    st.builds(LinkStateUpdate, st.lists(st.tuples(ages, lsas), max_size=4).map(tuple)),
    st.builds(LinkStateAck, header_lists),
)
AUTHENTICATIONS = [
    Authentication(),
    Authentication("simple", b"secret"),
    Authentication("md5", b"secret", 7),
    *(Authentication(f"hmac-sha-{size}", b"x" * 70, 3) for size in ("1", "256", "384", "512")),
]


@given(content=contents, router=u32, area=u32, authentication=st.sampled_from(AUTHENTICATIONS), sequence=u32)
def test_packets_come_back_as_they_went(content, router, area, authentication, sequence) -> None:
    packet = Packet(router, area, content, sequence if authentication.digest_length else 0)
    assert decode(encode(packet, authentication), authentication) == packet


@given(content=contents, authentication=st.sampled_from(AUTHENTICATIONS), data=st.data())
def test_a_changed_packet_never_counts_as_the_same(content, authentication, data) -> None:
    packet = Packet(1, 2, content, 3 if authentication.digest_length else 0)
    raw = bytearray(encode(packet, authentication))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(raw), authentication)
    except PacketError:
        return
    assert authentication.digest_length == 0 or found == packet


@given(data=st.binary(max_size=200), authentication=st.sampled_from(AUTHENTICATIONS))
def test_any_bytes_give_a_packet_or_a_packet_error(data, authentication) -> None:
    try:
        decode(data, authentication)
    except PacketError as error:
        assert str(error)  # noqa: PT017


@given(kind=st.integers(0, 8), content=st.binary(max_size=160))
def test_any_content_behind_a_right_header(kind, content) -> None:
    """The parts behind the checksum are reached too."""
    from weft.network.routing.ospf.packet import internet_checksum

    head = bytes([2, kind]) + (24 + len(content)).to_bytes(2, "big") + bytes(4) + bytes(4)
    checksum = internet_checksum(head + bytes(2) + bytes(2) + bytes(8) + content)
    try:
        decode(head + checksum.to_bytes(2, "big") + bytes(2) + bytes(8) + content, Authentication())
    except PacketError as error:
        assert str(error)  # noqa: PT017


@given(lsa=lsas, age=ages, data=st.data())
def test_the_checksum_sees_every_changed_byte(lsa: Lsa, age, data) -> None:
    raw = bytearray(lsa.encode(age))
    assert decode_lsa(bytes(raw), 0, len(raw)) == (age, lsa)
    at = data.draw(st.integers(2, len(raw) - 1))
    raw[at] = (raw[at] + data.draw(st.integers(1, 254))) % 255 if raw[at] < 255 else 1
    with pytest.raises(PacketError):
        decode_lsa(bytes(raw), 0, len(raw))


def test_a_router_lsa_as_a_router_of_frr_sent_it() -> None:
    raw = bytes.fromhex(
        "0001020101010101010101018000000310a70024"  # header: age 1, E, type 1, 1.1.1.1, 1.1.1.1, sequence 3
        "0000000102020202ffffffff03000000"
    )
    with pytest.raises(PacketError, match="wrong checksum"):
        decode_lsa(raw, 0, len(raw))
    lsa = make_lsa(
        2, 1, 0x01010101, 0x01010101, -0x7FFFFFFD, RouterBody(0, (RouterLink(3, 0x02020202, 0xFFFFFFFF, 0),))
    )
    assert lsa.encode(1)[:16] == raw[:16]
    assert lsa.encode(1)[20:] == raw[20:]


@given(a=headers, b=headers)
def test_of_two_instances_one_is_newer_or_they_are_the_same(a, b) -> None:
    assert newer(a, b) == -newer(b, a)
    assert newer(a, a) == 0


def test_what_tells_instances_apart() -> None:
    base = LsaHeader(100, 2, 1, 1, 1, 5, 50, 36)
    assert newer(LsaHeader(100, 2, 1, 1, 1, 6, 1, 36), base) > 0, "a higher sequence number"
    assert newer(LsaHeader(100, 2, 1, 1, 1, 5, 51, 36), base) > 0, "a higher checksum"
    assert newer(LsaHeader(MAX_AGE, 2, 1, 1, 1, 5, 50, 36), base) > 0, "MaxAge"
    assert newer(LsaHeader(1100, 2, 1, 1, 1, 5, 50, 36), base) < 0, "much older"
    assert newer(LsaHeader(900, 2, 1, 1, 1, 5, 50, 36), base) == 0, "a little older"
    assert newer(LsaHeader(0, 2, 1, 1, 1, -0x7FFFFFFF, 1, 36), base) < 0, "sequence numbers are signed"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: OspfInterfaceConfig("e", cost=0), "cost 0"),
        (lambda: OspfInterfaceConfig("e", hello_interval=4, dead_interval=4), "dead must be above hello"),
        (lambda: OspfInterfaceConfig("e", authentication=Authentication("simple", b"123456789")), "8 bytes"),
        (lambda: Authentication("md5"), "without a key"),
        (lambda: Throttle(1, 0, 0.5), "above its maximum"),
        (lambda: OspfConfig(IPv4Address(0)), "router ID 0.0.0.0"),
        (lambda: OspfConfig(IPv4Address(1), (OspfInterfaceConfig("e"), OspfInterfaceConfig("e"))), "twice"),
    ],
)
def test_a_wrong_configuration_cannot_be_built(make, text) -> None:
    with pytest.raises(InvalidError, match=text):
        make()
