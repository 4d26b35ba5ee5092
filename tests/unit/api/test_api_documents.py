"""Discovery and OpenAPI: complete, consistent with the registry, every reference resolved."""

from collections.abc import Iterator
from typing import Any

import pytest

from weft.api import discovery, openapi
from weft.api.kinds import Kinds

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How large"}}},
    },
}
CRD: dict[str, Any] = {
    "metadata": {"name": "gadgets.demo.weft.dev"},
    "spec": {
        "group": "demo.weft.dev",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": SCHEMA},
            }
        ],
    },
}


@pytest.fixture
def kinds() -> Kinds:
    registry = Kinds.builtin()
    registry.add_crd(CRD)
    return registry


def test_old_and_new_discovery_say_the_same(kinds: Kinds) -> None:
    old = set()
    for group, versions in kinds.groups().items():
        for version in versions:
            document = discovery.api_resource_list(kinds, group, version)
            assert document is not None
            assert document["groupVersion"] == (f"{group}/{version}" if group else version)
            old |= {(group, version, each["name"], tuple(each["verbs"])) for each in document["resources"]}
    new = set()
    for core in (True, False):
        for item in discovery.aggregated(kinds, core=core)["items"]:
            group = item["metadata"].get("name", "")
            assert core == (group == "")
            for version in item["versions"]:
                for each in version["resources"]:
                    name = each["resource"]
                    new.add((group, version["version"], name, tuple(each["verbs"])))
                    for sub in each.get("subresources", ()):
                        new.add((group, version["version"], f"{name}/{sub['subresource']}", tuple(sub["verbs"])))
    assert old == new
    assert ("demo.weft.dev", "v1", "gadgets/status", ("get", "patch", "update")) in new
    assert ("", "v1", "pods/eviction", ("create",)) in new


def test_groups(kinds: Kinds) -> None:
    names = [group["name"] for group in discovery.api_group_list(kinds)["groups"]]
    assert "apps" in names
    assert "" not in names
    group = discovery.api_group(kinds, "apps")
    assert group is not None
    assert group["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert discovery.api_group(kinds, "nothing") is None
    assert discovery.api_group(kinds, "") is None
    assert discovery.api_resource_list(kinds, "apps", "v9") is None
    assert discovery.api_versions()["versions"] == ["v1"]


def test_eviction_is_told_as_policy(kinds: Kinds) -> None:
    document = discovery.api_resource_list(kinds, "", "v1")
    assert document is not None
    (eviction,) = [each for each in document["resources"] if each["name"] == "pods/eviction"]
    assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and isinstance(each, str):
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_openapi_v3(kinds: Kinds) -> None:
    index = openapi.openapi_v3_index(kinds)["paths"]
    assert set(index) >= {"api/v1", "apis/apps/v1", "apis/demo.weft.dev/v1"}
    for path in index:
        group, version = ("", "v1") if path == "api/v1" else path.split("/")[1:]
        document = openapi.openapi_v3(kinds, group, version)
        assert document is not None
        schemas = document["components"]["schemas"]
        for reference in references(document):
            assert reference.removeprefix("#/components/schemas/") in schemas, reference
    assert openapi.openapi_v3(kinds, "nothing", "v1") is None


def test_openapi_v3_has_what_kubectl_looks_for(kinds: Kinds) -> None:
    document = openapi.openapi_v3(kinds, "apps", "v1")
    assert document is not None
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert {"fieldValidation", "dryRun", "force", "fieldManager"} <= {each["name"] for each in patch["parameters"]}
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    schemas = document["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert deployment["properties"]["spec"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}
    ]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert "description" in containers


def test_openapi_v3_of_custom_resources(kinds: Kinds) -> None:
    document = openapi.openapi_v3(kinds, "demo.weft.dev", "v1")
    assert document is not None
    gadget = document["components"]["schemas"]["dev.weft.demo.v1.Gadget"]
    assert gadget["properties"]["spec"]["properties"]["size"]["description"] == "How large"
    assert gadget["properties"]["metadata"]["allOf"][0]["$ref"].endswith("ObjectMeta")
    patch = document["paths"]["/apis/demo.weft.dev/v1/namespaces/{namespace}/gadgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


def test_the_hash_follows_the_schema(kinds: Kinds) -> None:
    def hashes() -> dict[str, str]:
        return {path: each["serverRelativeURL"] for path, each in openapi.openapi_v3_index(kinds)["paths"].items()}

    before = hashes()
    assert hashes() == before
    changed = {**SCHEMA, "properties": {"spec": {"type": "object"}}}
    version = {**CRD["spec"]["versions"][0], "schema": {"openAPIV3Schema": changed}}
    kinds.add_crd({**CRD, "spec": {**CRD["spec"], "versions": [version]}})
    assert {path for path, url in hashes().items() if before[path] != url} == {"apis/demo.weft.dev/v1"}


def test_openapi_v2(kinds: Kinds) -> None:
    document = openapi.openapi_v2(kinds)
    for reference in references(document):
        assert reference.removeprefix("#/definitions/") in document["definitions"], reference
    assert document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {
        "type": "string",
        "format": "int-or-string",
    }
