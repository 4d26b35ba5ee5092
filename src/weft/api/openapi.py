"""OpenAPI documents: what `kubectl explain`, `apply` and `diff` ask about kinds.

In: the registry of kinds, the shipped definitions and their descriptions, the schemas of CRDs. Out: the index and one
OpenAPI 3.0 document a group and version, and one Swagger 2.0 document of everything. Nothing is kept: documents are
large, asked for seldom, and clients cache them by the hash in the index.
Source: kube-openapi `handler3`; the extensions are those of kube-apiserver.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import orjson

from weft.api import schema as schemas
from weft.api.gvr import GVR
from weft.api.kinds import Kinds, ResourceType

Json = dict[str, Any]
Dialect = Literal["#/components/schemas/", "#/definitions/"]

_V3: Dialect = "#/components/schemas/"
_V2: Dialect = "#/definitions/"
_PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
_STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
_PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_STRATEGIC = "application/strategic-merge-patch+json"
_GVK = "x-kubernetes-group-version-kind"
_TYPE_META = "io.k8s.api.core.v1.Pod"  # any kind: the prose of apiVersion and kind is the same for all


def openapi_v3_index(kinds: Kinds) -> Json:
    """`GET /openapi/v3`: where each group's document is, its hash in the URL."""
    paths = {}
    for group, versions in kinds.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(kinds, group, version)}"}
    return {"paths": paths}


def _in_version(kinds: Kinds, group: str, version: str) -> list[ResourceType]:
    return [rtype for rtype in kinds.all() if (rtype.gvr.group, rtype.gvr.version) == (group, version)]


def _hash(kinds: Kinds, group: str, version: str) -> str:
    """Changes whenever the document does."""
    digest = hashlib.sha256(schemas.shipped_digest())
    for rtype in _in_version(kinds, group, version):
        identity = [rtype.kind, rtype.gvr.resource, rtype.namespaced, sorted(rtype.subresources)]
        digest.update(orjson.dumps([identity, dict(rtype.schema.raw) if rtype.is_custom else None]))
    return digest.hexdigest()[:32].upper()


def openapi_v3(kinds: Kinds, group: str, version: str) -> Json | None:
    """`GET /openapi/v3/apis/G/V`; None where there is no such group and version."""
    types = _in_version(kinds, group, version)
    if not types:
        return None
    writer = _Writer(_V3)
    paths = {path: item for rtype in types for path, item in _paths(rtype, writer)}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{schemas.KUBERNETES_VERSION}.0"},
        "paths": paths,
        "components": {"schemas": writer.definitions()},
    }


def openapi_v2(kinds: Kinds) -> Json:
    """`GET /openapi/v2`."""
    writer = _Writer(_V2)
    paths = {path: item for rtype in kinds.all() for path, item in _paths(rtype, writer)}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": f"v{schemas.KUBERNETES_VERSION}.0"},
        "paths": paths,
        "definitions": writer.definitions(),
    }


