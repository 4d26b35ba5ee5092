"""CEL rules of custom resources: `x-kubernetes-validations`.

In: a schema's rules, once when the CRD is written; then values along the schema, with what stood there before where
the two can be told to be the same (fields of objects, values of maps, elements of lists of the map type). Out: errors.
Source: apiextensions `pkg/apiserver/schema/cel`, and `pkg/apis/apiextensions/validation` for what a rule may be.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from weft.api.cel import (
    BOOL,
    NONE,
    STRING,
    Budget,
    CelError,
    CelSyntaxError,
    CostError,
    Optional,
    Program,
    Type,
    as_value,
    compile_cel,
    optional_of,
    type_of,
    uses,
)
from weft.api.schema import Schema
from weft.api.validation.correlation import ABSENT, old_element, old_elements
from weft.api.validation.errors import Errors, FieldError, Object

REASONS = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
# What all rules of one object may take together: about a second.
STEPS = 400_000
_PATH = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_-]*|\['(?:[^'\\]|\\.)+'\])+", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Rule:
    raw: Object
    program: Program
    message: Program | None
    transition: bool

    @property
    def text(self) -> str:
        return str(self.raw.get("message") or self.raw["rule"]).strip()


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rules of one node of a schema, and whether there are any below it."""

    type: Type | None
    rules: tuple[_Rule, ...]
    below: bool


_PLANS: WeakKeyDictionary[Schema, dict[bool, _Plan]] = WeakKeyDictionary()


def _plan(schema: Schema, root: bool) -> _Plan:
    plans = _PLANS.setdefault(schema, {})
    plan = plans.get(root)
    if plan is None:
        raw = schema.raw.get("x-kubernetes-validations") or ()
        type_ = type_of(schema, root=root) if raw else None
        rules = []
        for each in raw:
            try:
                if type_ is not None:
                    rules.append(_compiled(each, type_))
            except CelSyntaxError:
                continue  # stored by a server that knew functions that this one does not
        children = (*schema.properties.values(), schema.items, schema.values)
        below = any(child.has_rules for child in children if child is not None and child.custom)
        plan = plans[root] = _Plan(type_, tuple(rules), below)
    return plan


def _compiled(raw: Object, type_: Type) -> _Rule:
    variables = _variables(raw, type_)
    message = raw.get("messageExpression")
    program = compile_cel(raw["rule"], variables)
    compiled = compile_cel(message, variables) if message else None
    return _Rule(raw, program, compiled, _is_transition(raw))


def _is_transition(raw: Object) -> bool:
    texts = (raw["rule"], raw.get("messageExpression") or "true")
    return any(uses(text, "oldSelf") for text in texts)


def _variables(raw: Object, type_: Type) -> dict[str, Type]:
    return {"self": type_, "oldSelf": optional_of(type_) if raw.get("optionalOldSelf") else type_}


def check_rules(value: Any, old: Any, schema: Schema, errors: Errors) -> None:
    """Rules of a whole object; `old` is ABSENT for a new one."""
    budget = Budget(STEPS)
    try:
        _walk(value, old, schema, "", errors, budget, root=True)
    except CostError:
        text = "validation failed due to running out of cost budget, no further validation rules will be run"
        errors.append(FieldError("FieldValueInvalid", "<nil>", f'Invalid value: "null": {text}'))


def _walk(
    value: Any, old: Any, schema: Schema, path: str, errors: Errors, budget: Budget, *, root: bool = False
) -> None:
    plan = _plan(schema, root)
    if value is None:
        return
    if plan.rules and plan.type is not None:
        for rule in plan.rules:
            _check(rule, value, old, plan.type, schema, path, errors, budget)
    if not plan.below:
        return
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, each in value.items():
            child = schema.properties.get(key) or schema.values
            if child is not None and child.custom:
                inner = f"{path}.{key}" if path else key
                _walk(each, before.get(key, ABSENT), child, inner, errors, budget)
    elif isinstance(value, list) and schema.items is not None:
        olds = old_elements(old, schema)
        for index, each in enumerate(value):
            _walk(each, old_element(each, olds, schema), schema.items, f"{path}[{index}]", errors, budget)


def _check(
    rule: _Rule, value: Any, old: Any, type_: Type, schema: Schema, path: str, errors: Errors, budget: Budget
) -> None:
    variables: Object = {}
    known = old is not ABSENT and old is not None
    if rule.raw.get("optionalOldSelf"):
        variables["oldSelf"] = Optional(True, as_value(old, type_)) if known else NONE
    elif rule.transition:
        if not known:
            return
        variables["oldSelf"] = as_value(old, type_)
    elif known and value == old:
        return  # what was there before may stay (ratcheting)
    name = "integer,string" if schema.type == "int-or-string" else schema.type
    try:
        variables["self"] = as_value(value, type_)
        if rule.program.evaluate(variables, budget):
            return
        message = _message(rule, variables, budget)
    except CostError:
        raise
    except CelError as error:
        if str(error) == "no such overload":
            why = "call arguments did not match a supported operator, function or macro signature for rule"
            message = f"'{error}': {why}: {rule.text}"
        else:
            message = f"{error} evaluating rule: {rule.text}"
        errors.invalid(path or "<nil>", name, message)
        return
    field = (path + (rule.raw.get("fieldPath") or "")).lstrip(".") or "<nil>"
    match rule.raw.get("reason"):
        case "FieldValueForbidden":
            errors.forbidden(field, message)
        case "FieldValueRequired":
            errors.required(field, message)
        case "FieldValueDuplicate":
            errors.duplicate(field, name)
        case _:
            errors.invalid(field, name, message)


