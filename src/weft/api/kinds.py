"""What kinds of object the API serves: the table of built-in kinds and the kinds that CRDs add.

In: rows of `weft.api.builtin` and CustomResourceDefinitions. Out: `ResourceType`, which every other module of this
package and the API server take to know how to treat an object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from weft.api.builtin import ROWS, Row
from weft.api.gvr import CRDS, GVR
from weft.api.schema import Schema, custom_schema, definition_name, definition_schema

_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `additionalPrinterColumns`: `priority` above 0 is shown by `kubectl get -o wide` only."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One resource in one version; compared by identity, so a CRD that changes makes a new one."""

    gvr: GVR
    kind: str
    singular: str
    namespaced: bool
    schema: Schema = field(repr=False)
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = _ALL_VERBS
    printer_columns: tuple[PrinterColumn, ...] = ()
    spec_replicas_path: str = ""
    status_replicas_path: str = ""
    label_selector_path: str = ""
    selectable_fields: tuple[str, ...] = ()
    is_custom: bool = False
    preserve_unknown: bool = False
    storage: bool = True
    storage_version: str = ""
    # A conversion webhook's clientConfig, and objects that it made of stored ones, by uid and resourceVersion.
    conversion: Mapping[str, Any] | None = field(default=None, repr=False)
    converted: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, repr=False)
    deprecation_warning: str = ""

    @property
    def qualified_kind(self) -> str:
        """As Kubernetes names it in messages: `Deployment.apps`, `Pod`."""
        return f"{self.kind}.{self.gvr.group}" if self.gvr.group else self.kind


class Kinds:
    """The registry of kinds; changed only by `add_crd` and `remove_crd`."""

    def __init__(self) -> None:
        self._by_gvr: dict[GVR, ResourceType] = {}
        self._by_kind: dict[tuple[str, str], ResourceType] = {}

    @classmethod
    def builtin(cls) -> Self:
        kinds = cls()
        for row in ROWS:
            kinds._add(_builtin_type(row))
        return kinds

    def by_gvr(self, gvr: GVR) -> ResourceType | None:
        return self._by_gvr.get(gvr)

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        return self._by_kind.get((api_version, kind))

    def all(self) -> tuple[ResourceType, ...]:
        return tuple(self._by_gvr.values())

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The versions of each group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for gvr in self._by_gvr:
            versions = found.setdefault(gvr.group, [])
            if gvr.version not in versions:
                versions.append(gvr.version)
        return {group: tuple(sorted(versions, key=version_priority)) for group, versions in found.items()}

    def add_crd(self, crd: dict[str, Any]) -> tuple[ResourceType, ...]:
        """Adds the kinds of a CRD's served versions in place of those that it had before; raises ApiError Invalid."""
        from weft.api.validation import invalid, validate  # which builds on this module

        definition = self.by_gvr(CRDS) or _builtin_type(next(row for row in ROWS if row.resource == CRDS.resource))
        if errors := validate(crd, definition):
            raise invalid(errors, definition, crd["metadata"].get("name", ""))
        self.remove_crd(crd["metadata"]["name"])
        types = custom_types(crd)
        for rtype in types:
            self._add(rtype)
        return types

    def remove_crd(self, name: str) -> tuple[ResourceType, ...]:
        """Forgets the kinds of the CRD named `plural.group`, and returns them."""
        gone = tuple(rtype for gvr, rtype in self._by_gvr.items() if rtype.is_custom and str(gvr) == name)
        for rtype in gone:
            del self._by_gvr[rtype.gvr]
            del self._by_kind[rtype.gvr.api_version, rtype.kind]
        return gone

    def _add(self, rtype: ResourceType) -> None:
        self._by_gvr[rtype.gvr] = rtype
        self._by_kind[rtype.gvr.api_version, rtype.kind] = rtype


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts as Kubernetes prefers versions: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name."""
    rest = version.removeprefix("v")
    for stage, word in enumerate(("", "beta", "alpha")):
        major, found, minor = rest.partition(word) if word else (rest, "", "0")
        if version[:1] == "v" and major.isdigit() and minor.isdigit() and bool(found) == bool(word):
            return (stage, -int(major), -int(minor), "")
    return (3, 0, 0, version)


def _builtin_type(row: Row) -> ResourceType:
    scalable = "scale" in row.subresources.split()
    return ResourceType(
        gvr=GVR(row.group, row.version, row.resource),
        kind=row.kind,
        singular=row.kind.lower(),
        namespaced=row.namespaced,
        schema=definition_schema(definition_name(row.group, row.version, row.kind)),
        list_kind=row.kind + "List",
        short_names=tuple(row.short_names.split()),
        categories=tuple(row.categories.split()),
        subresources=frozenset(row.subresources.split()),
        verbs=tuple(row.verbs.split()) or _ALL_VERBS,
        spec_replicas_path=".spec.replicas" if scalable else "",
        status_replicas_path=".status.replicas" if scalable else "",
    )


def custom_types(crd: dict[str, Any]) -> tuple[ResourceType, ...]:
    """The kinds of a (valid) CRD's served versions."""
    spec = crd["spec"]
    names = spec["names"]
    return tuple(_custom_type(spec, names, version) for version in spec["versions"] if version.get("served"))


def _conversion(conversion: dict[str, Any]) -> dict[str, Any] | None:
    if conversion.get("strategy") != "Webhook":
        return None
    config: dict[str, Any] = (conversion.get("webhook") or {}).get("clientConfig") or {}
    return config


def _custom_type(spec: dict[str, Any], names: dict[str, Any], version: dict[str, Any]) -> ResourceType:
    raw = (version.get("schema") or {}).get("openAPIV3Schema")
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale") or {}
    columns = version.get("additionalPrinterColumns") or ()
    kind = names["kind"]
    api_version = f"{spec['group']}/{version['name']}"
    deprecation = version.get("deprecationWarning") or f"{api_version} {kind} is deprecated"
    return ResourceType(
        gvr=GVR(spec["group"], version["name"], names["plural"]),
        kind=kind,
        singular=names.get("singular") or kind.lower(),
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        schema=custom_schema(raw),
        list_kind=names.get("listKind") or kind + "List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if subresources.get(name) is not None),
        printer_columns=tuple(
            PrinterColumn(
                column["name"],
                column["type"],
                column["jsonPath"],
                column.get("format", ""),
                column.get("description", ""),
                column.get("priority", 0),
            )
            for column in columns
        ),
        spec_replicas_path=scale.get("specReplicasPath", ""),
        status_replicas_path=scale.get("statusReplicasPath", ""),
        label_selector_path=scale.get("labelSelectorPath", ""),
        selectable_fields=tuple(entry["jsonPath"] for entry in version.get("selectableFields") or ()),
        is_custom=True,
        preserve_unknown=bool((raw or {}).get("x-kubernetes-preserve-unknown-fields")),
        storage=bool(version.get("storage")),
        storage_version=next((each["name"] for each in spec["versions"] if each.get("storage")), ""),
        conversion=_conversion(spec.get("conversion") or {}),
        deprecation_warning=deprecation if version.get("deprecated") else "",
    )


# What the subresource scale of any kind is read and written as.
SCALE = _builtin_type(Row("autoscaling", "v1", "Scale", "scales"))
