"""What roles and bindings must say, and what of a binding may not change. Source: kubernetes rbac validation."""

from weft.api.rbac import GROUP
from weft.api.validation.errors import Errors, Object


def role(obj: Object, path: str, errors: Errors) -> None:
    for index, rule in enumerate(obj.get("rules") or ()):
        at = f"rules[{index}]"
        if not rule.get("verbs"):
            errors.required(f"{at}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                errors.invalid(
                    f"{at}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            errors.required(f"{at}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            errors.required(f"{at}.resources", "resource rules must supply at least one resource")


def namespaced_role(obj: Object, path: str, errors: Errors) -> None:
    role(obj, path, errors)
    for index, rule in enumerate(obj.get("rules") or ()):
        if rule.get("nonResourceURLs"):
            at = f"rules[{index}].nonResourceURLs"
            errors.invalid(at, rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs")


def role_binding(obj: Object, path: str, errors: Errors) -> None:
    _binding(obj, ("ClusterRole", "Role"), errors)


def cluster_role_binding(obj: Object, path: str, errors: Errors) -> None:
    _binding(obj, ("ClusterRole",), errors)


def _binding(obj: Object, kinds: tuple[str, ...], errors: Errors) -> None:
    reference = obj.get("roleRef") or {}
    if reference.get("apiGroup") != GROUP:
        errors.not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (GROUP,))
    if reference.get("kind") not in kinds:
        errors.not_supported("roleRef.kind", reference.get("kind", ""), kinds)
    if not reference.get("name"):
        errors.required("roleRef.name")
    for index, subject in enumerate(obj.get("subjects") or ()):
        at = f"subjects[{index}]"
        if not subject.get("name"):
            errors.required(f"{at}.name")
        group = "" if subject.get("kind") == "ServiceAccount" else GROUP
        if subject.get("kind") not in ("ServiceAccount", "User", "Group"):
            errors.not_supported(f"{at}.kind", subject.get("kind", ""), ("ServiceAccount", "User", "Group"))
        elif subject.get("apiGroup", "") != group:
            errors.not_supported(f"{at}.apiGroup", subject.get("apiGroup", ""), (group,))


def binding_update(new: Object, old: Object, errors: Errors) -> None:
    if new.get("roleRef") != old.get("roleRef"):
        errors.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")
