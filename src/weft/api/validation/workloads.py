"""Deployments and replica sets. Source: kubernetes `pkg/apis/apps/validation`."""

import re
from collections.abc import Callable
from typing import Any

from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.api.validation.errors import Errors, Object
from weft.api.validation.metadata import check_labels
from weft.api.validation.selectors import check_selector

_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_WRONG = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def replicated(what: str, kind: str = "") -> Callable[[Object, str, Errors], None]:
    """What a controller of pods must say: how many, which ones, and what they are like."""

    def check(spec: Object, path: str, errors: Errors) -> None:
        errors.not_negative(spec, path, "replicas", "minReadySeconds", "revisionHistoryLimit")
        selector, template = spec.get("selector"), spec.get("template")
        if selector is None:
            return  # said to be required already
        before = len(errors)
        check_selector(selector, f"{path}.selector", errors)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.invalid(f"{path}.selector", selector, f"empty selector is invalid for {what}")
        if template is None or len(errors) > before:
            return
        labels = (template.get("metadata") or {}).get("labels") or {}
        try:
            matches = LabelSelector.from_json(selector).matches(labels)
        except ApiError as error:
            errors.invalid(f"{path}.selector", selector, error.message)
            return
        if not matches:
            errors.invalid(f"{path}.template.metadata.labels", labels, "`selector` does not match template `labels`")
        pod = template.get("spec") or {}
        if pod.get("restartPolicy", "Always") != "Always":
            errors.not_supported(f"{path}.template.spec.restartPolicy", pod["restartPolicy"], ("Always",))
        if pod.get("activeDeadlineSeconds") is not None:
            errors.forbidden(
                f"{path}.template.spec.activeDeadlineSeconds",
                f"activeDeadlineSeconds in {kind or what} is not Supported",
            )

    return check


_deployment_pods = replicated("deployment")
replica_set_spec = replicated("ReplicaSet")


def deployment_spec(spec: Object, path: str, errors: Errors) -> None:
    _deployment_pods(spec, path, errors)
    errors.not_negative(spec, path, "progressDeadlineSeconds")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None and 0 <= deadline <= ready:
        errors.invalid(f"{path}.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    _check_strategy(spec.get("strategy") or {}, f"{path}.strategy", errors)


def _check_strategy(strategy: Object, path: str, errors: Errors) -> None:
    errors.one_of(strategy, "type", path, ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return
    if strategy.get("type") == "Recreate":
        errors.forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
        return
    amounts = {}
    for key in ("maxUnavailable", "maxSurge"):
        if key in rolling:
            amounts[key] = check_amount(rolling[key], f"{path}.rollingUpdate.{key}", errors)
    if amounts.get("maxUnavailable", 0) == 0 == amounts.get("maxSurge", 0):
        errors.invalid(
            f"{path}.rollingUpdate.maxUnavailable",
            rolling.get("maxUnavailable", 0),
            "may not be 0 when `maxSurge` is 0",
        )
    unavailable = rolling.get("maxUnavailable")
    if isinstance(unavailable, str) and (amounts["maxUnavailable"] or 0) > 100:
        errors.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, "must not be greater than 100%")


def check_amount(value: Any, path: str, errors: Errors) -> int | None:
    """A number or a percentage; None where it is neither."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            errors.invalid(path, value, _PERCENT_WRONG)
            return None
        return int(value[:-1])
    if value < 0:
        errors.invalid(path, value, "must be greater than or equal to 0")
        return None
    return int(value)


def pod_template(template: Object, path: str, errors: Errors) -> None:
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels"), f"{path}.labels", errors)
    for key in metadata.get("annotations") or ():
        check_labels({key.lower(): ""}, f"{path}.annotations", errors)
    if "spec" not in template:
        errors.required(f"{path}.spec.containers")


def selector_update(new: Object, old: Object, errors: Errors) -> None:
    errors.immutable("spec.selector", (new.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector"))
