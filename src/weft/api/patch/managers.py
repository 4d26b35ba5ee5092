"""`metadata.managedFields`, decoded: who owns which fields, since when, by what operation.

In and out: the list as it stands in objects. Source: apimachinery `pkg/util/managedfields`.
"""

from dataclasses import dataclass, field
from typing import Any

from weft.api.patch.fieldset import Path, Trie, contains, remove
from weft.api.status import bad_request
from weft.api.values import clone
from weft.core.clock import parse_rfc3339, rfc3339

Object = dict[str, Any]

# Fields that belong to the server and to nobody: they are never in a set.
UNOWNED: tuple[Path, ...] = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", "f:" + name)
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
    ),
)


@dataclass(slots=True)
class Manager:
    """One entry."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    fields: Trie = field(default_factory=dict)

    def is_same(self, other: "Manager") -> bool:
        return (self.name, self.operation, self.api_version, self.subresource) == (
            other.name,
            other.operation,
            other.api_version,
            other.subresource,
        )

    def to_json(self) -> Object:
        entry: Object = {"manager": self.name, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            entry["time"] = self.time
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": self.fields}
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry

    def describe(self) -> str:
        """As in conflicts."""
        shown = f'"{self.name}"'
        if self.subresource:
            shown += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            shown += f" using {self.api_version}"
            if self.time:
                try:
                    shown += f" at {rfc3339(parse_rfc3339(self.time))}"
                except ValueError:
                    pass
        return shown


def decode(obj: Object | None) -> list[Manager]:
    """Copies, so that they may be changed; raises ApiError BadRequest."""
    entries = ((obj or {}).get("metadata") or {}).get("managedFields") or []
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("operation") not in ("Apply", "Update"):
            raise bad_request("metadata.managedFields: an entry's operation must be Apply or Update")
        fields = entry.get("fieldsV1")
        found.append(
            Manager(
                str(entry.get("manager", "")),
                entry["operation"],
                str(entry.get("apiVersion", "")),
                str(entry.get("subresource", "")),
                str(entry.get("time", "")),
                clone(fields) if isinstance(fields, dict) else {},
            )
        )
    return found


def encode(managers: list[Manager]) -> list[Object]:
    """Those that own something: Apply before Update, then by time."""
    kept = [manager for manager in managers if manager.fields]
    kept.sort(key=lambda each: (each.operation, each.time, each.name, each.api_version, each.subresource))
    return [manager.to_json() for manager in kept]


def disown(trie: Trie) -> None:
    """Takes out what nobody owns."""
    for path in UNOWNED:
        if contains(trie, path):
            remove(trie, path)
