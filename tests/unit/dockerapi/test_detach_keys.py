"""The keys by which a user leaves a terminal."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.dockerapi.detach import DEFAULT, Keys, parse


def test_keys_as_docker_writes_them() -> None:
    assert parse("") == DEFAULT == parse("ctrl-p,ctrl-q")
    assert parse("ctrl-p,a") == b"\x10a"
    assert parse("ctrl-@,ctrl-_") == b"\x00\x1f"


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,,", "ü"])
def test_bad_keys(text: str) -> None:
    with pytest.raises(InvalidError, match="Unknown character"):
        parse(text)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.binary(max_size=40), st.lists(st.integers(0, 100), max_size=5))
def test_however_it_is_cut_all_before_the_keys_goes_on_and_nothing_after(data: bytes, cuts: list[int]) -> None:
    before, found, _ = data.partition(b"ab")
    keys, out, left = Keys(b"ab"), b"", False
    for piece in pieces(data, cuts):
        if not left:
            passed, left = keys.feed(piece)
            out += passed
    assert left == bool(found)
    if left:
        assert out == before
    else:
        assert out == data or out + b"a" == data  # the first key is held back
