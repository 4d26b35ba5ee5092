"""etcd's messages: what stands in its documentation, round trips, and answers that are cut short or are no answers."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError, UnavailableError
from weft.store import etcd_wire
from weft.store.base import Compare, Delete, Put
from weft.store.etcd_address import Address
from weft.store.etcd_wire import Change, Item, Ranged, Wire


def test_requests() -> None:
    wire = Wire()
    assert wire.range(b"a") == b"\x0a\x01a"
    assert wire.range(b"a", b"b", limit=300, revision=7) == b"\x0a\x01a\x12\x01b\x18\xac\x02\x20\x07"
    assert wire.put(b"k", b"") == b"\x0a\x01k"
    assert wire.compact(5) == b"\x08\x05"
    compare = b"\x10\x02\x1a\x02/a\x30\x00"  # mod_revision must be there, though it is 0
    read = b"\x0a\x06\x0a\x02/a\x40\x01"
    put, delete = b"\x12\x07\x0a\x02/b\x12\x01v", b"\x1a\x04\x0a\x02/c"
    expected = b"".join(
        bytes((tag, len(part))) + part for tag, part in ((0x0A, compare), (0x1A, read), (0x12, put), (0x12, delete))
    )
    assert wire.txn(b"", [Compare("/a", 0)], [Put("/b", b"v"), Delete("/c")]) == expected
    assert wire.watch(b"a", b"b", 9) == b"\x0a\x0c\x0a\x01a\x12\x01b\x18\x09\x20\x01\x30\x01"


def test_answers() -> None:
    wire = Wire()
    header = b"\x0a\x04\x18\x80\x80\x01"
    item = b"\x0a\x02/a\x10\x03\x18\x05\x20\x02\x2a\x01v"
    found = wire.ranged(header + b"\x12\x0d" + item + b"\x18\x01\x20\x07")
    assert found == Ranged((Item(b"/a", b"v", 3, 5, 2),), 16384, True)
    answer = wire.watched(header + b"\x18\x01\x5a\x12\x08\x01\x12\x06\x0a\x02/a\x18\x09\x1a\x06\x0a\x02/a\x10\x03")
    assert answer.created
    assert answer.revision == 16384
    assert answer.changes == (Change(True, Item(b"/a", b"", 0, 9, 0), Item(b"/a", b"", 3, 0, 0)),)


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    wire = Wire()
    for read in (wire.ranged, wire.committed, wire.watched, wire.revision, etcd_wire.token):
        with contextlib.suppress(UnavailableError):
            read(data)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=300))
def test_unknown_fields_are_passed_over(revision: int, noise: bytes) -> None:
    header = etcd_wire._bytes(1, etcd_wire._int(3, revision))
    unknown = etcd_wire._bytes(99, noise) + etcd_wire._int(98, 5) + b"\xfd\x06abcd" + b"\xf9\x06abcdefgh"
    assert Wire().revision(unknown + header) == revision


def test_shifted_revisions() -> None:
    shifted, plain = Wire(100), Wire()
    assert shifted.range(b"a", revision=107) == plain.range(b"a", revision=7)
    assert shifted.range(b"a") == plain.range(b"a")
    assert shifted.watch(b"a", b"b", 109) == plain.watch(b"a", b"b", 9)
    assert shifted.compact(105) == plain.compact(5)
    assert shifted.txn(b"", [Compare("/a", 103)], []) == plain.txn(b"", [Compare("/a", 3)], [])
    assert shifted.txn(b"", [Compare("/a", 0)], []) == plain.txn(b"", [Compare("/a", 0)], [])
    # What stood before the shift is no revision of etcd's; above all it is not 0, which means "absent".
    assert shifted.txn(b"", [Compare("/a", 100)], []) == plain.txn(b"", [Compare("/a", 2**62)], [])
    found = shifted.ranged(b"\x0a\x02\x18\x09\x12\x08\x0a\x02/a\x10\x03\x18\x05")
    assert found == Ranged((Item(b"/a", b"", 103, 105, 0),), 109, False)


def test_addresses() -> None:
    address = Address.parse("etcd://10.0.0.1:2379,[::1]:2380?ca=/ca&cert=/c&key=/k&user=u&password-file=/p&prefix=/x/")
    assert address.members == ("10.0.0.1:2379", "[::1]:2380")
    assert (address.ca, address.key, address.user) == (Path("/ca"), Path("/k"), "u")
    assert (address.prefix, Address.parse("etcd://h:1").prefix) == ("/x", "/weft")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "etcd://",
        "etcd://host",
        "etcd://host:0",
        "etcd://user:pw@host:1",
        "http://host:1",
        "etcd://host:1/path",
        "etcd://host:1?colour=red",
        "etcd://host:1?ca",
        "etcd://host:1?cert=/c&key=/k",
        "etcd://host:1?ca=/ca&cert=/c",
        "etcd://host:1?user=u",
        "etcd://host:1?prefix=weft",
        "etcd://host:1?prefix=/",
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InvalidError, match="cannot use the store"):
        Address.parse(text)
