"""The rows of ingresses, their classes, and network policies."""

from weft.api.selectors import LabelSelector
from weft.api.table.printing import NONE, Cells, Object, created, name, prints


@prints("networking.k8s.io", "Ingress", "Name|Class|Hosts|Address|Ports|Age")
def ingress_row(obj: Object, now: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    hosts = list(dict.fromkeys(rule["host"] for rule in spec.get("rules") or () if rule.get("host")))
    more = len(hosts) - 3
    shown = ",".join(hosts[:3]) + (f" + {more} more..." if more > 0 else "")
    points = (status.get("loadBalancer") or {}).get("ingress") or ()
    return [
        name(obj),
        spec.get("ingressClassName") or NONE,
        shown or "*",
        ",".join(point.get("ip") or point.get("hostname") or "" for point in points),
        "80, 443" if spec.get("tls") else "80",
        created(obj, now),
    ]


@prints("networking.k8s.io", "IngressClass", "Name|Controller|Parameters|Age")
def ingress_class_row(obj: Object, now: float) -> Cells:
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    shown = NONE
    if parameters:
        group = parameters.get("apiGroup")
        shown = f"{parameters['kind']}{f'.{group}' if group else ''}/{parameters['name']}"
    return [name(obj), spec.get("controller", ""), shown, created(obj, now)]


@prints("networking.k8s.io", "NetworkPolicy", "Name|Pod-Selector|Age")
def network_policy_row(obj: Object, now: float) -> Cells:
    selector = (obj.get("spec") or {}).get("podSelector") or {}
    return [name(obj), str(LabelSelector.from_json(selector)) or NONE, created(obj, now)]
