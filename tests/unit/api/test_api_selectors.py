"""Label and field selectors: what they mean, how they are written, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.gvr import CONFIGMAPS, NODES, PODS
from weft.api.kinds import Kinds
from weft.api.selectors import FieldSelector, LabelSelector, Requirement
from weft.api.status import ApiError

KINDS = Kinds.builtin()


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y)", {}, False),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("a=,b", {"a": "", "b": "c"}, True),
        ("a=b,c in (x,y),!d", {"a": "b", "c": "x"}, True),
        ("a=b,c in (x,y),!d", {"a": "b", "c": "x", "d": ""}, False),
        ("n>3", {"n": "4"}, True),
        ("n>3", {"n": "3"}, False),
        ("n<3", {"n": "x"}, False),
        ("x.y/z=1", {"x.y/z": "1"}, True),
        ("in in (in)", {"in": "in"}, True),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], expected: bool) -> None:
    assert LabelSelector.parse(text).matches(labels) is expected


@pytest.mark.parametrize(
    "text", ["a b", "a in x", "=b", "a in (", "a,,b", "a=b c", "_x=1", "a=b=c", "!", "a>x", "a=-", "a in (x", ",", "a,"]
)
def test_label_selectors_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        LabelSelector.parse(text)
    assert caught.value.code == 400


def test_label_selector_objects() -> None:
    assert not LabelSelector.from_json(None).matches({"a": "b"})
    assert LabelSelector.from_json({}).matches({})
    assert LabelSelector.from_json({}).empty
    assert not LabelSelector.from_json(None).empty
    assert not LabelSelector.from_labels({}).matches({})
    assert LabelSelector.from_labels({"a": "b"}).matches({"a": "b", "c": "d"})
    expressions = [{"key": "a", "operator": "In", "values": ["b", "c"]}, {"key": "d", "operator": "DoesNotExist"}]
    selector = LabelSelector.from_json({"matchLabels": {"e": "f"}, "matchExpressions": expressions})
    assert str(selector) == "a in (b,c),!d,e=f"
    assert selector.matches({"a": "b", "e": "f"})
    assert not selector.matches({"a": "b", "e": "f", "d": ""})
    with pytest.raises(ApiError, match="not a valid label selector operator"):
        LabelSelector.from_json({"matchExpressions": [{"key": "a", "operator": "Near"}]})
    with pytest.raises(ApiError, match="values set can't be empty"):
        LabelSelector.from_json({"matchExpressions": [{"key": "a", "operator": "In"}]})


WORDS = st.from_regex(r"[a-z]([a-z0-9]{0,3})", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(Requirement, WORDS, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        Requirement,
        WORDS,
        st.sampled_from(["In", "NotIn"]),
        st.lists(WORDS, min_size=1, max_size=3, unique=True).map(lambda values: tuple(sorted(values))),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=4))
def test_what_is_written_can_be_read(requirements: list[Requirement]) -> None:
    selector = LabelSelector(tuple(requirements))
    assert LabelSelector.parse(str(selector)) == selector


POD = {
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"nodeName": "a,b"},
    "status": {"phase": "Running", "podIP": "10.0.0.1"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("metadata.name=p", True),
        ("metadata.name==q", False),
        ("metadata.name!=q,metadata.namespace=n", True),
        ("status.phase!=Running", False),
        ("spec.nodeName=a\\,b", True),
        ("spec.hostNetwork=false", True),
        ("status.nominatedNodeName=", True),
    ],
)
def test_field_selectors(text: str, expected: bool) -> None:
    assert FieldSelector.parse(text, KINDS.by_gvr(PODS)).matches(POD) is expected


def test_field_that_is_not_there_has_its_zero() -> None:
    selector = FieldSelector.parse("spec.unschedulable=false", KINDS.by_gvr(NODES))
    assert selector.matches({"spec": {}})
    assert not selector.matches({"spec": {"unschedulable": True}})


def test_required_field() -> None:
    selector = FieldSelector.parse("metadata.name=x,metadata.namespace!=y")
    assert selector.required("metadata.name") == "x"
    assert selector.required("metadata.namespace") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo=1", "field label not supported: foo"),
        ("x", "can't understand 'x'"),
        ("status.phase=a=b", "invalid field selector"),
    ],
)
def test_field_selectors_refused(text: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        FieldSelector.parse(text, KINDS.by_gvr(PODS))
    assert caught.value.code == 400


def test_kinds_without_fields_name_those_that_all_have() -> None:
    with pytest.raises(ApiError, match=r'"spec\.x" is not a known field selector: only "metadata\.name"'):
        FieldSelector.parse("spec.x=1", KINDS.by_gvr(CONFIGMAPS))
