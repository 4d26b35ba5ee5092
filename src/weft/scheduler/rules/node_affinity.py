"""`nodeSelector` and required node affinity (`plugins/nodeaffinity`)."""

from collections.abc import Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    labels = info.node["metadata"].get("labels") or {}
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    fits = (pod["spec"].get("nodeSelector") or {}).items() <= labels.items() and (
        affinity is None or any(_term(term, labels, info.name) for term in affinity["nodeSelectorTerms"])
    )
    return () if fits else ("node(s) didn't match Pod's node affinity/selector",)


def _term(term: Object, labels: dict[str, str], name: str) -> bool:
    """All requirements of a term must hold; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(
        _holds(each, {"metadata.name": name}) for each in fields
    )


def _holds(requirement: Object, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                left, right = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return left > right if operator == "Gt" else left < right
    return False
