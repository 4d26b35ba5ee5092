"""Which requests a webhook or a policy is about: rules, selectors, match conditions.

In: the match part of a configuration, and a write. Out: whether it is meant.
Source: apiserver `pkg/admission/plugin/webhook/{predicates,matchconditions}`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from weft.api.gvr import NAMESPACES
from weft.api.selectors import LabelSelector
from weft.apiserver.api import Attributes, Object

if TYPE_CHECKING:
    from weft.api.cel import Budget, Program

# Nothing of these is ever asked about, so that a wrong one can always be taken back.
EXEMPT = frozenset(
    {
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    }
)


def is_exempt(attributes: Attributes) -> bool:
    request = attributes.request
    return request.group == "admissionregistration.k8s.io" and request.resource in EXEMPT


def is_meant(match: Object, rules: Sequence[Object], attributes: Attributes) -> bool:
    """By rules and selectors."""
    if not any(_rule_fits(rule, match, attributes) for rule in rules):
        return False
    return _namespace_fits(match.get("namespaceSelector"), attributes) and _object_fits(
        match.get("objectSelector"), attributes
    )


def _rule_fits(rule: Object, match: Object, attributes: Attributes) -> bool:
    request = attributes.request
    if not _has(rule.get("operations"), attributes.operation) or not _has(rule.get("apiGroups"), request.group):
        return False
    versions = {request.rtype.gvr.version}
    if match.get("matchPolicy", "Equivalent") == "Equivalent":
        versions = {
            rtype.gvr.version
            for rtype in attributes.api.kinds.all()
            if (rtype.gvr.group, rtype.gvr.resource) == (request.group, request.resource)
        }
    if not any(_has(rule.get("apiVersions"), version) for version in versions):
        return False
    scope = rule.get("scope") or "*"
    if scope != "*" and scope != ("Namespaced" if request.rtype.namespaced else "Cluster"):
        return False
    names = rule.get("resourceNames")
    if names and (request.name or attributes.obj["metadata"].get("name")) not in names:
        return False
    return any(_resource_fits(each, request.resource, request.subresource) for each in rule.get("resources") or ())


def _has(wanted: Sequence[str] | None, value: str) -> bool:
    return any(each in ("*", value) for each in wanted or ())


def _resource_fits(pattern: str, resource: str, subresource: str) -> bool:
    wanted, slash, part = pattern.partition("/")
    if wanted not in ("*", resource):
        return False
    if not slash:
        return not subresource
    return part == "*" or part == subresource


def namespace_of(attributes: Attributes) -> Object | None:
    """The namespace that the object is in, or is."""
    request, api = attributes.request, attributes.api
    if (request.group, request.resource) == ("", "namespaces"):
        return attributes.obj
    rtype = api.kinds.by_gvr(NAMESPACES)
    return api.objects.get(rtype, None, request.namespace) if rtype is not None and request.namespace else None


def _namespace_fits(selector: Object | None, attributes: Attributes) -> bool:
    if not selector:
        return True
    namespace = namespace_of(attributes)
    if namespace is None:
        return not attributes.request.rtype.namespaced
    return LabelSelector.from_json(selector).matches(namespace["metadata"].get("labels"))


def _object_fits(selector: Object | None, attributes: Attributes) -> bool:
    if not selector:
        return True
    parsed = LabelSelector.from_json(selector)
    objects = (attributes.obj, attributes.old)
    return any(parsed.matches((obj.get("metadata") or {}).get("labels")) for obj in objects if obj is not None)


# Expressions: all over values without known types.


@lru_cache(1024)
def program(text: str, variables: tuple[str, ...]) -> "Program":
    """Raises CelSyntaxError."""
    from weft.api.cel import DYN, compile_cel

    return compile_cel(text, dict.fromkeys(variables, DYN))


CONDITION_VARIABLES = ("object", "oldObject", "request")


def variables_of(attributes: Attributes, review: Object) -> Object:
    """object, oldObject and request, as expressions see them."""
    return {"object": review.get("object"), "oldObject": review.get("oldObject"), "request": _request(review)}


def _request(review: Object) -> Object:
    return {key: value for key, value in review.items() if key not in ("object", "oldObject")}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What match conditions said: met or not, or the error that kept them from saying it."""

    met: bool
    error: str = ""


def check_conditions(conditions: Sequence[Object], variables: dict[str, Any], budget: "Budget") -> Conditions:
    """All must be met; one that is not met outweighs another's error."""
    from weft.api.cel import CelError

    failed = ""
    names = tuple(variables)
    for condition in conditions:
        try:
            if program(condition["expression"], names).evaluate(variables, budget) is not True:
                return Conditions(False)
        except (CelError, ValueError) as error:
            failed = failed or f"expression '{condition['expression']}' resulted in error: {error}"
    return Conditions(not failed, failed)
