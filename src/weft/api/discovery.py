"""Discovery: which groups, versions and resources there are, in the old form and in the aggregated one.

In: the registry of kinds. Out: the documents at `/api`, `/apis` and below. Sources: apimachinery `meta/v1`
APIVersions, APIGroupList, APIGroup, APIResourceList; apidiscovery.k8s.io/v2 APIGroupDiscoveryList.
"""

from typing import Any

from weft.api.builtin import SUBRESOURCES
from weft.api.gvr import GVR
from weft.api.kinds import Kinds, ResourceType
from weft.core.ids import short_hash

Json = dict[str, Any]


def api_versions(server_address: str = "") -> Json:
    """`GET /api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def api_group_list(kinds: Kinds) -> Json:
    """`GET /apis`."""
    groups = [_group(group, versions) for group, versions in kinds.groups().items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(kinds: Kinds, group: str) -> Json | None:
    """`GET /apis/G`; None where there is no such group."""
    versions = kinds.groups().get(group) if group else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions else None


def _group(group: str, versions: tuple[str, ...]) -> Json:
    each = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": each, "preferredVersion": each[0]}


def api_resource_list(kinds: Kinds, group: str, version: str) -> Json | None:
    """`GET /apis/G/V`, or `/api/v1` with group ""; None where there is none."""
    resources: list[Json] = []
    for rtype in _in_version(kinds, group, version):
        resources.append(_resource(rtype))
        for name in sorted(rtype.subresources):
            resources.append(_subresource(rtype, name))
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GVR(group, version, "").api_version,
        "resources": resources,
    }


def _in_version(kinds: Kinds, group: str, version: str) -> list[ResourceType]:
    found = [rtype for rtype in kinds.all() if (rtype.gvr.group, rtype.gvr.version) == (group, version)]
    return sorted(found, key=lambda rtype: rtype.gvr.resource)


def _resource(rtype: ResourceType) -> Json:
    entry: Json = {
        "name": rtype.gvr.resource,
        "singularName": rtype.singular,
        "namespaced": rtype.namespaced,
        "kind": rtype.kind,
        "verbs": list(rtype.verbs),
    }
    if rtype.short_names:
        entry["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        entry["categories"] = list(rtype.categories)
    # Old clients compare it between servers of one cluster; any value that follows the resource will do.
    entry["storageVersionHash"] = short_hash(f"{rtype.gvr.group}/{rtype.gvr.version}/{rtype.kind}", 11) + "="
    return entry


def _subresource(rtype: ResourceType, name: str) -> Json:
    known = SUBRESOURCES[name]
    entry: Json = {
        "name": f"{rtype.gvr.resource}/{name}",
        "singularName": "",
        "namespaced": rtype.namespaced,
        "kind": known.kind or rtype.kind,
        "verbs": list(known.verbs),
    }
    if known.version:
        entry |= {"group": known.group, "version": known.version}
    return entry


def aggregated(kinds: Kinds, *, core: bool) -> Json:
    """APIGroupDiscoveryList (apidiscovery.k8s.io/v2): of `/api` with `core`, else of `/apis`."""
    items = []
    for group, versions in kinds.groups().items():
        if (group == "") == core:
            metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            items.append({"metadata": metadata, "versions": [_version(kinds, group, each) for each in versions]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version(kinds: Kinds, group: str, version: str) -> Json:
    resources = [_aggregated_resource(rtype) for rtype in _in_version(kinds, group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(rtype: ResourceType) -> Json:
    own_kind = {"group": rtype.gvr.group, "version": rtype.gvr.version, "kind": rtype.kind}
    entry: Json = {
        "resource": rtype.gvr.resource,
        "responseKind": own_kind,
        "scope": "Namespaced" if rtype.namespaced else "Cluster",
        "singularResource": rtype.singular,
        "verbs": list(rtype.verbs),
    }
    if rtype.short_names:
        entry["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        entry["categories"] = list(rtype.categories)
    subresources: list[Json] = []
    for name in sorted(rtype.subresources):
        known = SUBRESOURCES[name]
        kind = own_kind
        if known.kind:
            kind = {
                "group": known.group or rtype.gvr.group,
                "version": known.version or rtype.gvr.version,
                "kind": known.kind,
            }
        subresources.append({"subresource": name, "responseKind": kind, "verbs": list(known.verbs)})
    if subresources:
        entry["subresources"] = subresources
    return entry
