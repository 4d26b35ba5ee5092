"""The DNS core: what is answered, what is refused, what is left to others, and that no bytes can break it."""

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.network.cluster.dns import NotAnswerable, Records, answer, reverse_domains, upstream_resolvers

WEB = "web.default.svc.cluster.local"
RECORDS = Records(
    domains=("cluster.local", "64.10.in-addr.arpa"),
    addresses={
        WEB: ("10.128.0.7",),
        "db.default.svc.cluster.local": ("10.64.1.1", "10.64.1.2"),
        "db-0.db.default.svc.cluster.local": ("10.64.1.1",),
        "db-1.db.default.svc.cluster.local": ("10.64.1.2",),
        "many.default.svc.cluster.local": tuple(f"10.64.2.{n}" for n in range(1, 101)),
    },
    services={
        f"_http._tcp.{WEB}": ((WEB, 80),),
        "_pg._tcp.db.default.svc.cluster.local": (
            ("db-0.db.default.svc.cluster.local", 5432),
            ("db-1.db.default.svc.cluster.local", 5432),
        ),
    },
    pointers={"10.64.1.1": "db-0.db.default.svc.cluster.local"},
)


def ask(name: str, kind: str = "A", *, udp: bool = True, **options: object) -> dns.message.Message | None:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    reply = answer(query.to_wire(), RECORDS, udp=udp)
    if reply is None:
        return None
    message = dns.message.from_wire(reply)
    assert query.is_response(message)
    return message


def texts(message: dns.message.Message | None) -> set[str]:
    assert message is not None
    return {item.to_text() for rrset in message.answer for item in rrset}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (WEB, "A", {"10.128.0.7"}),
        (WEB.upper(), "A", {"10.128.0.7"}),
        ("db.default.svc.cluster.local", "A", {"10.64.1.1", "10.64.1.2"}),
        ("db-1.db.default.svc.cluster.local", "A", {"10.64.1.2"}),
        (f"_http._tcp.{WEB}", "SRV", {f"0 100 80 {WEB}."}),
        (
            "_pg._tcp.db.default.svc.cluster.local",
            "SRV",
            {f"0 50 5432 db-{n}.db.default.svc.cluster.local." for n in (0, 1)},
        ),
        ("1.1.64.10.in-addr.arpa", "PTR", {"db-0.db.default.svc.cluster.local."}),
    ],
)
def test_known_names(name: str, kind: str, expected: set[str]) -> None:
    message = ask(name, kind)
    assert texts(message) == expected
    assert message is not None
    assert message.rcode() == dns.rcode.NOERROR
    assert message.flags & dns.flags.AA
    assert message.flags & dns.flags.RA


