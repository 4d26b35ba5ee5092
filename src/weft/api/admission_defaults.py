"""Defaults of webhook configurations, admission policies, quotas and limit ranges.

In the form of `weft.api.defaults`, which takes them up.
Source: kubernetes `pkg/apis/admissionregistration/v1/defaults.go`, `pkg/apis/core/v1/defaults.go` (LimitRangeItem).
"""

from collections.abc import Callable
from typing import Any

_WEBHOOK: dict[str, Any] = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_MATCH: dict[str, Any] = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
VALUES: dict[str, dict[str, Any]] = {
    "MutatingWebhook": {**_WEBHOOK, "reinvocationPolicy": "Never"},
    "ValidatingWebhook": _WEBHOOK,
    "RuleWithOperations": {"scope": "*"},
    "NamedRuleWithOperations": {"scope": "*"},
    "MatchResources": _MATCH,
    "ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    "PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
}


def _limit_range_item(item: dict[str, Any]) -> None:
    """For containers: limits default to the maximum, requests to the limits or the minimum."""
    if item.get("type") != "Container":
        return
    limits, requests = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
    for name, value in (item.get("max") or {}).items():
        limits.setdefault(name, value)
    for name, value in limits.items():
        requests.setdefault(name, value)
    for name, value in (item.get("min") or {}).items():
        requests.setdefault(name, value)
    for key in ("default", "defaultRequest"):
        if not item[key]:
            del item[key]


RULES: dict[str, Callable[[dict[str, Any]], None]] = {"LimitRangeItem": _limit_range_item}
