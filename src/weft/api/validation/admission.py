"""Webhook configurations, admission policies, quotas, limit ranges and priority classes.

In: an object. Out: errors. Source: kubernetes `pkg/apis/{admissionregistration,core,scheduling}/validation`.
"""

from collections.abc import Iterable
from typing import Any

from weft.api import names, quantity
from weft.api.validation.client_config import check_client_config
from weft.api.validation.errors import Errors, Object

_OPERATIONS = ("*", "CREATE", "UPDATE", "DELETE", "CONNECT")
_CONDITIONS = ("object", "oldObject", "request")
_POLICY = (*_CONDITIONS, "params", "namespaceObject", "variables")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
HIGHEST_USER_PRIORITY = 1_000_000_000
SCOPES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating")


def webhook_configuration(obj: Object, path: str, errors: Errors) -> None:
    hooks = obj.get("webhooks") or ()
    errors.unique(hooks, "name", "webhooks")
    for index, hook in enumerate(hooks):
        _webhook(hook, f"webhooks[{index}]", errors)


def _webhook(hook: Object, path: str, errors: Errors) -> None:
    name = hook.get("name") or ""
    if not name:
        errors.required(f"{path}.name")
    else:
        errors.check(f"{path}.name", name, names.subdomain(name))
        if name.count(".") < 2:
            errors.invalid(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
    reviews = hook.get("admissionReviewVersions") or ()
    if not reviews:
        errors.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif "v1" not in reviews:
        errors.invalid(f"{path}.admissionReviewVersions", list(reviews), "must include at least one of v1")
    if "sideEffects" not in hook:
        errors.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    errors.one_of(hook, "sideEffects", path, ("None", "NoneOnDryRun"))
    errors.one_of(hook, "failurePolicy", path, ("Fail", "Ignore"))
    errors.one_of(hook, "matchPolicy", path, ("Equivalent", "Exact"))
    errors.one_of(hook, "reinvocationPolicy", path, ("IfNeeded", "Never"))
    seconds = hook.get("timeoutSeconds", 10)
    if not 1 <= seconds <= 30:
        errors.invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    _check_rules(hook.get("rules") or (), f"{path}.rules", errors)
    check_client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig", errors)
    _check_conditions(hook.get("matchConditions") or (), f"{path}.matchConditions", _CONDITIONS, errors)


def _check_rules(rules: Iterable[Object], path: str, errors: Errors) -> None:
    for index, rule in enumerate(rules):
        where = f"{path}[{index}]"
        for key in ("operations", "apiGroups", "apiVersions", "resources"):
            values = rule.get(key) or ()
            if not values:
                errors.required(f"{where}.{key}")
            elif "*" in values and len(values) > 1 and key != "resources":
                errors.invalid(f"{where}.{key}", list(values), "if '*' is present, must not specify other values")
        for at, operation in enumerate(rule.get("operations") or ()):
            if operation not in _OPERATIONS:
                errors.not_supported(f"{where}.operations[{at}]", operation, _OPERATIONS)
        errors.one_of(rule, "scope", where, ("*", "Cluster", "Namespaced"))


def _check_conditions(conditions: Any, path: str, variables: tuple[str, ...], errors: Errors) -> None:
    if len(conditions) > 64:
        errors.too_many(path, len(conditions), 64)
    errors.unique(conditions, "name", path)
    for index, condition in enumerate(conditions):
        where = f"{path}[{index}]"
        if not condition.get("name"):
            errors.required(f"{where}.name")
        _check_expression(condition, "expression", where, variables, "bool", errors)


def _check_expression(
    owner: Object, key: str, path: str, variables: tuple[str, ...], kind: str, errors: Errors, *, needed: bool = True
) -> None:
    text = (owner.get(key) or "").strip()
    if not text:
        if needed:
            errors.required(f"{path}.{key}")
        return
    from weft.api.cel import DYN, CelSyntaxError, compile_cel  # for those who use it

    try:
        program = compile_cel(text, dict.fromkeys(variables, DYN))
    except CelSyntaxError as error:
        errors.invalid(f"{path}.{key}", text, f"compilation failed: {error}")
        return
    if kind and program.type.kind not in (kind, "dyn", "null_type" if kind == "string" else kind):
        errors.invalid(f"{path}.{key}", text, f"must evaluate to {kind}")


def policy(obj: Object, path: str, errors: Errors) -> None:
    spec = obj.get("spec") or {}
    constraints = spec.get("matchConstraints")
    if constraints is None:
        errors.required("spec.matchConstraints")
    else:
        if not constraints.get("resourceRules"):
            errors.required("spec.matchConstraints.resourceRules")
        for key in ("resourceRules", "excludeResourceRules"):
            _check_rules(constraints.get(key) or (), f"spec.matchConstraints.{key}", errors)
    errors.one_of(spec, "failurePolicy", "spec", ("Fail", "Ignore"))
    kind = spec.get("paramKind")
    if kind is not None:
        for key in ("apiVersion", "kind"):
            if not kind.get(key):
                errors.required(f"spec.paramKind.{key}")
    _check_conditions(spec.get("matchConditions") or (), "spec.matchConditions", _POLICY, errors)
    for index, variable in enumerate(spec.get("variables") or ()):
        if not (variable.get("name") or "").isidentifier():
            errors.invalid(
                f"spec.variables[{index}].name", variable.get("name", ""), "name is not a valid CEL identifier"
            )
        _check_expression(variable, "expression", f"spec.variables[{index}]", _POLICY, "", errors)
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        errors.required("spec.validations", "validations or auditAnnotations must contain at least one item")
    for index, validation in enumerate(spec.get("validations") or ()):
        where = f"spec.validations[{index}]"
        _check_expression(validation, "expression", where, _POLICY, "bool", errors)
        _check_expression(validation, "messageExpression", where, _POLICY, "string", errors, needed=False)
        errors.one_of(validation, "reason", where, _REASONS)
    for index, annotation in enumerate(spec.get("auditAnnotations") or ()):
        _check_expression(annotation, "valueExpression", f"spec.auditAnnotations[{index}]", _POLICY, "string", errors)


def policy_binding(obj: Object, path: str, errors: Errors) -> None:
    spec = obj.get("spec") or {}
    if not spec.get("policyName"):
        errors.required("spec.policyName")
    actions = spec.get("validationActions") or ()
    if not actions:
        errors.required("spec.validationActions", "at least one validation action is required")
    for index, action in enumerate(actions):
        if action not in ("Audit", "Deny", "Warn"):
            errors.not_supported(f"spec.validationActions[{index}]", action, ("Audit", "Deny", "Warn"))
    if {"Deny", "Warn"} <= set(actions):
        why = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        why += "response and headers serves no purpose)"
        errors.invalid("spec.validationActions", list(actions), why)
    reference = spec.get("paramRef")
    if reference is not None:
        if ("name" in reference) == ("selector" in reference):
            errors.forbidden(
                "spec.paramRef.name", "name and selector are mutually exclusive, and one of them is required"
            )
        if "parameterNotFoundAction" not in reference:
            errors.required("spec.paramRef.parameterNotFoundAction")
        errors.one_of(reference, "parameterNotFoundAction", "spec.paramRef", ("Allow", "Deny"))
    resources = spec.get("matchResources") or {}
    for key in ("resourceRules", "excludeResourceRules"):
        _check_rules(resources.get(key) or (), f"spec.matchResources.{key}", errors)


def resource_quota(obj: Object, path: str, errors: Errors) -> None:
    spec = obj.get("spec") or {}
    for name, value in (spec.get("hard") or {}).items():
        if quantity.parse(value) < 0:
            errors.invalid(f"spec.hard[{name}]", value, "must be greater than or equal to 0")
    for index, scope in enumerate(spec.get("scopes") or ()):
        if scope not in SCOPES:
            errors.invalid(f"spec.scopes[{index}]", scope, "unsupported scope")
    for index, term in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        where = f"spec.scopeSelector.matchExpressions[{index}]"
        if term.get("scopeName") not in SCOPES:
            errors.invalid(f"{where}.scopeName", term.get("scopeName", ""), "unsupported scope")
        errors.one_of(term, "operator", where, ("In", "NotIn", "Exists", "DoesNotExist"))
        if (term.get("operator") in ("In", "NotIn")) != bool(term.get("values")):
            errors.required(f"{where}.values", "must be specified exactly when `operator` is 'In' or 'NotIn'")


def resource_quota_update(new: Object, old: Object, errors: Errors) -> None:
    mine, before = (sorted((obj.get("spec") or {}).get("scopes") or ()) for obj in (new, old))
    errors.immutable("spec.scopes", mine, before)


def limit_range(obj: Object, path: str, errors: Errors) -> None:
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        where = f"spec.limits[{index}]"
        kind = item.get("type") or ""
        if kind not in ("Container", "PersistentVolumeClaim", "Pod") and "/" not in kind:
            errors.not_supported(f"{where}.type", kind, ("Container", "PersistentVolumeClaim", "Pod"))
        if kind == "Pod":
            for key in ("default", "defaultRequest"):
                if item.get(key):
                    errors.forbidden(f"{where}.{key}", "may not be specified when `type` is 'Pod'")
        if kind == "PersistentVolumeClaim" and not item.get("min") and not item.get("max"):
            errors.required(
                f"{where}.limits", "either minimum or maximum storage value is required, but neither was provided"
            )
        _check_order(item, where, errors)
        for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
            if quantity.parse(ratio) < 1:
                errors.invalid(f"{where}.maxLimitRequestRatio[{name}]", ratio, f"ratio {ratio} is less than 1")


_WORDS = {"min": "min", "max": "max", "default": "default", "defaultRequest": "default request"}


def _check_order(item: Object, path: str, errors: Errors) -> None:
    """min <= defaultRequest <= default <= max."""
    keys = ("min", "defaultRequest", "default", "max")
    for at, low in enumerate(keys):
        for high in keys[at + 1 :]:
            for name, value in (item.get(low) or {}).items():
                other = (item.get(high) or {}).get(name)
                if other is not None and quantity.parse(value) > quantity.parse(other):
                    why = f"{_WORDS[low]} value {value} is greater than {_WORDS[high]} value {other}"
                    errors.invalid(f"{path}.{low}[{name}]", value, why)


def priority_class(obj: Object, path: str, errors: Errors) -> None:
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value", 0)
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != value:
            why = "priority class names with 'system-' prefix are reserved for system use only"
            errors.forbidden("metadata.name", why)
    elif value > HIGHEST_USER_PRIORITY:
        errors.forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
    errors.one_of(obj, "preemptionPolicy", "", ("Never", "PreemptLowerPriority"))


def priority_class_update(new: Object, old: Object, errors: Errors) -> None:
    for key, zero in (("value", 0), ("preemptionPolicy", "PreemptLowerPriority")):
        if new.get(key, zero) != old.get(key, zero):
            errors.forbidden(key, "may not be changed in an update.")
