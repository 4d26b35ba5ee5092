"""Values against the OpenAPI v3 schema of a CRD.

In: a value, a `Schema`, and what stood there before. Out: errors, worded as kube-openapi words them. What has not
changed is not held against the writer (ratcheting, KEP-4008). CEL rules come after, in `rules`.
Source: apiextensions `pkg/apiserver/validation`, JSON Schema draft 4 as OpenAPI v3 uses it.
"""

import ipaddress
import re
import uuid
from base64 import b64decode
from collections.abc import Callable
from datetime import date
from typing import Any

from weft.api.patterns import compile_pattern
from weft.api.schema import Schema
from weft.api.validation.correlation import ABSENT, old_element, old_elements
from weft.api.validation.errors import Errors, FieldError, Object, shown
from weft.core.clock import parse_rfc3339

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


# Errors after which rules could not be evaluated.
_BLOCKING = frozenset({"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"})


def check_custom_resource(obj: Object, old: Object | None, schema: Schema, errors: Errors) -> None:
    """A whole object but for its metadata: the schema, and where that lets it, the rules."""
    found = Errors()
    value = {key: each for key, each in obj.items() if key != "metadata"}
    before = {key: each for key, each in old.items() if key != "metadata"} if old is not None else ABSENT
    check_custom(value, schema, "", found, before)
    if schema.has_rules:
        if any(error.reason in _BLOCKING for error in found):
            text = (
                "some validation rules were not checked because the object was invalid; "
                "correct the existing errors to complete validation"
            )
            found.append(FieldError("FieldValueInvalid", "<nil>", f'Invalid value: "null": {text}'))
        else:
            from weft.api.validation.rules import check_rules  # CEL is loaded for those who use it

            check_rules(obj, old if old is not None else ABSENT, schema, found)
    errors += found


def check_custom(value: Any, schema: Schema, path: str, errors: Errors, old: Any = ABSENT) -> None:
    if old is not ABSENT and value == old:
        return
    raw = schema.raw
    if value is None and (schema.nullable or schema.type == "any"):
        return
    if not _has_type(value, schema):
        expected = "integer,string" if schema.type == "int-or-string" else schema.type
        name = _NAMES.get(type(value), "null")
        errors.wrong_type(path or "<nil>", name, f'{path} in body must be of type {expected}: "{name}"')
        return
    if "enum" in raw and value not in raw["enum"]:
        errors.not_supported(path, value, raw["enum"])
    if isinstance(value, dict):
        _check_object(value, schema, path, errors, old)
    elif isinstance(value, list):
        _check_array(value, schema, path, errors, old)
    elif isinstance(value, str):
        _check_string(value, raw, path, errors)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(value, raw, path, errors)
    if schema.custom:
        _check_combinations(value, schema, path, errors)


def _has_type(value: Any, schema: Schema) -> bool:
    if schema.type == "any":
        return True
    if schema.type == "int-or-string":
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    if isinstance(value, bool):
        return schema.type == "boolean"
    if schema.type == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(schema.type, (object,)))


def _check_object(value: dict[str, Any], schema: Schema, path: str, errors: Errors, old: Any) -> None:
    raw = schema.raw
    before = old if isinstance(old, dict) else {}
    for key in schema.required:
        if key not in value:
            errors.required(_join(path, key))
    if len(value) < raw.get("minProperties", 0):
        errors.invalid(path, value, f"{path} in body should have at least {raw['minProperties']} properties")
    if len(value) > raw.get("maxProperties", len(value)):
        errors.invalid(path, value, f"{path} in body should have at most {raw['maxProperties']} properties")
    for key, each in value.items():
        child = schema.properties.get(key) or schema.values
        if child is not None and child.name != "ObjectMeta":
            check_custom(each, child, _join(path, key), errors, before.get(key, ABSENT))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _check_array(value: list[Any], schema: Schema, path: str, errors: Errors, old: Any) -> None:
    raw = schema.raw
    if len(value) < raw.get("minItems", 0):
        errors.invalid(path, len(value), f"{path} in body should have at least {raw['minItems']} items")
    if len(value) > raw.get("maxItems", len(value)):
        errors.too_many(path, len(value), raw["maxItems"])
    if schema.items is not None:
        olds = old_elements(old, schema)
        for index, each in enumerate(value):
            check_custom(each, schema.items, f"{path}[{index}]", errors, old_element(each, olds, schema))
    if schema.list_type in ("set", "map"):
        seen: list[Any] = []
        for index, each in enumerate(value):
            key, text = each, shown(each)
            if schema.list_type == "map" and isinstance(each, dict):
                key = {name: each.get(name) for name in schema.list_map_keys}
                inner = ", ".join(f'"{name}":{shown(part)}' for name, part in sorted(key.items()))
                text = f"map[string]interface {{}}{{{inner}}}"
            if key in seen:
                errors.append(FieldError("FieldValueDuplicate", f"{path}[{index}]", f"Duplicate value: {text}"))
            seen.append(key)


