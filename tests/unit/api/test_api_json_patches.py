"""JSON patch by the examples of RFC 6902, merge patch by those of RFC 7386, and their properties."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.patch import json_patch, merge_patch
from weft.api.patch.merge_patch import merge_value
from weft.api.status import ApiError

# (document, operations, result), from appendix A of RFC 6902.
RFC_6902: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
]


@pytest.mark.parametrize(("document", "operations", "result"), RFC_6902)
def test_json_patch(document: Any, operations: list[dict[str, Any]], result: Any) -> None:
    before = copy.deepcopy((document, operations))
    assert json_patch(document, operations) == result
    assert (document, operations) == before


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "test", "path": "/baz", "value": "bar"}, 422),
        ({"op": "test", "path": "/one", "value": True}, 422),
        ({"op": "add", "path": "/a/b", "value": 1}, 422),
        ({"op": "remove", "path": "/nothing"}, 422),
        ({"op": "replace", "path": "/nothing", "value": 1}, 422),
        ({"op": "add", "path": "/list/3", "value": 1}, 422),
        ({"op": "add", "path": "/list/01", "value": 1}, 422),
        ({"op": "remove", "path": "/list/-"}, 422),
        ({"op": "move", "from": "/list", "path": "/list/0"}, 422),
        ({"op": "add", "path": "/one/x", "value": 1}, 422),
        ({"op": "jump", "path": "/one"}, 400),
        ({"op": "add", "path": "/one"}, 400),
        ({"op": "add", "path": "one", "value": 1}, 400),
        ({"op": "add", "value": 1}, 400),
        ({"op": ["add"], "path": "/one"}, 400),
        ({"op": "move", "path": "/one"}, 400),
        ("add", 400),
    ],
)
def test_json_patch_refused(operation: Any, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({"one": 1, "baz": "qux", "list": [1]}, [operation])
    assert caught.value.code == code


def test_json_patch_has_bounds() -> None:
    with pytest.raises(ApiError, match="must be an array"):
        json_patch({}, {"op": "add"})
    with pytest.raises(ApiError, match="maximum operations") as caught:
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)
    assert caught.value.code == 413
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(ApiError, match="copies more than"):
        json_patch({"a": ["x" * 1000]}, doubling)


# Appendix A of RFC 7386.
RFC_7386: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "result"), RFC_7386)
def test_merge_patch(document: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((document, patch))
    assert merge_value(document, patch) == result
    assert (document, patch) == before


@pytest.mark.parametrize("patch", [None, "x", 1, ["a"]])
def test_merge_patch_of_an_object_must_be_an_object(patch: Any) -> None:
    with pytest.raises(ApiError) as caught:
        merge_patch({"a": 1}, patch)
    assert caught.value.code == 400


LEAVES = st.one_of(st.booleans(), st.integers(-9, 9), st.text("abc/~", max_size=3))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("ab/~", max_size=2), VALUES, max_size=4)


def make_merge_patch(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old or json.dumps(old[key]) != json.dumps(value):
            patch[key] = make_merge_patch(old.get(key), value)
    return patch


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_leads_from_any_object_to_any_other(old: Any, new: Any) -> None:
    before = json.dumps(old)
    assert json.dumps(merge_patch(old, make_merge_patch(old, new)), sort_keys=True) == json.dumps(new, sort_keys=True)
    assert json.dumps(old) == before


@given(OBJECTS, VALUES, st.text("ab/~", min_size=1, max_size=3))
def test_adding_and_removing_a_field_changes_nothing(document: Any, value: Any, key: str) -> None:
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    without = {name: each for name, each in document.items() if name != key}
    added = json_patch(without, [{"op": "add", "path": path, "value": value}])
    assert added == {**without, key: value}
    assert json_patch(added, [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]) == without
