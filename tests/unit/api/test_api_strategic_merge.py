"""Strategic merge by tables: each directive, each kind of list, and the order that results."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.gvr import DEPLOYMENTS, PODS, SERVICES
from weft.api.kinds import Kinds
from weft.api.patch import merge_patch, strategic_merge
from weft.api.status import ApiError

KINDS = Kinds.builtin()
POD = KINDS.by_gvr(PODS)
DEPLOYMENT = KINDS.by_gvr(DEPLOYMENTS)
SERVICE = KINDS.by_gvr(SERVICES)
assert POD is not None
assert DEPLOYMENT is not None
assert SERVICE is not None


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def c(name: str, image: str = "", **fields: Any) -> dict[str, Any]:
    return {"name": name, **({"image": image} if image else {}), **fields}


TABLE: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("a new element goes first, as in Kubernetes", pod(c("a", "1")), pod(c("b", "2")), pod(c("b", "2"), c("a", "1"))),
    ("an element is merged by its key", pod(c("a", "1", tty=True)), pod(c("a", "2")), pod(c("a", "2", tty=True))),
    ("an element is deleted", pod(c("a", "1"), c("b", "2")), pod(c("a") | {"$patch": "delete"}), pod(c("b", "2"))),
    ("deleting what is not there is nothing", pod(c("a", "1")), pod(c("z") | {"$patch": "delete"}), pod(c("a", "1"))),
    ("a list is replaced", pod(c("a", "1")), pod(c("n", "2"), {"$patch": "replace"}), pod(c("n", "2"))),
    (
        "elements stand in the order that is asked for",
        pod(c("a", "1"), c("b", "2"), c("c", "3")),
        {"spec": {"$setElementOrder/containers": [c("c"), c("a"), c("b")], "containers": [c("a", "9")]}},
        pod(c("c", "3"), c("a", "9"), c("b", "2")),
    ),
    (
        "the order alone can be asked for; what it leaves out stays before what stood behind it",
        pod(c("a", "1"), c("x", "0"), c("b", "2")),
        {"spec": {"$setElementOrder/containers": [c("b"), c("a")]}},
        pod(c("x", "0"), c("b", "2"), c("a", "1")),
    ),
    (
        "a map is replaced",
        {"spec": {"nodeSelector": {"a": "b"}}},
        {"spec": {"nodeSelector": {"$patch": "replace", "c": "d"}}},
        {"spec": {"nodeSelector": {"c": "d"}}},
    ),
    (
        "a map is deleted",
        {"spec": {"nodeSelector": {"a": "b"}}},
        {"spec": {"nodeSelector": {"$patch": "delete"}}},
        {"spec": {}},
    ),
    (
        "a key of a map is removed by null",
        {"metadata": {"labels": {"a": "b", "c": "d"}}},
        {"metadata": {"labels": {"a": None}}},
        {"metadata": {"labels": {"c": "d"}}},
    ),
    (
        "scalars are a set",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"finalizers": ["b", "c"]}},
        {"metadata": {"finalizers": ["a", "b", "c"]}},
    ),
    (
        "scalars are deleted",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
        {"metadata": {"finalizers": ["b"]}},
    ),
    (
        "a list without a strategy is replaced",
        pod(c("a", "1", command=["x", "y"])),
        pod(c("a", command=["z"])),
        pod(c("a", "1", command=["z"])),
    ),
    (
        "new elements go where the order has them, before those that it does not name",
        pod(c("a", "1"), c("d", "4")),
        {
            "spec": {
                "$setElementOrder/containers": [c("b"), c("c")],
                "containers": [c("b", "2"), c("c", "3"), c("a") | {"$patch": "delete"}],
            }
        },
        pod(c("b", "2"), c("c", "3"), c("d", "4")),
    ),
    (
        "equal elements stay, the first is changed",
        pod(c("a", env=[{"name": "X", "value": "1"}, {"name": "Y"}, {"name": "X", "value": "2"}])),
        pod(c("a", env=[{"name": "X", "value": "3"}])),
        pod(c("a", env=[{"name": "X", "value": "3"}, {"name": "X", "value": "2"}, {"name": "Y"}])),
    ),
    (
        "deleting from a list of one piece leaves the rest",
        pod(c("a", command=["x", "y"])),
        pod(c("a") | {"$deleteFromPrimitiveList/command": ["x"]}),
        pod(c("a", command=["y"])),
    ),
    (
        "only one source of a volume is kept",
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}},
        {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
    ),
    (
        "nested lists merge too",
        pod(c("a", env=[{"name": "X", "value": "1"}])),
        pod(c("a", env=[{"name": "Y", "value": "2"}])),
        pod(c("a", env=[{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])),
    ),
    (
        "nulls in what is new are dropped",
        {},
        {"spec": {"nodeName": None, "hostname": "h"}},
        {"spec": {"hostname": "h"}},
    ),
]


@pytest.mark.parametrize(("name", "document", "patch", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_strategic_merge(name: str, document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy((document, patch))
    assert strategic_merge(document, patch, POD.schema) == expected
    assert (document, patch) == before


def test_ports_of_services_merge_by_number() -> None:
    old = {"spec": {"ports": [{"port": 80, "name": "a"}]}}
    new = strategic_merge(old, {"spec": {"ports": [{"port": 80, "name": "b"}]}}, SERVICE.schema)
    assert new == {"spec": {"ports": [{"port": 80, "name": "b"}]}}


def test_strategy_of_a_deployment_changes_type() -> None:
    old = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(old, patch, DEPLOYMENT.schema) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    "patch",
    [
        [],
        None,
        {"$patch": "swap"},
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": ["x"]}},
        {"spec": {"containers": [{"name": {}}]}},
        {"spec": {"$setElementOrder/containers": {}, "containers": []}},
        {"spec": {"$setElementOrder/containers": [{"name": "z"}], "containers": [{"name": "a"}]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": "name"}]}},
        {"metadata": {"finalizers": [{}]}},
        {"$what": 1},
    ],
)
def test_malformed_patches(patch: Any) -> None:
    with pytest.raises(ApiError) as caught:
        strategic_merge(pod(c("a", "1")), patch, POD.schema)
    assert caught.value.code == 400


LABELS = st.dictionaries(st.sampled_from("abc"), st.none() | st.sampled_from("xyz"), max_size=3)


@given(LABELS, LABELS)
def test_without_lists_it_is_a_merge_patch(old: dict[str, Any], patch: dict[str, Any]) -> None:
    document = {"metadata": {"labels": {key: value for key, value in old.items() if value}}}
    change = {"metadata": {"labels": patch}}
    assert strategic_merge(document, change, POD.schema) == merge_patch(document, change)
