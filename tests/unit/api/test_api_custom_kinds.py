"""CRDs: which are refused, and how the kinds of those that are taken behave."""

import copy
from typing import Any

import pytest

from weft.api.decoding import prune, unknown_fields
from weft.api.defaults import apply_defaults
from weft.api.gvr import CRDS, DEPLOYMENTS, GVR
from weft.api.kinds import Kinds, version_priority
from weft.api.status import ApiError
from weft.api.validation import validate, validate_update

SPEC_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["color"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
        "port": {"x-kubernetes-int-or-string": True},
        "parts": {
            "type": "array",
            "maxItems": 2,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "on": {"type": "boolean", "default": True}},
            },
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": "string", "nullable": True},
        "address": {"type": "string", "format": "ipv4"},
        "either": {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
    },
}


def crd(schema: Any = None, **version: Any) -> dict[str, Any]:
    root = {"type": "object", "properties": {"spec": SPEC_SCHEMA}} if schema is None else schema
    return {
        "metadata": {"name": "gadgets.demo.weft.dev"},
        "spec": {
            "group": "demo.weft.dev",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"], "categories": ["all"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}, **version}
            ],
        },
    }


KINDS = Kinds.builtin()
DEFINITION = KINDS.by_gvr(CRDS)
assert DEFINITION is not None
(GADGET,) = KINDS.add_crd(crd())


def gadget(**spec: Any) -> dict[str, Any]:
    body = {"color": "red", **spec}
    return {"apiVersion": "demo.weft.dev/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": body}


def test_the_registry_knows_the_kind() -> None:
    kinds = Kinds.builtin()
    assert kinds.by_kind("apps/v1", "Deployment") is kinds.by_gvr(DEPLOYMENTS)
    (added,) = kinds.add_crd(
        crd(
            subresources={
                "status": {},
                "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
            }
        )
    )
    assert added.subresources == {"status", "scale"}
    assert added.spec_replicas_path == ".spec.size"
    assert (added.singular, added.list_kind, added.short_names) == ("gadget", "GadgetList", ("gd",))
    assert kinds.by_gvr(GVR("demo.weft.dev", "v1", "gadgets")) is added
    assert kinds.groups()["demo.weft.dev"] == ("v1",)
    (replaced,) = kinds.add_crd(crd())
    assert kinds.by_kind("demo.weft.dev/v1", "Gadget") is replaced
    assert kinds.remove_crd("gadgets.demo.weft.dev") == (replaced,)
    assert kinds.by_kind("demo.weft.dev/v1", "Gadget") is None
    assert kinds.remove_crd("deployments.apps") == (), "built-in kinds stay"


def test_versions_are_ordered_as_kubernetes_orders_them() -> None:
    versions = ["foo1", "v1alpha1", "v1", "v2beta1", "v10", "v1beta2", "v11alpha2", "foo10", "v2"]
    assert sorted(versions, key=version_priority) == [
        "v10", "v2", "v1", "v2beta1", "v1beta2", "v11alpha2", "v1alpha1", "foo1", "foo10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": "x"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "spec.size in body should be less than or equal to 9"),
        ({"color": "green"}, 'spec.color: Unsupported value: "green": supported values: "red", "blue"'),
        ({"name": "abcdef"}, "spec.name: Too long: may not be more than 5 bytes"),
        ({"name": "a"}, "spec.name in body should be at least 2 chars long"),
        ({"name": "A1"}, "spec.name in body should match '^[a-z]+$'"),
        ({"name": "ab\n"}, "should match"),
        ({"port": True}, "must be of type integer,string"),
        ({"parts": [{}]}, "spec.parts[0].id: Required value"),
        ({"parts": [{"id": "a"}, {"id": "a"}]}, 'spec.parts[1]: Duplicate value: map[string]interface {}{"id":"a"}'),
        ({"parts": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}, "spec.parts: Too many: 3: must have at most 2 items"),
        ({"labels": {"a": 1}}, "spec.labels.a in body must be of type string"),
        ({"address": "10.0.0.256"}, "spec.address in body must be of type ipv4"),
        ({"either": {}}, "must validate one and only one schema (oneOf). Found none valid"),
        ({"either": {"a": "", "b": ""}}, "Found 2 valid alternatives"),
        ({"color": None}, 'spec.color in body must be of type string: "null"'),
    ],
)
def test_custom_resources_are_held_to_their_schema(spec: dict[str, Any], message: str) -> None:
    errors = validate(gadget(**spec), GADGET)
    assert any(message in str(error) for error in errors), [str(error) for error in errors]


