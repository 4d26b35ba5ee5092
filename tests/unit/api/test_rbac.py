"""Rules of roles: what they let somebody do, and what covers what."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from weft.api.rbac import Attributes, allows, covers, is_subject

VERBS, GROUPS, RESOURCES = ["get", "list", "create"], ["", "apps"], ["pods", "deployments"]


def rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split()}
    return {**found, "resourceNames": names.split()} if names else found


def test_groups_resources_subresources_names() -> None:
    pods = rule("get list", "", "pods pods/log")
    assert allows(pods, Attributes("get", "", "pods"))
    assert allows(pods, Attributes("get", "", "pods", "log"))
    assert not allows(pods, Attributes("get", "", "pods", "exec"))
    assert not allows(pods, Attributes("delete", "", "pods"))
    assert not allows(pods, Attributes("get", "apps", "pods"))
    assert allows(rule("*", "*", "*"), Attributes("get", "apps", "deployments", "scale"))
    assert allows(rule("update", "apps", "*/scale"), Attributes("update", "apps", "deployments", "scale"))
    assert not allows(rule("update", "apps", "*/scale"), Attributes("update", "apps", "deployments"))
    assert not allows(rule("get", "apps", "deployments"), Attributes("get", "apps", "deployments", "scale"))
    named = rule("get", "", "secrets", "a")
    assert allows(named, Attributes("get", "", "secrets", name="a"))
    assert not allows(named, Attributes("get", "", "secrets", name="b"))
    assert not allows(named, Attributes("list", "", "secrets"))


def test_paths() -> None:
    healthy = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}
    assert allows(healthy, Attributes("get", path="/healthz"))
    assert allows(healthy, Attributes("get", path="/apis/apps/v1"))
    assert not allows(healthy, Attributes("get", path="/healthz/etcd"))
    assert not allows(healthy, Attributes("get", "", "pods"))
    assert not allows(rule("*", "*", "*"), Attributes("get", path="/metrics"))


def test_subjects() -> None:
    account = {"kind": "ServiceAccount", "name": "robot"}
    assert is_subject(account, "system:serviceaccount:shop:robot", (), "shop")
    assert not is_subject(account, "system:serviceaccount:other:robot", (), "shop")
    assert is_subject({**account, "namespace": "other"}, "system:serviceaccount:other:robot", (), "shop")
    assert is_subject({"kind": "Group", "name": "devs"}, "jane", ("devs",), "")
    assert not is_subject({"kind": "User", "name": "devs"}, "jane", ("devs",), "")


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([*values, "*"]), min_size=1, max_size=2, unique=True)


RULE = st.fixed_dictionaries({"verbs": some(VERBS), "apiGroups": some(GROUPS), "resources": some(RESOURCES)})


@given(st.lists(RULE, max_size=3), st.lists(RULE, max_size=2))
def test_who_covers_may_do_all_that_the_other_may(own: list[dict[str, Any]], given_: list[dict[str, Any]]) -> None:
    every = [Attributes(verb, group, resource) for verb in VERBS for group in GROUPS for resource in RESOURCES]
    other = [Attributes("watch", "batch", "jobs"), Attributes("get", "", "pods", "log")]
    may = [each for each in (*every, *other) if any(allows(rule, each) for rule in given_)]
    if covers(own, given_):
        assert all(any(allows(rule, each) for rule in own) for each in may)
    assert covers(given_, given_)
    assert covers([rule("*", "*", "*")], given_)


@given(RULE, st.sampled_from(VERBS), st.sampled_from(GROUPS), st.sampled_from(RESOURCES))
def test_a_rule_is_the_product_of_its_lists(each: dict[str, Any], verb: str, group: str, resource: str) -> None:
    naive = all(
        wanted in each[key] or "*" in each[key]
        for key, wanted in (("verbs", verb), ("apiGroups", group), ("resources", resource))
    )
    assert allows(each, Attributes(verb, group, resource)) == naive
