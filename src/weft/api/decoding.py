"""What Go's typed decoding does for Kubernetes: wrong JSON types, unknown fields, nulls.

In: an object as the client sent it. Out: a 400 for wrong types; the list of unknown fields, for strict field
validation; or the object without them, in place. Custom resources have no Go types: only their metadata is checked
here, the rest by `weft.api.validation`. Who is next: `weft.api.defaults`. Messages: sigs.k8s.io/json, apimachinery.
"""

import binascii
from base64 import b64decode
from datetime import datetime
from typing import Any

from weft.api import quantity
from weft.api.kinds import ResourceType
from weft.api.schema import Schema
from weft.api.status import ApiError, bad_request

Object = dict[str, Any]

_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


class _WrongTypeError(Exception):
    """Carries the message of the first wrong value."""


def check_types(obj: Object, rtype: ResourceType) -> None:
    """Raises ApiError BadRequest where a value has a JSON type that the field cannot have."""
    try:
        for key in ("apiVersion", "kind"):
            if key in obj and not isinstance(obj[key], str):
                raise _WrongTypeError(_cannot(obj[key], rtype.kind, key, "string"))
        if rtype.is_custom:
            _check(obj.get("metadata"), rtype.schema.properties["metadata"], rtype.kind, "metadata")
        else:
            _check(obj, rtype.schema, "", "")
    except _WrongTypeError as error:
        raise _cannot_be_handled(rtype, str(error)) from None


def strict_decoding_error(problems: list[str], rtype: ResourceType) -> ApiError:
    """The 400 for what `unknown_fields` found, under fieldValidation=Strict."""
    text = "strict decoding error: " + ", ".join(problems)
    return bad_request(text) if rtype.is_custom else _cannot_be_handled(rtype, text)


def _cannot_be_handled(rtype: ResourceType, why: str) -> ApiError:
    return bad_request(f'{rtype.kind} in version "{rtype.gvr.version}" cannot be handled as a {rtype.kind}: {why}')


def _check(value: Any, schema: Schema, owner: str, path: str) -> None:
    """`owner` is the Go struct that holds the field, `path` the field's path without indexes."""
    if value is None:
        return
    expected = schema.type
    kind = type(value)
    if expected == "object":
        if kind is not dict:
            raise _WrongTypeError(_cannot(value, owner, path, _go_type(schema)))
        if properties := schema.properties:
            get = properties.get
            name = schema.name
            for key, each in value.items():
                if (child := get(key)) is not None:
                    _check(each, child, name, f"{path}.{key}" if path else key)
        elif (values := schema.values) is not None:
            for each in value.values():
                _check(each, values, owner, path)
    elif expected == "array":
        if kind is not list:
            raise _WrongTypeError(_cannot(value, owner, path, _go_type(schema)))
        if (items := schema.items) is not None:
            for each in value:
                _check(each, items, owner, path)
    elif expected == "string":
        if kind is not str:
            raise _WrongTypeError(_cannot(value, owner, path, _go_type(schema)))
        if schema.format:
            _check_format(value, schema.format)
    elif expected == "integer":
        low, high = _INTEGERS.get(schema.format, _INTEGERS["int64"])
        if kind is not int or not low <= value <= high:
            raise _WrongTypeError(_cannot(value, owner, path, _go_type(schema)))
    elif expected == "boolean":
        if kind is not bool:
            raise _WrongTypeError(_cannot(value, owner, path, "bool"))
    elif expected == "quantity":
        try:
            quantity.parse(value)
        except ValueError as error:
            raise _WrongTypeError(str(error)) from None
    elif expected == "int-or-string":
        if kind is not str and (kind is not int or not _INTEGERS["int32"][0] <= value <= _INTEGERS["int32"][1]):
            raise _WrongTypeError(_cannot(value, owner, path, "intstr.IntOrString"))
    elif expected == "number" and kind is not int and kind is not float:
        raise _WrongTypeError(_cannot(value, owner, path, "float64"))


def _cannot(value: Any, owner: str, path: str, go_type: str) -> str:
    what = _JSON_NAMES.get(type(value), "null")
    if what == "number" and go_type.startswith("int"):
        what = f"number {value}"
    where = f"Go struct field {owner}.{path} of type {go_type}" if path else f"Go value of type {go_type}"
    return f"json: cannot unmarshal {what} into {where}"


