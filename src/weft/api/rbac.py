"""Rules of rbac.authorization.k8s.io/v1: whether a rule lets something be done. Pure.

In: PolicyRules as JSON, and what somebody wants to do. Out: yes or no; and whether rules cover others, by which nobody
can hand out more than he has. Source: Kubernetes, "Using RBAC Authorization".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GROUP = "rbac.authorization.k8s.io"
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is wanted: a verb on a resource (`resource/subresource`), or, with `path`, on a URL that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def allows(rule: Rule, wanted: Attributes) -> bool:
    verbs = rule.get("verbs") or ()
    if wanted.verb not in verbs and "*" not in verbs:
        return False
    if wanted.path:
        return any(_is_path(pattern, wanted.path) for pattern in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if wanted.group not in groups and "*" not in groups:
        return False
    if not any(_is_resource(pattern, wanted) for pattern in rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames") or ()
    return not names or wanted.name in names


def _is_resource(pattern: str, wanted: Attributes) -> bool:
    whole = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    if pattern in ("*", whole):
        return True
    return bool(wanted.subresource) and pattern == f"*/{wanted.subresource}"


def _is_path(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])


def covers(own: Sequence[Rule], given: Iterable[Rule]) -> bool:
    """Whether everything that `given` lets somebody do, `own` does too."""
    return all(any(allows(rule, each) for rule in own) for wish in given for each in _parts(wish))


def _parts(rule: Rule) -> Iterable[Attributes]:
    """A rule taken apart: a wildcard stands for itself, so that only a wildcard covers it."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield Attributes(verb, path=path)
        for group in rule.get("apiGroups") or ():
            for text in rule.get("resources") or ():
                resource, _, subresource = text.partition("/")
                for name in rule.get("resourceNames") or ("",):
                    yield Attributes(verb, group, resource, subresource, name=name)


def is_subject(subject: Mapping[str, Any], user: str, groups: Sequence[str], namespace: str) -> bool:
    """`namespace` is that of the binding, for service accounts that name none."""
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "User":
        return name == user
    if kind == "Group":
        return name in groups
    return kind == "ServiceAccount" and user == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