def _check_string(value: str, raw: Any, path: str, errors: Errors) -> None:
    if len(value) < raw.get("minLength", 0):
        errors.invalid(path, value, f"{path} in body should be at least {raw['minLength']} chars long")
    if len(value) > raw.get("maxLength", len(value)):
        errors.too_long(path, raw["maxLength"])
    pattern = raw.get("pattern")
    if pattern and not compile_pattern(pattern).search(value):
        errors.invalid(path, value, f"{path} in body should match '{pattern}'")
    test = _FORMATS.get(raw.get("format", ""))
    if test is not None:
        try:
            test(value)
        except (ValueError, TypeError):
            errors.invalid(path, value, f'{path} in body must be of type {raw["format"]}: "{value}"')


def _matches(pattern: str) -> Callable[[str], None]:
    compiled = re.compile(pattern)

    def test(text: str) -> None:
        if not compiled.fullmatch(text):
            raise ValueError(text)

    return test


def _base64(text: str) -> None:
    b64decode(text, validate=True)


_FORMATS: dict[str, Callable[[str], Any]] = {
    "date-time": parse_rfc3339,
    "date": date.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
    "mac": _matches(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"),
    "uuid": uuid.UUID,
    "byte": _base64,
    "hostname": _matches(r"(?=.{1,255}$)[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?"),
    "email": _matches(r"[^@\s]+@[^@\s]+"),
    "uri": _matches(r"[A-Za-z][A-Za-z0-9+.-]*:\S*"),
}


def _check_number(value: float, raw: Any, path: str, errors: Errors) -> None:
    low, high, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if low is not None and (value <= low if raw.get("exclusiveMinimum") else value < low):
        than = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        errors.invalid(path, value, f"{path} in body should be {than} {low}")
    if high is not None and (value >= high if raw.get("exclusiveMaximum") else value > high):
        than = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        errors.invalid(path, value, f"{path} in body should be {than} {high}")
    if step and (value / step) % 1:
        errors.invalid(path, value, f"{path} in body should be a multiple of {step}")
    bits = {"int32": 31, "int64": 63}.get(raw.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        errors.invalid(path, value, f'{path} in body must be of type {raw["format"]}: "{value}"')


def _check_combinations(value: Any, schema: Schema, path: str, errors: Errors) -> None:
    raw = schema.raw
    if "x-kubernetes-int-or-string" in raw or not raw.keys() & {"allOf", "anyOf", "oneOf", "not"}:
        return
    for each in raw.get("allOf") or ():
        check_custom(value, schema.sub(each), path, errors)
    shown = f'"{path}"'
    if raw.get("anyOf") and not any(_fits(value, schema.sub(each), path) for each in raw["anyOf"]):
        errors.invalid(path, value, f"{shown} must validate at least one schema (anyOf)")
    if raw.get("oneOf"):
        fitting = sum(_fits(value, schema.sub(each), path) for each in raw["oneOf"])
        if fitting != 1:
            found = "Found none valid" if fitting == 0 else f"Found {fitting} valid alternatives"
            errors.invalid(path, value, f"{shown} must validate one and only one schema (oneOf). {found}")
    if raw.get("not") and _fits(value, schema.sub(raw["not"]), path):
        errors.invalid(path, value, f"{shown} must not validate the schema (not)")


def _fits(value: Any, schema: Schema, path: str) -> bool:
    errors = Errors()
    check_custom(value, schema, path, errors)
    return not errors