def _go_type(schema: Schema | None) -> str:
    if schema is None:
        return "interface {}"
    if schema.type == "object":
        return f"v1.{schema.name}" if schema.properties else f"map[string]{_go_type(schema.values)}"
    if schema.type == "array":
        return "[]" + _go_type(schema.items)
    names = {"integer": schema.format or "int64", "boolean": "bool", "quantity": "resource.Quantity"}
    return names.get(schema.type, "v1.Time" if schema.format == "date-time" else schema.type)


def _check_format(value: str, form: str) -> None:
    if form == "date-time":
        try:
            if len(value) < 20 or datetime.fromisoformat(value).tzinfo is None:
                raise ValueError
        except ValueError:
            layout = "2006-01-02T15:04:05Z07:00"
            raise _WrongTypeError(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as RFC 3339') from None
    elif form == "byte":
        try:
            b64decode(value, validate=True)
        except binascii.Error:
            raise _WrongTypeError(f"illegal base64 data at input byte {_first_bad_byte(value)}") from None


def _first_bad_byte(text: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for index, character in enumerate(text):
        if character not in alphabet:
            return index
    return len(text) // 4 * 4


def unknown_fields(obj: Object, rtype: ResourceType) -> list[str]:
    """Such as `unknown field "spec.foo"`, in the order of the object's fields."""
    found: list[str] = []
    _unknown(obj, rtype.schema, "", found)
    return [f'unknown field "{path}"' for path in found]


def _unknown(value: Any, schema: Schema, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        properties = schema.properties
        values = schema.values
        get = properties.get
        for key, each in value.items():
            child = get(key) or values
            if child is not None:
                if isinstance(each, (dict, list)):
                    _unknown(each, child, f"{path}.{key}" if path else key, found)
            elif not schema.open:
                found.append(f"{path}.{key}" if path else key)
    elif isinstance(value, list) and (items := schema.items) is not None:
        for index, each in enumerate(value):
            if isinstance(each, (dict, list)):
                _unknown(each, items, f"{path}[{index}]", found)


def prune(obj: Object, rtype: ResourceType) -> None:
    """Drops, in place, unknown fields and the nulls that mean "not there"; writes quantities canonically.

    Expects a built-in object that `check_types` let through.
    """
    prune_value(obj, rtype.schema)
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        for key in _OMITTED_WHEN_EMPTY:
            if key in metadata and not metadata[key]:
                del metadata[key]


def prune_value(obj: Object, schema: Schema) -> None:
    """`prune`, by the schema alone."""
    if schema.custom:
        _prune_custom(obj, schema)
        _prune(obj.get("metadata"), schema.properties["metadata"])
    else:
        _prune(obj, schema)


# `omitempty` in Go's ObjectMeta. An empty managedFields has a meaning of its own.
_OMITTED_WHEN_EMPTY = ("labels", "annotations", "ownerReferences", "finalizers")
_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "boolean": False, "quantity": "0"}


def _prune(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        properties = schema.properties
        if properties:
            get = properties.get
            drop = None
            for key, each in value.items():
                child = get(key)
                if child is None or each is None:
                    drop = [key] if drop is None else [*drop, key]
                elif child.type == "quantity":
                    value[key] = quantity.canonical(each)
                elif isinstance(each, (dict, list)):
                    _prune(each, child)
            for key in drop or ():
                del value[key]
        elif (values := schema.values) is not None:
            for key, each in value.items():
                if each is None:
                    value[key] = _ZEROS.get(values.type, {})
                elif values.type == "quantity":
                    value[key] = quantity.canonical(each)
                else:
                    _prune(each, values)
    elif isinstance(value, list) and (items := schema.items) is not None:
        for index, each in enumerate(value):
            if each is None:
                value[index] = _ZEROS.get(items.type, {})
            elif isinstance(each, (dict, list)):
                _prune(each, items)


def _prune_custom(value: Any, schema: Schema) -> None:
    if not schema.custom:
        return _prune(value, schema)
    if isinstance(value, dict):
        properties, values = schema.properties, schema.values
        for key in list(value):
            each = value[key]
            child = properties.get(key) or values
            if child is None:
                if not schema.open:
                    del value[key]
            elif each is None and not child.nullable and "default" in child.raw:
                del value[key]
            elif isinstance(each, (dict, list)) and key != "metadata":
                _prune_custom(each, child)
    elif isinstance(value, list) and (items := schema.items) is not None:
        for each in value:
            _prune_custom(each, items)
    return None