def _message(rule: _Rule, variables: Object, budget: Budget) -> str:
    if rule.message is not None:
        try:
            text = str(rule.message.evaluate(variables, budget)).strip()
        except CostError:
            raise
        except CelError:
            text = ""
        if text and "\n" not in text:
            return text
    return str(rule.raw.get("message") or "").strip() or f"failed rule: {rule.raw['rule'].strip()}"


# What a rule may be.


def check_rule_definitions(schema: Schema, path: str, errors: Errors, *, root: bool = True, known: bool = True) -> None:
    """The rules of a CRD's schema and of all below; `known` says whether old values can be found for it."""
    _check_node(schema, path, errors, root=root, correlated=known)
    for key, child in schema.properties.items():
        if child.custom and child.has_rules:
            check_rule_definitions(child, f"{path}.properties[{key}]", errors, root=False, known=known)
    for name, child_or_none in (("items", schema.items), ("additionalProperties", schema.values)):
        if child_or_none is not None and child_or_none.custom and child_or_none.has_rules:
            still = known and (name != "items" or schema.list_type == "map")
            check_rule_definitions(child_or_none, f"{path}.{name}", errors, root=False, known=still)


def _check_node(schema: Schema, path: str, errors: Errors, *, root: bool, correlated: bool) -> None:
    raws = schema.raw.get("x-kubernetes-validations") or ()
    type_ = type_of(schema, root=root)
    for index, raw in enumerate(raws):
        where = f"{path}.x-kubernetes-validations[{index}]"
        if not isinstance(raw.get("rule"), str) or not raw["rule"].strip():
            errors.required(f"{where}.rule", "rule is not specified")
            continue
        _check_texts(raw, where, errors)
        if raw.get("reason") is not None and raw["reason"] not in REASONS:
            errors.not_supported(f"{where}.reason", raw["reason"], REASONS)
        if raw.get("fieldPath"):
            _check_field_path(raw["fieldPath"], schema, where, errors)
        if type_ is not None:
            _check_compiles(raw, type_, where, errors, correlated=correlated)


def _check_texts(raw: Object, where: str, errors: Errors) -> None:
    message = raw.get("message") or ""
    if message and not message.strip():
        errors.invalid(f"{where}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip():
        errors.invalid(f"{where}.message", message, "message must not contain line breaks")
    elif not message and "\n" in raw["rule"].strip() and not raw.get("messageExpression"):
        errors.required(f"{where}.message", "message must be specified if rule contains line breaks")
    expression = raw.get("messageExpression")
    if expression and not expression.strip():
        errors.required(f"{where}.messageExpression", "messageExpression must be non-empty if specified")


def _check_field_path(text: str, schema: Schema, where: str, errors: Errors) -> None:
    if _PATH.fullmatch(text) is None:
        errors.invalid(f"{where}.fieldPath", text, "fieldPath must be a valid path")
        return
    node: Schema | None = schema
    for dotted, quoted in re.findall(r"\.([A-Za-z0-9_-]+)|\['((?:[^'\\]|\\.)+)'\]", text):
        key = dotted or quoted.replace("\\'", "'").replace("\\\\", "\\")
        node = (node.properties.get(key) or node.values) if node is not None else None
        if node is None:
            errors.invalid(
                f"{where}.fieldPath", text, "fieldPath must be a valid path: does not refer to a valid field"
            )
            return


def _check_compiles(raw: Object, type_: Type, where: str, errors: Errors, *, correlated: bool) -> None:
    variables = _variables(raw, type_)
    wanted: tuple[tuple[str, Type, str], ...] = (("rule", BOOL, "cel expression must evaluate to a bool"),)
    if raw.get("messageExpression"):
        wanted += (("messageExpression", STRING, "must evaluate to a string"),)
    for key, result, complaint in wanted:
        try:
            program = compile_cel(raw[key], variables)
        except CelSyntaxError as error:
            _invalid_rule(f"{where}.{key}", raw, f"compilation failed: {error}", errors)
            return
        if program.type.kind not in (result.kind, "dyn") or (program.type.kind == "dyn" and key == "rule"):
            _invalid_rule(f"{where}.{key}", raw, complaint, errors)
            return
    if not correlated and _is_transition(raw) and not raw.get("optionalOldSelf"):
        _invalid_rule(
            f"{where}.rule", raw, "oldSelf cannot be used on the uncorrelatable portion of the schema", errors
        )


def _invalid_rule(where: str, raw: Object, why: str, errors: Errors) -> None:
    """Kubernetes shows the rule as Go prints the struct."""

    def quoted(key: str) -> str:
        return json.dumps(raw.get(key) or "", ensure_ascii=False)

    shown = (
        f"apiextensions.ValidationRule{{Rule:{quoted('rule')}, Message:{quoted('message')}, "
        f"MessageExpression:{quoted('messageExpression')}, Reason:(*apiextensions.FieldValueErrorReason)(nil), "
        f"FieldPath:{quoted('fieldPath')}, OptionalOldSelf:(*bool)(nil)}}"
    )
    errors.append(FieldError("FieldValueInvalid", where, f"Invalid value: {shown}: {why}"))
