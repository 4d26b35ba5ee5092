"""The rows of nodes, namespaces, events, leases, definitions, and of what holds configuration."""

from weft.api.events import to_core
from weft.api.table.printing import NONE, UNKNOWN, Cells, Object, age, created, name, prints

_EVENT = "Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count:integer|+Name"
_ROLE = "node-role.kubernetes.io/"


@prints("", "Namespace", "Name|Status|Age")
def namespace_row(obj: Object, now: float) -> Cells:
    return [name(obj), (obj.get("status") or {}).get("phase", ""), created(obj, now)]


@prints(
    "",
    "Node",
    "Name|Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime",
)
def node_row(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name(obj),
        _node_status(obj),
        _roles((obj.get("metadata") or {}).get("labels") or {}),
        created(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = [each for each in conditions if each.get("type") == "Ready"]
    shown = [("Ready" if each.get("status") == "True" else "NotReady") for each in ready] or ["Unknown"]
    if (obj.get("spec") or {}).get("unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _roles(labels: dict[str, str]) -> str:
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
    if role := labels.get("kubernetes.io/role"):
        roles.add(role)
    return ",".join(sorted(roles)) or NONE


def _address(status: Object, kind: str) -> str:
    found = (each.get("address") for each in status.get("addresses") or () if each.get("type") == kind)
    return next(found, None) or NONE


@prints("events.k8s.io", "Event", _EVENT)
def new_event_row(obj: Object, now: float) -> Cells:
    return event_row(to_core(obj), now)


@prints("", "Event", _EVENT)
def event_row(obj: Object, now: float) -> Cells:
    involved = obj.get("involvedObject") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or first
    count = obj.get("count") or 1
    if series := obj.get("series"):
        last, count = series.get("lastObservedTime"), series.get("count", count)
    target = involved.get("kind", "").lower()
    if involved.get("name"):
        target += f"/{involved['name']}"
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance")
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (obj.get("message") or "").strip(),
        age(first, now),
        count,
        name(obj),
    ]


@prints("coordination.k8s.io", "Lease", "Name|Holder|Age")
def lease_row(obj: Object, now: float) -> Cells:
    return [name(obj), (obj.get("spec") or {}).get("holderIdentity", ""), created(obj, now)]


@prints("apiextensions.k8s.io", "CustomResourceDefinition", "Name|Created At:date")
def definition_row(obj: Object, now: float) -> Cells:
    return [name(obj), (obj.get("metadata") or {}).get("creationTimestamp", "")]


@prints("", "ConfigMap", "Name|Data|Age")
def config_map_row(obj: Object, now: float) -> Cells:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), created(obj, now)]


@prints("", "Secret", "Name|Type|Data|Age")
def secret_row(obj: Object, now: float) -> Cells:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or ()), created(obj, now)]


@prints("", "ServiceAccount", "Name|Secrets|Age")
def service_account_row(obj: Object, now: float) -> Cells:
    return [name(obj), len(obj.get("secrets") or ()), created(obj, now)]