def test_valid_custom_resources() -> None:
    every = gadget(
        size=1, name="ab", port="http", parts=[{"id": "a"}], free={"x": [1]}, maybe=None, address="10.0.0.1",
        either={"a": ""}, labels={"a": "b"},
    )  # fmt: skip
    assert validate(every, GADGET) == []
    missing = gadget()
    del missing["spec"]["color"]
    assert [str(error) for error in validate(missing, GADGET)] == ["spec.color: Required value"]


def test_pruning_and_defaults() -> None:
    obj = gadget(extra=1, free={"kept": {"deep": 1}}, parts=[{"id": "a", "lost": 1}], size=None)
    obj["metadata"]["unknown"] = 1
    assert unknown_fields(obj, GADGET) == [
        'unknown field "metadata.unknown"',
        'unknown field "spec.extra"',
        'unknown field "spec.parts[0].lost"',
    ]
    prune(obj, GADGET)
    apply_defaults(obj, GADGET)
    assert obj == gadget(free={"kept": {"deep": 1}}, parts=[{"id": "a", "on": True}], size=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["metadata"].update(name="x.y"), 'must be spec.names.plural+"."+spec.group'),
        (lambda c: c["spec"].pop("group"), "spec.group: Required value"),
        (lambda c: c["spec"].update(group="demo"), "should be a domain with at least one dot"),
        (lambda c: c["spec"].update(scope="World"), 'spec.scope: Unsupported value: "World"'),
        (lambda c: c["spec"]["names"].pop("kind"), "spec.names.kind: Required value"),
        (lambda c: c["spec"].pop("names"), "spec.names: Required value"),
        (lambda c: c["spec"].update(versions=[]), "spec.versions: Required value"),
        (lambda c: c["spec"]["versions"][0].update(storage=False), "must have exactly one version marked as storage"),
        (lambda c: c["spec"]["versions"][0].update(name="V1"), "spec.versions[0].name: Invalid value"),
        (lambda c: c["spec"]["versions"][0].pop("schema"), "openAPIV3Schema: Required value: schemas are required"),
        (
            lambda c: c["spec"]["versions"][0].update(
                additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": "[["}]
            ),
            "additionalPrinterColumns[0].jsonPath: Invalid value",
        ),
        (
            lambda c: c["spec"]["versions"][0].update(subresources={"scale": {"specReplicasPath": "size"}}),
            'specReplicasPath: Invalid value: "size": should be a json path under .spec',
        ),
        (lambda c: c.update(spec={}), "spec: Required value"),
    ],
)
def test_definitions_refused(change: Any, message: str) -> None:
    definition = crd()
    change(definition)
    with pytest.raises(ApiError) as caught:
        Kinds.builtin().add_crd(definition)
    assert message in caught.value.message
    assert caught.value.code == 422


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string"}, "must be object at the root"),
        ({}, "must not be empty at the root"),
        ({"type": "object", "properties": {"a": {}}}, "properties[a].type: Required value"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, 'Unsupported value: "text"'),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "properties[a].items: Required value"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "must be a valid regular expr"),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}},
            "properties[a].default: Invalid",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#/x", "type": "object"}}}, "$ref is not supported"),
        (
            {
                "type": "object",
                "properties": {
                    "a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
                },
            },
            "must not be empty if x-kubernetes-list-type is map",
        ),
    ],
)
def test_schemas_that_are_not_structural(schema: Any, message: str) -> None:
    texts = [str(error) for error in validate(crd(schema), DEFINITION)]
    assert any(message in text for text in texts), texts


def test_names_of_a_definition_cannot_change() -> None:
    new = copy.deepcopy(crd())
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Thing"
    fields = {error.field for error in validate_update(new, crd(), DEFINITION)}
    assert fields == {"spec.scope", "spec.names.kind"}
