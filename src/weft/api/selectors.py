"""Selectors: which objects a request or a controller means, by labels or by fields.

In: the text of `labelSelector` and `fieldSelector`, or a LabelSelector object. Out: a frozen selector that says whether
it matches. Parse errors raise ApiError BadRequest. Source: apimachinery `pkg/labels`, `pkg/fields`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from weft.api import names
from weft.api.kinds import ResourceType
from weft.api.paths import as_text, compile_path
from weft.api.status import bad_request

_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|=|>|<|!|,|\(|\))|(?P<word>[^\s,()=!<>]+))")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; `op` is `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`."""

    key: str
    op: str
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if wrong := names.qualified_name(self.key):
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{self.key}": {wrong}')
        for value in self.values:
            if wrong := names.label_value(value):
                where = f"values[0][{self.key}]"
                raise bad_request(f'unable to parse requirement: {where}: Invalid value: "{value}": {wrong}')
        if self.op in ("In", "NotIn") and not self.values:
            raise bad_request("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
        if self.op in ("Exists", "DoesNotExist") and self.values:
            raise bad_request("values: Invalid value: values set must be empty for exists and does not exist")
        if self.op in ("Gt", "Lt") and (len(self.values) != 1 or not re.fullmatch(r"-?\d+", self.values[0])):
            raise bad_request("for 'Gt', 'Lt' operators, the value must be one integer")

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.op:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        if value is None or not re.fullmatch(r"-?\d+", value):
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.op == "Gt" else int(value) < bound

    def __str__(self) -> str:
        match self.op:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "NotIn" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case "In" | "NotIn":
                return f"{self.key} {self.op.lower()} ({','.join(sorted(self.values))})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
        return f"{self.key}{'>' if self.op == 'Gt' else '<'}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; `str(selector)` can be parsed again. `nothing` is what no selector at all selects."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The form in URLs: `a=b,c in (x,y),!d`; the empty text selects everything."""
        return cls(tuple(_Parser(text).parse())) if text.strip() else cls()

    @classmethod
    def from_json(cls, selector: Mapping[str, Any] | None) -> Self:
        """The form in objects; `{}` selects everything, None nothing."""
        if selector is None:
            return cls(nothing=True)
        found = [Requirement(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
        for term in selector.get("matchExpressions") or ():
            op = term.get("operator")
            if op not in ("In", "NotIn", "Exists", "DoesNotExist"):
                raise bad_request(f'"{op}" is not a valid label selector operator')
            found.append(Requirement(term.get("key", ""), op, tuple(term.get("values") or ())))
        return cls(tuple(sorted(found, key=lambda requirement: requirement.key)))

    @classmethod
    def from_labels(cls, labels: Mapping[str, str] | None) -> Self:
        """The form in a Service: a map that must be part of the labels; the empty map selects nothing."""
        if not labels:
            return cls(nothing=True)
        return cls(tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items())))

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        return all(requirement.matches(labels or {}) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise bad_request(f"unable to parse requirement: found '{text[position:]}'")
            self._tokens.append(match["op"] or match["word"])
            position = match.end()
        self._next = 0

    def parse(self) -> list[Requirement]:
        found = []
        while True:
            found.append(self._requirement())
            if self._peek() == "":
                return found
            self._expect(",", "',' or 'end of string'")

    def _requirement(self) -> Requirement:
        token = self._take()
        if token == "!":
            return Requirement(self._word("identifier"), "DoesNotExist")
        if token in ("", ",", "(", ")", "=", "==", "!=", "<", ">"):
            raise bad_request(
                f"unable to parse requirement: found '{token}', expected: !, identifier, or 'end of string'"
            )
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(token, "Exists")
        self._take()
        match operator:
            case "=" | "==":
                return Requirement(token, "In", (self._value(),))
            case "!=":
                return Requirement(token, "NotIn", (self._value(),))
            case ">" | "<":
                return Requirement(token, "Gt" if operator == ">" else "Lt", (self._word("identifier"),))
            case "in" | "notin":
                return Requirement(token, "In" if operator == "in" else "NotIn", self._set())
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _set(self) -> tuple[str, ...]:
        self._expect("(", "'('")
        values = [self._value()]
        while self._peek() == ",":
            self._take()
            values.append(self._value())
        self._expect(")", "',', or ')'")
        return tuple(sorted(set(values)))

    def _value(self) -> str:
        """A value may be empty."""
        return "" if self._peek() in ("", ",", ")") else self._word("identifier")

    def _word(self, expected: str) -> str:
        token = self._take()
        if token in ("", ",", "(", ")", "=", "==", "!=", "<", ">", "!"):
            raise bad_request(f"unable to parse requirement: found '{token}', expected: {expected}")
        return token

    def _expect(self, wanted: str, said: str) -> None:
        token = self._take()
        if token != wanted:
            raise bad_request(f"unable to parse requirement: found '{token}', expected: {said}")

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token


# Fields beyond metadata.name and metadata.namespace, and the text of a field that is not there.
FIELDS: dict[tuple[str, str], dict[str, str]] = {
    ("", "Pod"): {
        "spec.nodeName": "",
        "spec.restartPolicy": "",
        "spec.schedulerName": "",
        "spec.serviceAccountName": "",
        "spec.hostNetwork": "false",
        "status.phase": "",
        "status.podIP": "",
        "status.podIPs": "",
        "status.nominatedNodeName": "",
    },
    ("", "Node"): {"spec.unschedulable": "false"},
    ("", "Namespace"): {"status.phase": "", "name": ""},
    ("", "Secret"): {"type": ""},
    ("", "Service"): {"spec.clusterIP": "", "spec.type": ""},
    ("", "Event"): {
        "involvedObject.kind": "",
        "involvedObject.namespace": "",
        "involvedObject.name": "",
        "involvedObject.uid": "",
        "involvedObject.apiVersion": "",
        "involvedObject.resourceVersion": "",
        "involvedObject.fieldPath": "",
        "reason": "",
        "reportingComponent": "",
        "source": "",
        "type": "",
    },
    ("events.k8s.io", "Event"): {
        "regarding.kind": "",
        "regarding.namespace": "",
        "regarding.name": "",
        "regarding.uid": "",
        "regarding.apiVersion": "",
        "regarding.resourceVersion": "",
        "regarding.fieldPath": "",
        "reason": "",
        "reportingController": "",
        "type": "",
    },
    ("apps", "ReplicaSet"): {"status.replicas": "0"},
    ("", "ReplicationController"): {"status.replicas": "0"},
    ("batch", "Job"): {"status.successful": "0"},
}
# Labels of fields that stand elsewhere in the object.
_ELSEWHERE = {
    "source": ("source.component", "reportingComponent"),
    "reportingComponent": ("reportingComponent", "source.component"),
    "reportingController": ("reportingController", "deprecatedSource.component"),
    "name": ("metadata.name",),
    "status.successful": ("status.succeeded",),
}


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """`field` equals `value`, or not; `missing` is the text of a field that is not there."""

    field: str
    value: str
    equal: bool = True
    missing: str = ""

    def matches(self, obj: Mapping[str, Any]) -> bool:
        text = ""
        for path in _ELSEWHERE.get(self.field, (self.field,)):
            found = compile_path(path)(obj)
            text = as_text(found[0]) if found else ""
            if text:
                break
        return ((text or self.missing) == self.value) == self.equal


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold."""

    terms: tuple[FieldTerm, ...] = ()

    @classmethod
    def parse(cls, text: str, rtype: ResourceType | None = None) -> Self:
        """`metadata.name=x,status.phase!=Running`; with `rtype`, a field that the kind does not support is refused."""
        terms = []
        for part in re.split(r"(?<!\\),", text):
            if part.strip():
                terms.append(_term(part, text, rtype))
        return cls(tuple(terms))

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all(term.matches(obj) for term in self.terms)

    def required(self, field: str) -> str | None:
        """The value that the field must have, if the selector says so: a quick way to a single object."""
        return next((term.value for term in self.terms if term.field == field and term.equal), None)

    @property
    def empty(self) -> bool:
        return not self.terms


def _term(part: str, text: str, rtype: ResourceType | None) -> FieldTerm:
    match = re.match(r"((?:\\.|[^=!\\])*)(==|!=|=)(.*)", part, re.DOTALL)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
    field, operator = match[1].strip(), match[2]
    if re.search(r"\\(?![\\,=])|(?<!\\)=", match[3].replace("\\\\", "")):
        raise bad_request(f"invalid field selector: {part}")
    value = re.sub(r"\\([\\,=])", r"\1", match[3])
    missing = ""
    if rtype is not None:
        known = supported_fields(rtype)
        if field not in known:
            if rtype.is_custom or (rtype.gvr.group, rtype.kind) in FIELDS:
                raise bad_request(f"field label not supported: {field}")
            only = ", ".join(f'"{name}"' for name in known)
            raise bad_request(f'"{field}" is not a known field selector: only {only}')
        missing = known[field]
    return FieldTerm(field, value, operator != "!=", missing)


def supported_fields(rtype: ResourceType) -> dict[str, str]:
    """The fields that a field selector on this kind may name, with the text of one that is not there."""
    fields = {"metadata.name": "", "metadata.namespace": ""} | FIELDS.get((rtype.gvr.group, rtype.kind), {})
    return fields | {path.removeprefix("."): "" for path in rtype.selectable_fields}
