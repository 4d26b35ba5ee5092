"""Objects as a meta.k8s.io/v1 Table, which is what `kubectl get` prints.

In: objects of one kind, and the time that ages are counted to. Out: the Table. Each kind's columns and cells stand in
the modules beside; a kind without its own has NAME and AGE.
"""

from collections.abc import Sequence
from typing import Any, Literal

from weft.api.kinds import ResourceType
from weft.api.table import cluster, custom, jobs, networking, pods, rbac, services, storage, workloads
from weft.api.table.printing import PRINTERS, Column, Print

__all__ = [
    "cluster",
    "jobs",
    "networking",
    "partial_metadata",
    "pods",
    "rbac",
    "services",
    "storage",
    "to_table",
    "workloads",
]

Object = dict[str, Any]


def to_table(
    rtype: ResourceType,
    objects: Sequence[Object],
    resource_version: str = "",
    include_object: Literal["None", "Metadata", "Object"] = "Metadata",
    now: float = 0.0,
    *,
    continue_token: str = "",
    remaining: int | None = None,
    with_columns: bool = True,
) -> Object:
    """`with_columns=False` leaves columnDefinitions empty, as in all watch events after the first."""
    columns, print_row = _printer(rtype)
    metadata: Object = {"resourceVersion": resource_version} if resource_version else {}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    is_pod = (rtype.gvr.group, rtype.kind) == ("", "Pod")
    rows = []
    for obj in objects:
        row: Object = {"cells": print_row(obj, now)}
        if is_pod and (conditions := pods.completion(obj)):
            row["conditions"] = conditions
        row["object"] = _shown(obj, include_object)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.to_json() for column in columns] if with_columns else None,
        "rows": rows,
    }


def _printer(rtype: ResourceType) -> tuple[tuple[Column, ...], Print]:
    return PRINTERS.get((rtype.gvr.group, rtype.kind)) or custom.printer(rtype)


def _shown(obj: Object, include: str) -> Object | None:
    if include == "Object":
        return obj
    return partial_metadata(obj) if include == "Metadata" else None


def partial_metadata(obj: Object) -> Object:
    """The PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata") or {},
    }
