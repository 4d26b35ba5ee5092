"""Server-side apply: ownership, conflicts, removal; and the fields that other writes come to own."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.defaults import apply_defaults
from weft.api.gvr import DEPLOYMENTS
from weft.api.kinds import Kinds
from weft.api.patch import apply, fieldset, update_managed_fields
from weft.api.status import ApiError

RTYPE = Kinds.builtin().by_gvr(DEPLOYMENTS)
assert RTYPE is not None
SCHEMA = RTYPE.schema


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


def containers(*each: dict[str, Any]) -> dict[str, Any]:
    return {"template": {"spec": {"containers": list(each)}}}


def fields_of(obj: dict[str, Any], manager: str) -> dict[str, Any]:
    entries = [entry for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    assert len(entries) == 1, entries
    fields: dict[str, Any] = entries[0]["fieldsV1"]
    return fields


def managers_of(obj: dict[str, Any]) -> set[str]:
    return {entry["manager"] for entry in obj["metadata"]["managedFields"]}


def test_first_apply_creates_and_owns() -> None:
    applied = deployment(replicas=1, **containers({"name": "a", "ports": [{"containerPort": 80}]}))
    before = copy.deepcopy(applied)
    obj = apply(None, applied, "me", False, SCHEMA, now=0)
    assert applied == before
    assert obj["spec"] == applied["spec"]
    (entry,) = obj["metadata"]["managedFields"]
    assert entry == {
        "manager": "me",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "time": "1970-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                "f:replicas": {},
                "f:template": {
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"a"}': {
                                ".": {},
                                "f:name": {},
                                "f:ports": {
                                    'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
                                },
                            }
                        }
                    }
                },
            }
        },
    }


def test_applying_the_same_again_changes_nothing() -> None:
    applied = deployment(replicas=1, **containers({"name": "a", "image": "i", "resources": {"limits": {"cpu": 0.5}}}))
    live = apply(None, applied, "me", False, SCHEMA, now=0)
    apply_defaults(live, RTYPE)
    assert apply(live, applied, "me", False, SCHEMA, now=99) == live


def test_what_is_no_longer_applied_is_removed() -> None:
    first = deployment(paused=True, **containers({"name": "a", "env": [{"name": "X"}]}, {"name": "b"}))
    first["metadata"]["labels"] = {"l": "1"}
    live = apply(None, first, "me", False, SCHEMA)
    apply_defaults(live, RTYPE)
    new = apply(live, deployment(**containers({"name": "a"})), "me", False, SCHEMA)
    assert "labels" not in new["metadata"]
    assert "paused" not in new["spec"]
    (only,) = new["spec"]["template"]["spec"]["containers"]
    assert "env" not in only
    assert only["terminationMessagePolicy"] == "File", "defaults belong to nobody and stay"


def test_an_empty_list_that_is_applied_is_kept() -> None:
    live = apply(None, deployment(**containers({"name": "a"})), "me", False, SCHEMA)
    empty = deployment(**containers())
    live = apply(live, empty, "me", False, SCHEMA)
    assert live["spec"] == empty["spec"]
    assert apply(live, empty, "me", False, SCHEMA) == live


def test_what_another_owns_too_stays() -> None:
    live = apply(None, deployment(replicas=1, paused=True), "me", False, SCHEMA)
    live = apply(live, deployment(replicas=1), "you", False, SCHEMA)
    live = apply(live, deployment(paused=True), "me", False, SCHEMA)
    assert live["spec"]["replicas"] == 1
    assert fields_of(live, "me") == {"f:spec": {"f:paused": {}}}
    live = apply(live, deployment(), "you", False, SCHEMA)
    assert "replicas" not in live["spec"]
    assert fields_of(live, "you") == {"f:spec": {}}, "an empty map is something applied"


def test_conflict_is_told_as_kubernetes_tells_it() -> None:
    live = deployment(replicas=1, **containers({"name": "a", "image": "i"}))
    live["metadata"]["managedFields"] = update_managed_fields(None, live, "kubectl-edit", SCHEMA, now=0)
    with pytest.raises(ApiError) as caught:
        apply(live, deployment(replicas=2), "me", False, SCHEMA)
    told = 'conflict with "kubectl-edit" using apps/v1 at 1970-01-01T00:00:00Z'
    assert caught.value.message == f"Apply failed with 1 conflict: {told}: .spec.replicas"
    assert caught.value.code == 409
    assert caught.value.to_json()["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": told, "field": ".spec.replicas"}
    ]
    with pytest.raises(ApiError) as caught:
        apply(live, deployment(replicas=2, **containers({"name": "a", "image": "j"})), "me", False, SCHEMA)
    lines = caught.value.message.split("\n")
    assert lines[0].startswith("Apply failed with 2 conflicts: conflicts with")
    assert lines[1:] == ["- .spec.replicas", '- .spec.template.spec.containers[name="a"].image']


def test_force_takes_over() -> None:
    live = apply(None, deployment(replicas=1, paused=True), "you", False, SCHEMA)
    new = apply(live, deployment(replicas=2), "me", True, SCHEMA)
    assert new["spec"] == {"replicas": 2, "paused": True}
    assert fields_of(new, "you") == {"f:spec": {"f:paused": {}}}


def test_atomic_maps_are_owned_whole() -> None:
    live = apply(None, deployment(selector={"matchLabels": {"a": "b"}}), "you", False, SCHEMA)
    assert fields_of(live, "you") == {"f:spec": {"f:selector": {}}}
    with pytest.raises(ApiError, match=r"\.spec\.selector$"):
        apply(live, deployment(selector={"matchLabels": {"a": "c"}}), "me", False, SCHEMA)


def test_objects_from_before_have_a_stand_in_manager() -> None:
    live = deployment(replicas=1)
    new = apply(live, deployment(replicas=1, paused=True), "me", False, SCHEMA)
    assert managers_of(new) == {"me", "before-first-apply"}
    with pytest.raises(ApiError, match='conflict with "before-first-apply"'):
        apply(live, deployment(replicas=5), "me", False, SCHEMA)


@pytest.mark.parametrize(
    "applied",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        {**deployment(), "metadata": {"name": "x", "managedFields": [{"manager": "me"}]}},
        deployment(**containers({"image": "no name"})),
        deployment(**containers({"name": "a"}, {"name": "a"})),
    ],
)
def test_malformed_configurations(applied: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        apply(None, applied, "me", False, SCHEMA)
    assert caught.value.code == 400


def test_status_is_applied_through_its_own_endpoint_only() -> None:
    applied = {**deployment(replicas=1), "status": {"replicas": 3}}
    assert "status" not in apply(None, applied, "me", False, SCHEMA)
    status = apply(deployment(replicas=9), applied, "me", True, SCHEMA, "status")
    assert status["spec"]["replicas"] == 9
    assert status["status"] == {"replicas": 3}


def test_an_update_moves_ownership_of_what_it_changed() -> None:
    live = apply(None, deployment(replicas=1, paused=True), "me", False, SCHEMA, now=0)
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 2
    new["metadata"]["managedFields"] = update_managed_fields(live, new, "scaler", SCHEMA, subresource="scale", now=9)
    assert fields_of(new, "me") == {"f:spec": {"f:paused": {}}}
    assert fields_of(new, "scaler") == {"f:spec": {"f:replicas": {}}}
    assert new["metadata"]["managedFields"][1]["subresource"] == "scale"
    assert update_managed_fields(new, new, "other", SCHEMA) == new["metadata"]["managedFields"]
    del new["spec"]["paused"]
    left = update_managed_fields(live, new, "scaler", SCHEMA)
    assert "me" not in {entry["manager"] for entry in left}, "who owns nothing is forgotten"


def test_an_update_may_clear_managed_fields() -> None:
    live = apply(None, deployment(replicas=1), "me", False, SCHEMA)
    assert update_managed_fields(live, {**live, "metadata": {"name": "x", "managedFields": []}}, "m", SCHEMA) == []


STEPS = st.sampled_from(["f:a", "f:b", 'k:{"n":1}'])
PATHS = st.lists(STEPS, min_size=1, max_size=3).map(tuple)


@given(st.lists(st.tuples(st.booleans(), PATHS), max_size=20))
def test_the_trie_is_a_set_of_paths(operations: list[tuple[bool, fieldset.Path]]) -> None:
    trie: fieldset.Trie = {}
    model: set[fieldset.Path] = set()
    for add, path in operations:
        if add:
            fieldset.insert(trie, path)
            model.add(path)
        elif fieldset.contains(trie, path):
            fieldset.remove(trie, path)
            model.remove(path)
        assert set(fieldset.paths(trie)) == model
        assert all(fieldset.contains(trie, each) for each in model)


CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "template": st.fixed_dictionaries(
            {
                "metadata": st.fixed_dictionaries(
                    {"labels": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))}
                )
            },
            optional={
                "spec": st.fixed_dictionaries(
                    {
                        "containers": st.lists(
                            st.fixed_dictionaries({"name": st.sampled_from("abc"), "image": st.sampled_from("ij")}),
                            unique_by=lambda container: container["name"],
                            max_size=3,
                        )
                    }
                )
            },
        ),
    },
)


@given(st.lists(st.tuples(st.sampled_from(["me", "you"]), CONFIGURATIONS), min_size=1, max_size=5))
def test_what_is_applied_by_force_is_there_and_stays_the_same(steps: list[tuple[str, dict[str, Any]]]) -> None:
    live: dict[str, Any] | None = None
    for manager, spec in steps:
        live = apply(live, deployment(**spec), manager, True, SCHEMA)
        for key in ("replicas", "paused"):
            if key in spec:
                assert live["spec"][key] == spec[key]
        there = {each["name"]: each for each in live["spec"].get("template", {}).get("spec", {}).get("containers", ())}
        for each in spec.get("template", {}).get("spec", {}).get("containers", ()):
            assert there[each["name"]] == each
        assert apply(live, deployment(**spec), manager, False, SCHEMA) == live
