"""Copies are equal, of the same types, and apart."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.values import clone

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda below: st.one_of(st.lists(below), st.dictionaries(st.text(), below)),
)


def containers(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {id(value)}.union(*map(containers, value.values()))
    return {id(value)}.union(*map(containers, value)) if isinstance(value, list) else set()


@given(VALUES)
def test_a_clone_is_a_deep_copy(value: Any) -> None:
    copied = clone(value)
    assert repr(copied) == repr(copy.deepcopy(value))
    assert not containers(value) & containers(copied)


@pytest.mark.parametrize("value", [{"n": 2**70}, ["\ud800"], {"a": {"deep": [{}]}}])
def test_what_json_cannot_say(value: Any) -> None:
    assert repr(clone(value)) == repr(value)


def test_great_depth() -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    assert clone(value) == value