def test_the_targets_of_services_come_along() -> None:
    message = ask("_pg._tcp.db.default.svc.cluster.local", "SRV")
    assert message is not None
    assert {item.to_text() for rrset in message.additional for item in rrset} == {"10.64.1.1", "10.64.1.2"}


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        (WEB, "AAAA", dns.rcode.NOERROR),  # exists, but not so
        ("default.svc.cluster.local", "A", dns.rcode.NOERROR),  # only names below it (RFC 8020)
        ("cluster.local", "A", dns.rcode.NOERROR),
        ("nothing.default.svc.cluster.local", "A", dns.rcode.NXDOMAIN),
        ("example.org.default.svc.cluster.local", "A", dns.rcode.NXDOMAIN),  # what ndots:5 makes resolvers ask
        ("9.9.64.10.in-addr.arpa", "PTR", dns.rcode.NXDOMAIN),
        ("x.y.64.10.in-addr.arpa", "PTR", dns.rcode.NXDOMAIN),
    ],
)
def test_no_such_record(name: str, kind: str, code: dns.rcode.Rcode) -> None:
    message = ask(name, kind)
    assert message is not None
    assert message.rcode() == code
    assert not message.answer
    assert [rrset.rdtype for rrset in message.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("name", ["example.org", "local", "notcluster.local", "8.8.8.8.in-addr.arpa", "."])
def test_other_names_are_for_other_resolvers(name: str) -> None:
    assert ask(name) is None


def test_zone_transfers_and_other_classes_are_refused() -> None:
    for message in (ask("cluster.local", "AXFR", udp=False), ask(WEB, "A", rdclass="CH")):
        assert message is not None
        assert message.rcode() == dns.rcode.REFUSED


def test_answers_are_cut_to_what_the_client_takes() -> None:
    name = "many.default.svc.cluster.local"
    short, longer, whole = ask(name), ask(name, use_edns=0, payload=4096), ask(name, udp=False)
    assert short is not None
    assert short.flags & dns.flags.TC
    assert longer is not None
    assert longer.flags & dns.flags.TC  # never beyond what an Ethernet frame carries
    assert len(texts(whole)) == 100
    query = dns.message.make_query(name, "A", use_edns=0, payload=4096)
    assert len(answer(query.to_wire(), RECORDS, udp=True) or b"") <= 1232


def test_extras_are_left_out_before_answers_are() -> None:
    targets = tuple((f"t{n}.s.d.svc.cluster.local", 80) for n in range(9))
    records = Records(services={"_a._tcp.x": targets}, addresses={name: ("10.64.0.9",) for name, _ in targets})
    reply = answer(dns.message.make_query("_a._tcp.x", "SRV").to_wire(), records, udp=True)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert not message.flags & dns.flags.TC
    assert len(message.answer[0]) == 9
    assert not message.additional


def test_other_operations_are_not_implemented() -> None:
    query = dns.message.make_query(WEB, "A")
    query.set_opcode(dns.opcode.NOTIFY)
    reply = answer(query.to_wire(), RECORDS, udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.NOTIMP


def test_an_answer_gets_no_answer() -> None:
    query = dns.message.make_query(WEB, "A")
    with pytest.raises(NotAnswerable):
        answer(dns.message.make_response(query).to_wire(), RECORDS, udp=True)
    with pytest.raises(NotAnswerable):
        answer(b"\0" * 11, RECORDS, udp=True)


def test_a_broken_question_gets_formerr() -> None:
    query = dns.message.make_query(WEB, "A").to_wire()
    reply = answer(query[:-3], RECORDS, udp=True)
    assert reply is not None
    assert reply[:2] == query[:2]
    assert dns.message.from_wire(reply).rcode() == dns.rcode.FORMERR


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_it(data: bytes, udp: bool) -> None:
    _check(data, udp)


@given(st.data(), st.booleans())
def test_no_damage_to_a_good_query_breaks_it(data: st.DataObject, udp: bool) -> None:
    query = bytearray(dns.message.make_query(WEB, "SRV", use_edns=0, payload=1400).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        query[data.draw(st.integers(0, len(query) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(query), udp)


def _check(data: bytes, udp: bool) -> None:
    try:
        reply = answer(data, RECORDS, udp=udp)
    except NotAnswerable:
        return
    if reply is not None:
        assert reply[:2] == data[:2]
        assert reply[2] & 0x80
        dns.message.from_wire(reply)


def test_upstream_resolvers() -> None:
    text = "# x\nnameserver 10.64.0.1\nsearch a b\nnameserver 192.0.2.53\nnameserver bad\nnameserver\nnameserver ::1\n"
    assert upstream_resolvers(text, {"10.64.0.1"}) == ("192.0.2.53", "::1")
    assert upstream_resolvers("", ()) == ()


def test_reverse_domains() -> None:
    assert reverse_domains("10.64.0.0/16") == ("64.10.in-addr.arpa",)
    assert reverse_domains("10.64.8.0/23") == ("8.64.10.in-addr.arpa", "9.64.10.in-addr.arpa")
    assert reverse_domains("10.0.0.0/8") == ("10.in-addr.arpa",)
