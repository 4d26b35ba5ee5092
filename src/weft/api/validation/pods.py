"""Pods and pod templates. Source: kubernetes `pkg/apis/core/validation`.

The rules here are those on PodSpec as a whole; a container's own are in `containers`.
"""

from typing import Any

from weft.api import names
from weft.api.validation.containers import check_containers
from weft.api.validation.errors import Errors, Object
from weft.api.values import clone

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def pod_spec(spec: Object, path: str, errors: Errors) -> None:
    volumes = _check_volumes(spec.get("volumes") or (), f"{path}.volumes", errors)
    if not spec.get("containers"):
        errors.required(f"{path}.containers")
    check_containers(spec, path, volumes, errors)
    errors.one_of(spec, "restartPolicy", path, RESTART_POLICIES)
    errors.one_of(spec, "dnsPolicy", path, DNS_POLICIES)
    errors.one_of(spec, "preemptionPolicy", path, ("Never", "PreemptLowerPriority"))
    errors.not_negative(spec, path, "terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        errors.invalid(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
    for key, syntax in (
        ("hostname", names.label),
        ("subdomain", names.label),
        ("nodeName", names.subdomain),
        ("serviceAccountName", names.subdomain),
    ):
        if value := spec.get(key):
            errors.check(f"{path}.{key}", value, syntax(value))
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        errors.required(
            f"{path}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
    _check_tolerations(spec.get("tolerations") or (), f"{path}.tolerations", errors)


def _check_volumes(volumes: Any, path: str, errors: Errors) -> set[str]:
    """The names of the volumes."""
    found: set[str] = set()
    errors.unique(volumes, "name", path)
    for index, volume in enumerate(volumes):
        where = f"{path}[{index}]"
        name = volume.get("name")
        if name:
            errors.check(f"{where}.name", name, names.label(name))
            found.add(name)
        sources = [key for key in volume if key != "name"]
        for extra in sources[1:]:
            errors.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type")
        for key, needed in (("hostPath", "path"), ("configMap", "name"), ("secret", "secretName")):
            if key in volume and not volume[key].get(needed):
                errors.required(f"{where}.{key}.{needed}")
    return found


def _check_tolerations(tolerations: Any, path: str, errors: Errors) -> None:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        operator = toleration.get("operator", "")
        if operator not in ("", "Equal", "Exists"):
            errors.not_supported(f"{where}.operator", operator, ("Equal", "Exists"))
        if not toleration.get("key") and operator != "Exists":
            errors.invalid(
                f"{where}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if operator == "Exists" and toleration.get("value"):
            errors.invalid(f"{where}.operator", toleration, "value must be empty when `operator` is 'Exists'")
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            errors.invalid(
                f"{where}.effect",
                toleration.get("effect", ""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )


_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_update(new: Object, old: Object, errors: Errors) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec == before:
        return
    if len(spec.get("containers") or ()) != len(before.get("containers") or ()):
        errors.forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    allowed = clone(before)
    for key in ("containers", "initContainers"):
        for mine, theirs in zip(allowed.get(key) or (), spec.get(key) or (), strict=False):
            if "image" in theirs:
                mine["image"] = theirs["image"]
    if "activeDeadlineSeconds" in spec:
        allowed["activeDeadlineSeconds"] = spec["activeDeadlineSeconds"]
    had, has = before.get("tolerations") or [], spec.get("tolerations") or []
    if all(each in has for each in had):
        allowed.pop("tolerations", None)
        if "tolerations" in spec:
            allowed["tolerations"] = has
    gates, had_gates = spec.get("schedulingGates") or [], before.get("schedulingGates") or []
    if all(each in had_gates for each in gates):
        allowed.pop("schedulingGates", None)
        if "schedulingGates" in spec:
            allowed["schedulingGates"] = gates
    if spec != allowed:
        errors.forbidden("spec", _MAY_CHANGE)
