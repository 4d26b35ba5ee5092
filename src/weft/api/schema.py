"""Schemas: what fields an object has, of what type, and how its lists and maps merge.

In: the definitions of Kubernetes that we ship (`data/`, made by tools/build_schema.py) and the OpenAPI v3 schemas of
CRDs. Out: `Schema`, a tree whose nodes are made when they are first looked at; all nodes of one definition are shared.
Who is next: decoding, validation, defaults, patches.
"""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]
Resolve = Callable[[str], "Schema"]

_DATA = Path(__file__).parent / "data"
KUBERNETES_VERSION = "1.32"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"


class Schema:
    """One node. `type` is an OpenAPI type, or `int-or-string`, `quantity` or `any`.

    `raw` holds the OpenAPI form with everything else (bounds, patterns, ...); references in it are bare names.
    """

    def __init__(self, raw: Mapping[str, Any], resolve: Resolve, name: str = "", *, custom: bool = False) -> None:
        self.raw = raw
        self.definition = name
        self.name = name.rpartition(".")[2]
        self.custom = custom
        self._resolve = resolve
        self.type: str = _type_of(raw)
        self.format: str = raw.get("format", "")
        self.required: tuple[str, ...] = tuple(raw.get("required", ()))
        self.nullable: bool = bool(raw.get("nullable", False))
        # Structured merge: what server-side apply reads. Lists are atomic unless said otherwise.
        self.list_type: str = raw.get("x-kubernetes-list-type", "atomic")
        self.list_map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        self.map_type: str = raw.get("x-kubernetes-map-type", "granular")
        # Strategic merge.
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        self.patch_strategy: frozenset[str] = frozenset(
            part for part in raw.get("x-kubernetes-patch-strategy", "").split(",") if part
        )
        self.embedded: bool = bool(raw.get("x-kubernetes-embedded-resource", False))

    @cached_property
    def properties(self) -> dict[str, "Schema"]:
        found = {key: self._child(value) for key, value in self.raw.get("properties", {}).items()}
        if self.embedded:
            for key in ("apiVersion", "kind"):
                found.setdefault(key, definition_schema("string"))
            found["metadata"] = definition_schema(OBJECT_META)
        return found

    @cached_property
    def items(self) -> "Schema | None":
        """The elements of an array."""
        raw = self.raw.get("items")
        return self._child(raw) if isinstance(raw, Mapping) else None

    @cached_property
    def values(self) -> "Schema | None":
        """The values of a map (`additionalProperties`)."""
        raw = self.raw.get("additionalProperties")
        if raw is True:
            return definition_schema("any")
        return self._child(raw) if isinstance(raw, Mapping) else None

    @cached_property
    def open(self) -> bool:
        """Whether any field may stand here: free-form objects such as RawExtension and preserve-unknown-fields."""
        if self.raw.get("x-kubernetes-preserve-unknown-fields"):
            return True
        if self.custom:
            return False
        return self.type == "any" or (self.type == "object" and "properties" not in self.raw and self.values is None)

    @cached_property
    def has_defaults(self) -> bool:
        """Whether a `default:` stands somewhere below (custom resources only; their schemas are finite trees)."""
        return "default" in self.raw or any(
            child.has_defaults
            for child in (*self.properties.values(), self.items, self.values)
            if child is not None and child.custom
        )

    @cached_property
    def has_rules(self) -> bool:
        """Whether a rule in CEL stands somewhere below (custom resources only)."""
        return bool(self.raw.get("x-kubernetes-validations")) or any(
            child.has_rules
            for child in (*self.properties.values(), self.items, self.values)
            if child is not None and child.custom
        )

    def at(self, *path: str) -> "Schema | None":
        """The node below, following field names."""
        node: Schema | None = self
        for step in path:
            if node is None:
                return None
            node = node.properties.get(step) or node.values
        return node

    def sub(self, raw: Mapping[str, Any]) -> "Schema":
        """A schema that stands beside this one, such as one of `anyOf`; without a type it takes this one's."""
        return Schema({"type": self.raw.get("type"), **raw}, self._resolve, custom=self.custom)

    def _child(self, raw: Mapping[str, Any]) -> "Schema":
        reference = raw.get("$ref")
        if reference is None:
            return _scalar(raw) or Schema(raw, self._resolve, custom=self.custom)
        target = self._resolve(reference)
        if len(raw) == 1:
            return target
        extras = {key: value for key, value in raw.items() if key != "$ref"}
        return Schema({**target.raw, **extras}, target._resolve, target.definition)

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type})"


