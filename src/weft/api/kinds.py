"""What kinds of object the API serves: the table of built-in kinds and the kinds that CRDs add.

In: rows of `weft.api.builtin` and CustomResourceDefinitions. Out: `ResourceType`, which every other module of this
package and the API server take to know how to treat an object.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from weft.api.gvr import GVR
from weft.api.schema import Schema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


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
    schema: Schema
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ALL_VERBS
    printer_columns: tuple[PrinterColumn, ...] = ()
    spec_replicas_path: str = ""
    status_replicas_path: str = ""
    label_selector_path: str = ""
    is_custom: bool = False
    preserve_unknown: bool = False
    storage: bool = True

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def qualified_kind(self) -> str:
        """As Kubernetes names it in messages: `Deployment.apps`, `Pod`."""
        return f"{self.kind}.{self.gvr.group}" if self.gvr.group else self.kind


@dataclass
class Kinds:
    """The registry of kinds; changed only by `add_crd` and `remove_crd`."""

    _by_gvr: dict[GVR, ResourceType] = field(default_factory=dict)

    @classmethod
    def builtin(cls) -> Self:
        raise NotImplementedError

    def by_gvr(self, gvr: GVR) -> ResourceType | None:
        raise NotImplementedError

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        raise NotImplementedError

    def all(self) -> tuple[ResourceType, ...]:
        raise NotImplementedError

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The versions of each group, the preferred one first."""
        raise NotImplementedError

    def add_crd(self, crd: dict[str, Any]) -> tuple[ResourceType, ...]:
        """Adds, or replaces, the kinds of a CRD's served versions; raises ApiError Invalid."""
        raise NotImplementedError

    def remove_crd(self, name: str) -> tuple[ResourceType, ...]:
        """Forgets the kinds of the CRD named `plural.group`, and returns them."""
        raise NotImplementedError

    def _add(self, types: Iterable[ResourceType]) -> None:
        raise NotImplementedError