class _Writer:
    """Definitions in one dialect: those referred to, and all that they refer to."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Dialect = dialect
        self._wanted: list[str] = []
        self._custom: dict[str, ResourceType] = {}
        self._descriptions = schemas.descriptions()

    def reference(self, name: str) -> Json:
        if name not in self._wanted:
            self._wanted.append(name)
        return {"$ref": self.dialect + name}

    def kind(self, rtype: ResourceType) -> Json:
        if not rtype.is_custom:
            return self.reference(schemas.definition_name(rtype.gvr.group, rtype.gvr.version, rtype.kind))
        reversed_group = ".".join(reversed(rtype.gvr.group.split(".")))
        name = f"{reversed_group}.{rtype.gvr.version}.{rtype.kind}"
        self._custom[name] = rtype
        return self.reference(name)

    def definitions(self) -> Json:
        found: Json = {}
        for name in self._wanted:  # grows meanwhile
            rtype = self._custom.get(name)
            found[name] = self._custom_definition(rtype) if rtype is not None else self._definition(name)
        return dict(sorted(found.items()))

    def _definition(self, name: str) -> Json:
        prose = self._descriptions.get(name, {})
        return self._node(schemas.raw_definition(name), prose)

    def _custom_definition(self, rtype: ResourceType) -> Json:
        node = self._node(dict(rtype.schema.raw), {})
        prose = self._descriptions[_TYPE_META]
        for key in ("apiVersion", "kind"):
            node["properties"][key] = {"type": "string", "description": prose[key]}
        node["properties"]["metadata"] = self._referring(schemas.OBJECT_META, {"description": prose["metadata"]})
        node[_GVK] = [_gvk(rtype)]
        return node

    def _node(self, raw: Json, prose: dict[str, str]) -> Json:
        """A node in the dialect; `prose` describes it and its fields."""
        if raw.get("format") == "quantity":
            either: Json = {"oneOf": [{"type": "string"}, {"type": "number"}]}
            return _described(either if self.dialect == _V3 else {"type": "string"}, prose)
        if raw.get("format") == "int-or-string" and self.dialect == _V3:
            return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
        node = {key: value for key, value in raw.items() if key not in ("properties", "items", "additionalProperties")}
        if "$ref" in node:
            return self._referring(node.pop("$ref"), _described(node, prose))
        if "properties" in raw:
            node["properties"] = {
                key: self._node(each, {"": prose[key]} if key in prose else {})
                for key, each in raw["properties"].items()
            }
        for key in ("items", "additionalProperties"):
            if key in raw:
                node[key] = self._node(raw[key], {}) if isinstance(raw[key], dict) else raw[key]
        return _described(node, prose)

    def _referring(self, name: str, rest: Json) -> Json:
        reference = self.reference(name)
        # OpenAPI 3.0 lets nothing stand beside a reference.
        return {**rest, "allOf": [reference]} if self.dialect == _V3 else {**rest, **reference}


def _described(node: Json, prose: dict[str, str]) -> Json:
    return {"description": prose[""], **node} if "" in prose else node


def _gvk(rtype: ResourceType) -> Json:
    return {"group": rtype.gvr.group, "version": rtype.gvr.version, "kind": rtype.kind}


def _paths(rtype: ResourceType, writer: _Writer) -> Iterator[tuple[str, Json]]:
    gvr = rtype.gvr
    bound = ["namespace"] if rtype.namespaced else []
    collection = _collection_path(gvr, rtype.namespaced)
    shared = _shared(bound, writer)
    yield collection, _with_shared(shared, _operations(rtype, writer, {"list": "get", "create": "post"}))
    if rtype.namespaced and "list" in rtype.verbs:
        yield _collection_path(gvr, False), _operations(rtype, writer, {"list": "get"})
    item = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
    if operations := _operations(rtype, writer, item):
        shared = _shared([*bound, "name"], writer)
        yield f"{collection}/{{name}}", _with_shared(shared, operations)
        if "status" in rtype.subresources:
            verbs = {"get": "get", "update": "put", "patch": "patch"}
            yield f"{collection}/{{name}}/status", _with_shared(shared, _operations(rtype, writer, verbs))


def _collection_path(gvr: GVR, namespaced: bool) -> str:
    root = f"/apis/{gvr.group}/{gvr.version}" if gvr.group else f"/api/{gvr.version}"
    return f"{root}/namespaces/{{namespace}}/{gvr.resource}" if namespaced else f"{root}/{gvr.resource}"


def _shared(names: list[str], writer: _Writer) -> list[Json]:
    return [_parameter(name, "path", "string", writer) for name in names]


def _with_shared(shared: list[Json], operations: Json) -> Json:
    return {**operations, "parameters": shared} if shared else operations


_WRITE = {"dryRun": "string", "fieldManager": "string", "fieldValidation": "string"}
_QUERY: dict[str, dict[str, str]] = {
    "list": {
        "continue": "string",
        "fieldSelector": "string",
        "labelSelector": "string",
        "limit": "integer",
        "resourceVersion": "string",
        "timeoutSeconds": "integer",
        "watch": "boolean",
    },
    "create": _WRITE,
    "update": _WRITE,
    "patch": {**_WRITE, "force": "boolean"},
    "get": {},
    "delete": {"dryRun": "string", "gracePeriodSeconds": "integer", "propagationPolicy": "string"},
}


def _operations(rtype: ResourceType, writer: _Writer, methods: dict[str, str]) -> Json:
    found: Json = {}
    for verb, method in methods.items():
        if verb not in rtype.verbs:
            continue
        action = {"create": "post", "update": "put"}.get(verb, verb)
        parameters = [_parameter(name, "query", type_, writer) for name, type_ in _QUERY[verb].items()]
        operation: Json = {"x-kubernetes-action": action, _GVK: _gvk(rtype), "parameters": parameters}
        body: dict[str, Json] = {}
        if verb in ("create", "update"):
            body = {"application/json": writer.kind(rtype)}
        elif verb == "patch":
            types = _PATCH_TYPES if rtype.is_custom else (*_PATCH_TYPES, _STRATEGIC)
            body = dict.fromkeys(types, writer.reference(_PATCH))
        answer = writer.reference(_STATUS) if verb == "delete" else writer.kind(rtype)
        if verb == "list":
            answer = {} if rtype.is_custom else writer.reference(_list_name(rtype))
        _describe_bodies(operation, body, answer, writer.dialect)
        found[method] = operation
    return found


def _list_name(rtype: ResourceType) -> str:
    return schemas.definition_name(rtype.gvr.group, rtype.gvr.version, rtype.list_kind)


def _describe_bodies(operation: Json, body: dict[str, Json], answer: Json, dialect: Dialect) -> None:
    if dialect == _V2:
        if body:
            operation["consumes"] = list(body)
            schema = next(iter(body.values()))
            operation["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
        operation["responses"] = {"200": {"description": "OK", **({"schema": answer} if answer else {})}}
        return
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media, schema in body.items()},
        }
    content = {"application/json": {"schema": answer} if answer else {}}
    operation["responses"] = {"200": {"description": "OK", "content": content}}


@lru_cache(64)
def _parameter_of(name: str, where: str, type_: str, dialect: Dialect) -> Json:
    described: Json = {"name": name, "in": where}
    if where == "path":
        described["required"] = True
    else:
        described["uniqueItems"] = True
    if dialect == _V2:
        return {**described, "type": type_}
    described.pop("uniqueItems", None)
    return {**described, "schema": {"type": type_}}


def _parameter(name: str, where: str, type_: str, writer: _Writer) -> Json:
    return _parameter_of(name, where, type_, writer.dialect)