def _type_of(raw: Mapping[str, Any]) -> str:
    if raw.get("x-kubernetes-int-or-string") or raw.get("format") == "int-or-string":
        return "int-or-string"
    if raw.get("format") == "quantity" and raw.get("type") == "string":
        return "quantity"
    kind = raw.get("type")
    if kind is None:
        return "object" if "properties" in raw or "x-kubernetes-embedded-resource" in raw else "any"
    return str(kind)


_SCALARS: dict[tuple[str, str], Schema] = {}


def _scalar(raw: Mapping[str, Any]) -> Schema | None:
    """One shared node for all fields that are no more than a type and a format."""
    if raw.keys() - {"type", "format"} or raw.get("type") in ("object", "array", None):
        return None
    key = (raw["type"], raw.get("format", ""))
    if key not in _SCALARS:
        _SCALARS[key] = Schema(raw, definition_schema)
    return _SCALARS[key]


def _read_lines(file: str) -> dict[str, bytes]:
    """Each definition's JSON, not decoded: the files have one definition a line."""
    found = {}
    for line in gzip.decompress((_DATA / file).read_bytes()).split(b"\n"):
        if line.startswith(b'"'):
            name, _, value = line.partition(b":")
            found[name.strip(b'"').decode()] = value.rstrip(b",")
    return found


@lru_cache(1)
def _structures() -> dict[str, bytes]:
    return _read_lines(f"kubernetes-{KUBERNETES_VERSION}.json.gz")


@lru_cache(1)
def shipped_digest() -> bytes:
    """Names the shipped schemas: changes when they do."""
    digest = hashlib.sha256()
    for file in sorted(_DATA.glob("*.json.gz")):
        digest.update(file.read_bytes())
    return digest.digest()


# Definitions of ours beside the shipped ones: the leaves that nodes refer to by name.
_OWN: dict[str, Json] = {"any": {}, "string": {"type": "string"}}


def raw_definition(name: str) -> Json:
    """The OpenAPI form of a shipped definition, references as bare names; raises KeyError."""
    if name in _OWN:
        return _OWN[name]
    raw: Json = orjson.loads(_structures()[name])
    return raw


def is_shipped(name: str) -> bool:
    """Whether there is a definition of this name."""
    return name in _structures()


def field_numbers() -> dict[str, bytes]:
    """The JSON of each definition's protobuf field numbers (tools/build_protobuf_table.py)."""
    return _read_lines("protobuf-fields.json.gz")


def descriptions() -> dict[str, dict[str, str]]:
    """The prose of every definition: `{"": its own, field: the field's}`. Large, and therefore not kept."""
    lines = _read_lines(f"kubernetes-{KUBERNETES_VERSION}-descriptions.json.gz")
    return {name: orjson.loads(value) for name, value in lines.items()}


@lru_cache(None)
def definition_schema(name: str) -> Schema:
    """The shared node of a shipped definition; raises KeyError."""
    return Schema(raw_definition(name), definition_schema, name)


# Groups whose definitions do not stand under io.k8s.api.<first label of the group>.
_PREFIXES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "io.k8s.api.apiserverinternal",
}


def definition_name(group: str, version: str, kind: str) -> str:
    """The name of a built-in kind's definition, as Kubernetes' OpenAPI document has it."""
    prefix = _PREFIXES.get(group) or f"io.k8s.api.{group.partition('.')[0]}"
    return f"{prefix}.{version}.{kind}"


def custom_schema(raw: Mapping[str, Any] | None) -> Schema:
    """The schema of a custom resource: the CRD's `openAPIV3Schema`, with the metadata that every object has."""
    raw = dict(raw or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    raw["properties"] = {
        **raw.get("properties", {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
    }
    schema = Schema(raw, definition_schema, custom=True)
    schema.properties["metadata"] = definition_schema(OBJECT_META)
    return schema
