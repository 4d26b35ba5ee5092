"""Pods: priority, service account, quality of service, tolerations of a node that is away.

Kubernetes's admission plug-ins Priority, ServiceAccount and DefaultTolerationSeconds, and its pod strategy.
"""

from typing import Any

from weft.api import quantity
from weft.api.gvr import GVR
from weft.apiserver.admission.webhooks import forbidden
from weft.apiserver.api import Attributes

PRIORITYCLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_AWAY_SECONDS = 300


def complete_pod(attributes: Attributes) -> None:
    if attributes.which != ("", "pods") or attributes.operation != "CREATE":
        return
    spec = attributes.obj.get("spec")
    if not isinstance(spec, dict):
        return  # validation will say so
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    _set_priority(attributes, spec)
    tolerations = spec.setdefault("tolerations", [])
    for key in _AWAY:
        if not any(t.get("key") in (key, None, "") and t.get("effect") in ("NoExecute", None, "") for t in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _AWAY_SECONDS}
            )
    attributes.obj.setdefault("status", {})["qosClass"] = qos_class(spec)


def _set_priority(attributes: Attributes, spec: dict[str, Any]) -> None:
    name = spec.get("priorityClassName")
    priority, policy = 0, "PreemptLowerPriority"
    rtype = attributes.api.kinds.by_gvr(PRIORITYCLASSES)
    if name in SYSTEM_PRIORITIES:
        priority = SYSTEM_PRIORITIES[name]
    elif rtype is not None:
        if name:
            found = attributes.api.objects.get(rtype, None, name)
            if found is None:
                raise forbidden(attributes, f"no PriorityClass with name {name} was found")
        else:
            default = [c for c in attributes.api.objects.each(rtype) if c.get("globalDefault")]
            found = max(default, key=lambda c: -c.get("value", 0), default=None)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
            priority, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
    if spec.get("priority") not in (None, priority):
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission "
        )
        why += f"controller computed {priority} from the given PriorityClass name"
        raise forbidden(attributes, why)
    spec["priority"] = priority
    spec.setdefault("preemptionPolicy", policy)


def only_one_default_priority(attributes: Attributes) -> None:
    if attributes.which != ("scheduling.k8s.io", "priorityclasses") or not attributes.obj.get("globalDefault"):
        return
    name = attributes.obj["metadata"].get("name")
    for other in attributes.api.objects.each(attributes.request.rtype):
        if attributes.operation != "DELETE" and other.get("globalDefault") and other["metadata"]["name"] != name:
            taken = other["metadata"]["name"]
            why = f"PriorityClass {taken} is already marked as default. Only one default can exist"
            raise forbidden(attributes, why)


def qos_class(spec: dict[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort (kubernetes.io, "Pod Quality of Service Classes")."""
    guaranteed, any_set = True, False
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        resources = container.get("resources") or {}
        limits = _nonzero(resources.get("limits"))
        requests = _nonzero(resources.get("requests"))
        any_set = any_set or bool(limits or requests)
        if set(limits) != {"cpu", "memory"} or any(requests.get(k, limits[k]) != limits[k] for k in limits):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _nonzero(amounts: Any) -> dict[str, int]:
    found = {}
    for name in ("cpu", "memory"):
        try:
            amount = quantity.to_milli((amounts or {}).get(name, 0))
        except (ValueError, AttributeError):
            continue  # validation will say so
        if amount:
            found[name] = amount
    return found
