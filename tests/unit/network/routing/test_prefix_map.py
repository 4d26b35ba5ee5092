"""The map of prefixes, by numbers and bytes, in both families, against a model; loading many is adding one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing import RouteTable
from weft.network.routing.rib.prefixes import PrefixMap

Step = tuple[bool, int, int, int]


@st.composite
def steps(draw: st.DrawFn, bits: int) -> list[Step]:
    """(add or remove, network, length, item), around few places so that prefixes nest within and across levels."""
    found = []
    for _ in range(draw(st.integers(0, 40))):
        length = draw(st.integers(0, bits))
        base = draw(st.sampled_from([0, 0x0A << (bits - 8), (1 << bits) - 1, 0x0A0102 << (bits - 24)]))
        base ^= draw(st.integers(0, 7)) << draw(st.integers(0, bits - 3))
        found.append((bool(draw(st.integers(0, 3))), base >> (bits - length) << (bits - length), length, len(found)))
    return found


@pytest.mark.parametrize("bits", [32, 128])
@given(data=st.data())
def test_matches_are_those_of_the_model(bits: int, data: st.DataObject) -> None:
    table: PrefixMap[int] = PrefixMap(bits)
    model: dict[tuple[int, int], int] = {}
    asked = {0, (1 << bits) - 1}
    for add, network, length, item in data.draw(steps(bits)):
        asked |= {network, max(network - 1, 0), network | ((1 << (bits - length)) - 1)}
        if add:
            table.insert(network, length, item)
            model[network, length] = item
        else:
            assert table.remove(network, length) == ((network, length) in model)
            model.pop((network, length), None)
        for address in asked:
            covering = [
                (width, each) for (start, width), each in model.items() if (address ^ start) >> (bits - width) == 0
            ]
            covering.sort(reverse=True)
            assert table.match(address) == (covering[0][1] if covering else None)
            assert list(table.matches(address, bits)) == covering
    assert sorted(table) == sorted((network, length, item) for (network, length), item in model.items())
    assert len(table) == len(model)
    loaded: PrefixMap[int] = PrefixMap(bits)
    loaded.load((network, length, item) for (network, length), item in model.items())
    assert sorted(loaded) == sorted(table)
    assert len(loaded) == len(table)
    assert [loaded.match(address) for address in asked] == [table.match(address) for address in asked]


def test_numbers_bytes_and_texts_ask_the_same() -> None:
    table: RouteTable[str] = RouteTable()
    table.load_numbers([(0x0A000000, 8, "wide"), (0x0A010200, 24, "narrow")])
    table.load_numbers([(0x20010DB8 << 96, 32, "six")], 6)
    table.load([("10.1.2.3", "host"), ("A", "B")])
    table.add_number(0xC0000200, 24, "doc")
    assert table.lookup_int(0xC0000201) == table.lookup("192.0.2.1") == "doc"
    assert table.remove_number(0xC0000200, 24)
    assert not table.remove_number(0xC0000200, 24)
    assert table.lookup_packed(bytes((10, 1, 2, 9))) == table.lookup("10.1.2.9") == "narrow"
    assert table.lookup_int(0x0A010203) == "host"
    assert table.lookup_packed(bytes.fromhex("20010db8") + bytes(12)) == table.lookup("2001:db8::") == "six"
    assert table.lookup_int(0x20010DB8 << 96, 6) == "six"
    assert table.lookup("A") == "B"
    with pytest.raises(InvalidError, match="5 bytes"):
        table.lookup_packed(bytes(5))
