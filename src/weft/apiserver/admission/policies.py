"""Validating admission policies: rules in CEL that hold for all writes that a binding names.

In: a write, the policies and bindings in the cache, parameters. Out: nothing, warnings, or the refusal.
Source: apiserver `pkg/admission/plugin/policy/validating`; kubernetes.io, "Validating Admission Policy".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weft.api.gvr import GVR
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError, Cause
from weft.apiserver.admission.matching import check_conditions, is_exempt, is_meant, namespace_of, program, variables_of
from weft.apiserver.admission.review import review_request
from weft.apiserver.admission.webhooks import forbidden
from weft.apiserver.api import Api, Attributes, Object

if TYPE_CHECKING:
    from weft.api.cel import Budget

POLICIES = GVR("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
BINDINGS = GVR("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}
# What the expressions of one policy may take for one write.
_STEPS = 400_000


class _Lazily(dict[str, Any]):
    """A policy's variables, computed when they are first asked for."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if callable(value):
            value = value()
            self[name] = value
        return value


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    reason: str


class _NoParamsError(Exception):
    """A binding's parameters are not there, and must be."""


class Policies:
    """`validate` a write; raises ApiError."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def validate(self, attributes: Attributes) -> None:
        rtype, bindings = self._api.kinds.by_gvr(POLICIES), self._api.kinds.by_gvr(BINDINGS)
        if rtype is None or bindings is None or is_exempt(attributes):
            return
        if not self._api.objects.hub(rtype).entries:
            return
        by_policy: dict[str, list[Object]] = {}
        for binding in self._api.objects.each(bindings):
            by_policy.setdefault(binding["spec"].get("policyName", ""), []).append(binding)
        for policy in list(self._api.objects.each(rtype)):
            bound = by_policy.get(policy["metadata"]["name"])
            constraints = policy["spec"].get("matchConstraints") or {}
            if bound and _matches(constraints, attributes, everything=False):
                self._apply(policy, bound, attributes)

    def _apply(self, policy: Object, bindings: list[Object], attributes: Attributes) -> None:
        from weft.api.cel import Budget

        budget = Budget(_STEPS)
        review = review_request(attributes)
        base = variables_of(attributes, review)
        spec = policy["spec"]
        fails = spec.get("failurePolicy", "Fail") == "Fail"
        for binding in bindings:
            if not _matches(binding["spec"].get("matchResources") or {}, attributes, everything=True):
                continue
            named = f"ValidatingAdmissionPolicy '{policy['metadata']['name']}' with binding "
            named += f"'{binding['metadata']['name']}' denied request"
            try:
                params = list(self._params(spec.get("paramKind"), binding["spec"].get("paramRef"), attributes))
            except _NoParamsError as error:
                if fails:
                    raise _refusal(attributes, _Failure(f"{named}: {error}", "")) from None
                continue
            for each in params:
                values = {**base, "params": each, "namespaceObject": namespace_of(attributes)}
                for failure in _failures(spec, values, budget, fails=fails):
                    _enforce(binding, policy, named, failure, attributes)

    def _params(self, kind: Object | None, reference: Object | None, attributes: Attributes) -> Iterator[Object | None]:
        """The objects that the policy is applied with, one after another; None where it takes none."""
        if not kind or not reference:
            yield None
            return
        rtype = self._api.kinds.by_kind(kind.get("apiVersion", ""), kind.get("kind", ""))
        if rtype is None:
            raise _NoParamsError("failed to find resource referenced by paramKind: " + str(kind.get("kind")))
        namespace = None
        if rtype.namespaced:
            namespace = reference.get("namespace") or attributes.request.namespace
            if not namespace:
                raise _NoParamsError(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        found: list[Object] = []
        if reference.get("name"):
            named = self._api.objects.get(rtype, namespace, reference["name"])
            found = [named] if named is not None else []
        else:
            selector = LabelSelector.from_json(reference.get("selector") or {})
            each = self._api.objects.each(rtype, namespace)
            found = [obj for obj in each if selector.matches(obj["metadata"].get("labels"))]
        if not found and reference.get("parameterNotFoundAction") != "Allow":
            raise _NoParamsError(
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        yield from found


def _matches(constraints: Object, attributes: Attributes, *, everything: bool) -> bool:
    """A binding without rules takes all that its policy takes."""
    excluded = constraints.get("excludeResourceRules") or ()
    if excluded and is_meant({"matchPolicy": constraints.get("matchPolicy")}, excluded, attributes):
        return False
    rules = constraints.get("resourceRules") or ()
    if not rules and everything:
        rules = ({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]},)
    return is_meant(constraints, rules, attributes)


def _failures(spec: Object, values: Object, budget: "Budget", *, fails: bool) -> Iterator[_Failure]:
    from weft.api.cel import CelError

    values = {**values, "variables": _Lazily()}
    for variable in spec.get("variables") or ():
        text = variable["expression"]
        values["variables"][variable["name"]] = lambda text=text: program(text, VARIABLES).evaluate(values, budget)
    conditions = spec.get("matchConditions") or ()
    said = check_conditions(conditions, values, budget)
    if said.error and fails:
        yield _Failure(said.error, "")
        return
    if not said.met:
        return
    for validation in spec.get("validations") or ():
        text = validation["expression"]
        try:
            if program(text, VARIABLES).evaluate(values, budget) is True:
                continue
        except (CelError, ValueError) as error:
            if fails:
                yield _Failure(f"expression '{text.strip()}' resulted in error: {error}", "")
            continue
        yield _Failure(_message(validation, values, budget), validation.get("reason") or "")


def _message(validation: Object, values: Object, budget: "Budget") -> str:
    from weft.api.cel import CelError

    expression = validation.get("messageExpression")
    if expression:
        try:
            text = program(expression, VARIABLES).evaluate(values, budget)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        except (CelError, ValueError):
            pass  # then the plain message
    return str(validation.get("message") or "").strip() or f"failed expression: {validation['expression'].strip()}"


def _enforce(binding: Object, policy: Object, named: str, failure: _Failure, attributes: Attributes) -> None:
    actions = binding["spec"].get("validationActions") or ["Deny"]
    if "Warn" in actions:
        attributes.request.warnings.append(
            f"Validation failed for ValidatingAdmissionPolicy '{policy['metadata']['name']}' with binding "
            f"'{binding['metadata']['name']}': {failure.message}"
        )
    if "Deny" in actions:
        raise _refusal(attributes, _Failure(f"{named}: {failure.message}", failure.reason))


def _refusal(attributes: Attributes, failure: _Failure) -> ApiError:
    reason = failure.reason or "Invalid"
    error = forbidden(attributes, failure.message)
    return ApiError(
        reason,
        error.message,
        code=_CODES.get(reason, 422),
        kind=error.kind,
        group=error.group,
        name=error.name,
        causes=[Cause("", failure.message)],
    )
