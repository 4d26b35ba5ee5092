"""CEL rules of CRDs, what may stay as it was, and what a definition may say beyond its plain schema."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.gvr import CRDS
from weft.api.kinds import Kinds, ResourceType
from weft.api.status import ApiError
from weft.api.validation import validate, validate_update


def crd(spec: dict[str, Any], **rest: Any) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True}
    root = {"type": "object", "properties": {"spec": spec}}
    return {
        "metadata": {"name": "gadgets.rules.example.com"},
        "spec": {
            "group": "rules.example.com",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{**version, "schema": {"openAPIV3Schema": root}}],
            **rest,
        },
    }


def of_spec(spec: dict[str, Any]) -> ResourceType:
    return Kinds.builtin().add_crd(crd(spec))[0]


def gadget(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "rules.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}


def errors(rtype: ResourceType, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    found = validate(gadget(new), rtype) if old is None else validate_update(gadget(new), gadget(old), rtype)
    return [str(error) for error in found]


SPEC: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "message": "min may not exceed max"},
        {
            "rule": "!has(self.name) || self.name != 'x'",
            "messageExpression": "'not ' + self.name",
            "fieldPath": ".name",
        },
        {"rule": "self.max < 100", "reason": "FieldValueForbidden"},
        {"rule": "oldSelf.min == self.min", "message": "min is immutable"},
    ],
    "properties": {
        "min": {"type": "integer"},
        "max": {"type": "integer", "maximum": 200},
        "name": {"type": "string"},
        "first": {
            "type": "string",
            "x-kubernetes-validations": [
                {"rule": "!oldSelf.hasValue() || oldSelf.value() == self", "optionalOldSelf": True, "message": "kept"}
            ],
        },
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "size": {"type": "integer", "maximum": 5}},
                "x-kubernetes-validations": [{"rule": "!has(oldSelf.size) || self.size >= oldSelf.size"}],
            },
        },
        "port": {"x-kubernetes-int-or-string": True, "x-kubernetes-validations": [{"rule": "self > 0"}]},
    },
}
GADGET = of_spec(SPEC)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"min": 3, "max": 2}, 'spec: Invalid value: "object": min may not exceed max'),
        ({"min": 1, "max": 2, "name": "x"}, 'spec.name: Invalid value: "object": not x'),
        ({"min": 1, "max": 150}, "spec: Forbidden: failed rule: self.max < 100"),
        ({"max": 2}, 'spec: Invalid value: "object": no such key: min evaluating rule: min may not exceed max'),
        ({"min": 1, "max": 2, "port": "http"}, "'no such overload': call arguments did not match"),
        (
            {"min": 1, "max": "2"},
            '<nil>: Invalid value: "null": some validation rules were not checked because the object was invalid; '
            "correct the existing errors to complete validation",
        ),
    ],
)
def test_rules_of_new_objects(new: dict[str, Any], message: str) -> None:
    assert any(message in text for text in errors(GADGET, new)), errors(GADGET, new)


def test_rules_over_changes() -> None:
    good = {"min": 1, "max": 2, "first": "a", "parts": [{"id": "a", "size": 2}, {"id": "b", "size": 2}]}
    assert errors(GADGET, good) == []
    assert errors(GADGET, good, good) == []
    assert errors(GADGET, {**good, "min": 2}, good) == ['spec: Invalid value: "object": min is immutable']
    assert errors(GADGET, {**good, "first": "b"}, good) == ['spec.first: Invalid value: "string": kept']
    moved = {**good, "parts": [{"id": "b", "size": 3}, {"id": "a", "size": 1}]}
    assert errors(GADGET, moved, good) == [
        'spec.parts[1]: Invalid value: "object": failed rule: !has(oldSelf.size) || self.size >= oldSelf.size'
    ]
    assert errors(GADGET, {**good, "parts": [{"id": "new", "size": 1}]}, good) == [], "a new element has no old self"


def test_what_was_wrong_before_may_stay() -> None:
    old = {"min": 1, "max": 2, "port": "http", "parts": [{"id": "a", "size": 9}]}
    assert errors(GADGET, old), "wrong by itself"
    new = copy.deepcopy(old)
    new["parts"].append({"id": "b", "size": 1})
    assert errors(GADGET, new, old) == []
    new["parts"][0]["id"] = "c"
    assert any("spec.parts[0].size" in text for text in errors(GADGET, new, old)), "another element"
    assert any("spec.port" in text for text in errors(GADGET, {**old, "port": "https"}, old))


def test_rules_share_a_budget() -> None:
    items = {"type": "array", "items": {"type": "integer"}}
    rule = {"rule": "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))"}
    rtype = of_spec({"type": "object", "properties": {"l": items}, "x-kubernetes-validations": [rule]})
    assert errors(rtype, {"l": list(range(5))}) == []
    assert errors(rtype, {"l": list(range(200))}) == [
        '<nil>: Invalid value: "null": validation failed due to running out of cost budget, no further validation '
        "rules will be run"
    ]


def refused(definition: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        Kinds.builtin().add_crd(definition)
    assert caught.value.code == 422
    return caught.value.message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rule": "self.nope > 1"}, "compilation failed: ERROR: <input>:1:5: undefined field 'nope'"),
        ({"rule": "self.a + 1"}, "cel expression must evaluate to a bool"),
        ({"rule": "  "}, "x-kubernetes-validations[0].rule: Required value: rule is not specified"),
        ({"rule": "true", "message": "a\nb"}, "message must not contain line breaks"),
        ({"rule": "true\n"" && true"}, "message must be specified if rule contains line breaks"),
        ({"rule": "true", "messageExpression": "self.a"}, "must evaluate to a string"),
        ({"rule": "true", "reason": "Because"}, 'reason: Unsupported value: "Because"'),
        ({"rule": "true", "fieldPath": ".b"}, "does not refer to a valid field"),
        ({"rule": "self.a >"}, "Syntax error: mismatched input '<EOF>'"),
    ],
)  # fmt: skip
def test_rules_that_are_refused(rule: dict[str, Any], message: str) -> None:
    spec = {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    text = refused(crd(spec))
    assert message in text
    assert "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]" in text


def test_old_values_must_be_findable() -> None:
    inner = {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    spec = {"type": "object", "properties": {"l": {"type": "array", "items": inner}}}
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema" in refused(crd(spec))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": False}, "must be true or undefined"),
        (
            {"type": "string", "x-kubernetes-embedded-resource": True},
            "must be object if x-kubernetes-embedded-resource",
        ),
        ({"type": "object", "x-kubernetes-embedded-resource": True}, "properties: Required value: must not be empty"),
        ({"type": "object", "x-kubernetes-map-type": "set"}, 'Unsupported value: "set"'),
        ({"type": "string", "anyOf": [{"type": "string"}]}, "anyOf[0].type: Forbidden: must be empty to be structural"),
        ({"type": "object", "not": {"properties": {"a": {"default": 1}}}}, "properties[a].default: Forbidden"),
    ],
)
def test_extensions_that_are_refused(spec: dict[str, Any], message: str) -> None:
    assert message in refused(crd(spec))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([".metadata.name"], "must not point to fields in metadata"),
        ([".spec.nope"], "does not refer to a valid field"),
        (["spec.a"], "is an invalid path"),
        ([".spec.o"], "must point to a field of type string, boolean or integer"),
        ([".spec.a", ".spec.a"], "Duplicate value"),
        ([".spec.a"] * 9, "Too many: 9"),
    ],
)
def test_selectable_fields(fields: list[str], message: str) -> None:
    definition = crd({"type": "object", "properties": {"a": {"type": "string"}, "o": {"type": "object"}}})
    definition["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.a"}]
    Kinds.builtin().add_crd(definition)
    definition["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": field} for field in fields]
    assert message in refused(definition)


def test_conversion_and_protected_groups() -> None:
    spec: dict[str, Any] = {"type": "object"}
    assert "required when strategy is set" in refused(crd(spec, conversion={"strategy": "Webhook"}))
    webhook: dict[str, Any] = {"clientConfig": {"url": "http://x"}, "conversionReviewVersions": ["v1beta1"]}
    text = refused(crd(spec, conversion={"strategy": "Webhook", "webhook": webhook}))
    assert "'https' is the only allowed URL scheme" in text
    assert "must include at least one of v1" in text
    webhook = {"clientConfig": {"service": {"name": "a", "namespace": "b"}}, "conversionReviewVersions": ["v1"]}
    Kinds.builtin().add_crd(crd(spec, conversion={"strategy": "Webhook", "webhook": webhook}))
    protected = crd(spec, group="x.k8s.io")
    protected["metadata"]["name"] = "gadgets.x.k8s.io"
    assert "protected groups must have approval annotation" in refused(protected)
    protected["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    Kinds.builtin().add_crd(protected)


_WORDS = ["type", "properties", "items", "default", "x-kubernetes-validations", "rule", "additionalProperties", "enum",
          "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "anyOf", "required", "format", "pattern", "not",
          "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "nullable", "object", "array",
          "string", "integer", "map", "self", "maximum", "x-kubernetes-embedded-resource"]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(_WORDS), _JSON, max_size=5), _JSON)
def test_any_schema_is_taken_or_refused(schema: dict[str, Any], value: Any) -> None:
    """The types of a CRD's fields are checked first, as for every write."""
    from weft.api.validation import check_types, prune

    definition = crd({"type": "object", **schema})
    kinds = Kinds.builtin()
    rtype = kinds.by_gvr(CRDS)
    assert rtype is not None
    try:
        check_types(definition, rtype)
        prune(definition, rtype)
        (custom,) = kinds.add_crd(definition)
    except ApiError:
        return
    validate(gadget(value), custom)
    validate_update(gadget(value), gadget({}), custom)
