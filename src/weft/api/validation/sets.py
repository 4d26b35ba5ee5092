"""Stateful sets, daemon sets, replication controllers and disruption budgets.

Source: kubernetes `pkg/apis/{apps,core,policy}/validation`.
"""

from weft.api.validation.errors import Errors, Object
from weft.api.validation.selectors import check_selector
from weft.api.validation.workloads import check_amount, replicated

_stateful_pods = replicated("statefulset", "StatefulSet")
_daemon_pods = replicated("daemonset", "DaemonSet")
_MAY_CHANGE = ("replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy")
_UPDATE_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def stateful_set_spec(spec: Object, path: str, errors: Errors) -> None:
    _stateful_pods(spec, path, errors)
    policy = spec.get("podManagementPolicy")
    if policy not in (None, "OrderedReady", "Parallel"):
        errors.invalid(f"{path}.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    _check_strategy(spec.get("updateStrategy") or {}, f"{path}.updateStrategy", errors)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for key in ("whenDeleted", "whenScaled"):
        errors.one_of(retention, key, f"{path}.persistentVolumeClaimRetentionPolicy", ("Delete", "Retain"))
    errors.not_negative(spec.get("ordinals") or {}, f"{path}.ordinals", "start")


def _check_strategy(strategy: Object, path: str, errors: Errors) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind not in (None, "OnDelete", "RollingUpdate"):
        errors.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif kind == "OnDelete" and rolling is not None:
        errors.invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif rolling is not None:
        errors.not_negative(rolling, f"{path}.rollingUpdate", "partition")


def stateful_set_update(new: Object, old: Object, errors: Errors) -> None:
    changing = (*_MAY_CHANGE, "minReadySeconds")
    spec, before = (
        {key: value for key, value in (each.get("spec") or {}).items() if key not in changing} for each in (new, old)
    )
    if spec != before:
        errors.forbidden("spec", _UPDATE_FORBIDDEN)


def daemon_set_spec(spec: Object, path: str, errors: Errors) -> None:
    _daemon_pods(spec, path, errors)
    strategy = spec.get("updateStrategy") or {}
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    where = f"{path}.updateStrategy"
    if kind not in (None, "OnDelete", "RollingUpdate"):
        errors.not_supported(where, kind, ("RollingUpdate", "OnDelete"))
        return
    if kind != "RollingUpdate" or rolling is None:
        return
    where += ".rollingUpdate"
    unavailable = check_amount(rolling.get("maxUnavailable", 0), f"{where}.maxUnavailable", errors)
    surge = check_amount(rolling.get("maxSurge", 0), f"{where}.maxSurge", errors)
    for key, amount in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        if isinstance(rolling.get(key), str) and (amount or 0) > 100:
            errors.invalid(f"{where}.{key}", rolling[key], "must not be greater than 100%")
    if unavailable and surge:
        errors.invalid(f"{where}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")
    elif unavailable == 0 == surge:
        errors.required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def replication_controller_spec(spec: Object, path: str, errors: Errors) -> None:
    errors.not_negative(spec, path, "replicas", "minReadySeconds")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        errors.required(f"{path}.selector")
    if template is None:
        errors.required(f"{path}.template")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector.items() <= labels.items():
        errors.invalid(f"{path}.template.metadata.labels", labels, "`selector` does not match template `labels`")
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy != "Always":
        errors.not_supported(f"{path}.template.spec.restartPolicy", policy, ("Always",))


def budget_spec(spec: Object, path: str, errors: Errors) -> None:
    if "minAvailable" in spec and "maxUnavailable" in spec:
        errors.invalid(path, spec, "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        if key in spec:
            amount = check_amount(spec[key], f"{path}.{key}", errors)
            if isinstance(spec[key], str) and (amount or 0) > 100:
                errors.invalid(f"{path}.{key}", spec[key], "must not be greater than 100%")
    if spec.get("selector") is not None:
        check_selector(spec["selector"], f"{path}.selector", errors)
    errors.one_of(spec, "unhealthyPodEvictionPolicy", path, ("AlwaysAllow", "IfHealthyBudget"))


def claim_spec(spec: Object, path: str, errors: Errors) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        errors.required(f"{path}.accessModes", "at least 1 access mode is required")
    known = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    for mode in modes:
        if mode not in known:
            errors.not_supported(f"{path}.accessModes", mode, known)
    if "storage" not in ((spec.get("resources") or {}).get("requests") or {}):
        errors.required(f"{path}.resources[storage]")
