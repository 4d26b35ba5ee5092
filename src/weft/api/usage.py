"""What an object uses of a ResourceQuota: counts, and the amounts that pods and claims ask for.

In: an object of a resource, and a quota. Out: amounts by the names that `spec.hard` knows.
Source: kubernetes `pkg/quota/v1/evaluator/core`; kubernetes.io, "Resource Quotas".
Who is next: admission, which counts each write, and the quota controller, which counts everything again.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from weft.api import quantity

Object = dict[str, Any]
Amounts = dict[str, Decimal]

# Resources of the core group whose number has a name without `count/`.
COUNTED = frozenset(
    {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"}
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_STORAGE = ".storageclass.storage.k8s.io/"
_ZERO, _ONE = Decimal(0), Decimal(1)


def usage(group: str, resource: str, obj: Object) -> Amounts:
    """Of one object; a name that it does not use may be missing."""
    found: Amounts = {f"count/{resource}.{group}" if group else f"count/{resource}": _ONE}
    if group:
        return found
    if resource == "pods":
        if not _is_over(obj):
            found["pods"] = _ONE
            found.update(_pod(obj.get("spec") or {}))
        return found
    if resource in COUNTED:
        found[resource] = _ONE
    if resource == "services":
        found.update(_service(obj.get("spec") or {}))
    elif resource == "persistentvolumeclaims":
        found.update(_claim(obj.get("spec") or {}))
    return found


def _is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _pod(spec: Object) -> Amounts:
    found: Amounts = {}
    for kind in ("requests", "limits"):
        for name, value in pod_resources(spec, kind).items():
            found[f"{kind}.{name}"] = value
            if kind == "requests" and (name in _COMPUTE or name.startswith("hugepages-")):
                found[name] = value
    return found


def pod_resources(spec: Object, kind: str) -> Amounts:
    """`requests` or `limits` of a whole pod: containers and side cars together, or an init container that asks for
    more, and the overhead."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, container_resources(container, kind))
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in spec.get("initContainers") or ():
        mine = container_resources(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(total, mine)
            _add(sidecars, mine)
            mine = {}
        for name, value in {**sidecars, **{n: v + sidecars.get(n, _ZERO) for n, v in mine.items()}}.items():
            highest[name] = max(value, highest.get(name, _ZERO))
    for name, value in highest.items():
        total[name] = max(value, total.get(name, _ZERO))
    _add(total, {name: quantity.parse(value) for name, value in (spec.get("overhead") or {}).items()})
    return total


def container_resources(container: Object, kind: str) -> Amounts:
    return {name: quantity.parse(v) for name, v in ((container.get("resources") or {}).get(kind) or {}).items()}


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, _ZERO) + value


def _service(spec: Object) -> Amounts:
    kind, ports = spec.get("type"), Decimal(len(spec.get("ports") or ()))
    if kind == "NodePort":
        return {"services.nodeports": ports}
    if kind == "LoadBalancer":
        held = _ZERO if spec.get("allocateLoadBalancerNodePorts") is False else ports
        return {"services.loadbalancers": _ONE, "services.nodeports": held}
    return {}


def _claim(spec: Object) -> Amounts:
    found: Amounts = {}
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is not None:
        found["requests.storage"] = quantity.parse(storage)
    if name := spec.get("storageClassName"):
        found[f"{name}{_STORAGE}persistentvolumeclaims"] = _ONE
        if storage is not None:
            found[f"{name}{_STORAGE}requests.storage"] = quantity.parse(storage)
    return found


def resource_of(name: str) -> tuple[str, str]:
    """The group and resource that an entry of `spec.hard` is about."""
    if name.startswith("count/"):
        resource, _, group = name.removeprefix("count/").partition(".")
        return group, resource
    if name.startswith("services"):
        return "", "services"
    if _STORAGE in name or name in ("persistentvolumeclaims", "requests.storage"):
        return "", "persistentvolumeclaims"
    return "", name if name in COUNTED else "pods"


def unspecified(hard: Iterable[str], pod: Object) -> list[str]:
    """`cpu for: main` for each amount that the quota limits and a container leaves open."""
    missing = []
    spec = pod.get("spec") or {}
    for name in sorted(hard):
        kind, _, resource = name.rpartition(".")
        kind = kind or "requests"
        if resource not in ("cpu", "memory") or resource_of(name) != ("", "pods"):
            continue
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        lacking = [c.get("name", "") for c in containers if resource not in container_resources(c, kind)]
        if lacking:
            missing.append(f"{name} for: {','.join(sorted(lacking))}")
    return missing


# Scopes.


def applies(quota: Object, group: str, resource: str, obj: Object) -> bool:
    """Whether a quota counts the object: one with scopes counts the pods of all of them."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    return (group, resource) == ("", "pods") and all(_in_scope(term, obj.get("spec") or {}) for term in terms)


def _in_scope(term: Object, spec: Object) -> bool:
    match term.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _is_best_effort(spec)
        case "NotBestEffort":
            return not _is_best_effort(spec)
        case "PriorityClass":
            return _has_priority(term, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec.get("affinity") or {})
    return False


def _has_priority(term: Object, name: str) -> bool:
    match term.get("operator"):
        case "In":
            return name in (term.get("values") or ())
        case "NotIn":
            return name not in (term.get("values") or ())
        case "DoesNotExist":
            return not name
    return bool(name)


def _is_best_effort(spec: Object) -> bool:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return not any(
        container_resources(container, kind).get(name)
        for container in containers
        for kind in ("requests", "limits")
        for name in ("cpu", "memory")
    )


def _crosses_namespaces(affinity: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [each.get("podAffinityTerm") or {} for each in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def used(quota: Object, objects: Iterable[tuple[str, str, Object]]) -> Amounts:
    """What objects, each with its group and resource, use of a quota's `spec.hard`."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    total = dict.fromkeys(hard, _ZERO)
    for group, resource, obj in objects:
        if applies(quota, group, resource, obj):
            for name, value in usage(group, resource, obj).items():
                if name in total:
                    total[name] += value
    return total


def text(name: str, value: Decimal, like: str = "0") -> str:
    """An amount as Kubernetes writes it, in the family of suffixes of `like`."""
    if "memory" in name or "storage" in name or like.endswith("i"):
        whole = value.to_integral_value()
        return quantity.canonical(f"{int(whole) // 1024}Ki") if whole % 1024 == 0 else quantity.canonical(str(whole))
    return quantity.canonical(format(value, "f"))
