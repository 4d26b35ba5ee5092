"""May a pod be on a node, by what both say: node selector, node affinity, taints and tolerations.

In: a pod's spec and a node. Out: yes or no. The scheduler and the DaemonSet controller ask the same.
Source: kubernetes `component-helpers/scheduling/corev1`.
"""

from collections.abc import Collection
from typing import Any

Object = dict[str, Any]


def tolerates(spec: Object, taint: Object) -> bool:
    """Whether one of the pod's tolerations covers the taint."""
    for each in spec.get("tolerations") or []:
        if each.get("effect") and each["effect"] != taint["effect"]:
            continue
        if each.get("operator", "Equal") == "Exists":
            if not each.get("key") or each["key"] == taint["key"]:
                return True
        elif each.get("key") == taint["key"] and each.get("value", "") == taint.get("value", ""):
            return True
    return False


def untolerated(spec: Object, node: Object, effects: Collection[str]) -> Object | None:
    """The first taint of these effects that keeps the pod off the node."""
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] in effects and not tolerates(spec, taint):
            found: Object = taint
            return found
    return None


def selects(spec: Object, node: Object) -> bool:
    """Whether the pod's nodeSelector and required node affinity allow the node."""
    metadata = node["metadata"]
    labels = metadata.get("labels") or {}
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return (spec.get("nodeSelector") or {}).items() <= labels.items() and (
        affinity is None or any(_term(term, labels, metadata["name"]) for term in affinity["nodeSelectorTerms"])
    )


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
