"""Kubernetes' protobuf: what kubectl's creating commands send, decoded into the JSON form of the same object.

In: `k8s\\0`, then `runtime.Unknown` (1: typeMeta, 2: raw), then the message. Out: the object. The wire says only field
numbers; a table of them (`data/protobuf-fields.json.gz`, made by tools/build_protobuf_table.py) gives the JSON names,
and the shipped schema the types. Source: protobuf.dev "Encoding"; kubernetes `api/*/types.go` for what a zero means.
Raises ApiError BadRequest on anything malformed.
"""

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from weft.api import schema as schemas
from weft.api.schema import Schema, definition_schema
from weft.api.status import bad_request
from weft.core.clock import rfc3339, rfc3339_micro

Json = dict[str, Any]
MAGIC = b"k8s\x00"
MAX_DEPTH = 100

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Kinds of meta/v1 that clients send under the version of any group.
_META_KINDS = frozenset({"DeleteOptions", "Status"})
_RAW_JSON = frozenset({"RawExtension", "FieldsV1", "JSON"})


class _MalformedError(Exception):
    """Carries what is wrong with the bytes."""


def decode(data: bytes) -> Json:
    """Raises ApiError BadRequest."""
    if not data.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: it does not start with k8s and a zero byte")
    try:
        envelope = dict(_fields(memoryview(data)[len(MAGIC) :]))
        type_meta = {number: _text(value) for number, value in _fields(_message(envelope.get(1, b"")))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        obj = _decode_message(_message(envelope.get(2, b"")), _schema_of(api_version, kind), 0)
    except _MalformedError as error:
        raise bad_request(f"cannot decode the protobuf body: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def _schema_of(api_version: str, kind: str) -> Schema:
    group, _, version = api_version.rpartition("/")
    name = _META + kind if kind in _META_KINDS else schemas.definition_name(group, version, kind)
    if not schemas.is_shipped(name):
        raise _MalformedError(f'no kind "{kind}" is registered for version "{api_version}"')
    return definition_schema(name)


@lru_cache(1)
def _table() -> dict[str, bytes]:
    return schemas.field_numbers()


@lru_cache(None)
def _numbers(definition: str) -> dict[int, tuple[str, bool]]:
    """Number -> JSON name (or `=Definition` where it is inlined), and whether a zero is a value."""
    try:
        fields: dict[str, str] = orjson.loads(_table()[definition])
    except KeyError:
        raise _MalformedError(f"no field numbers are known of {definition}") from None
    return {int(number): (name.removeprefix("*"), name.startswith("*")) for number, name in fields.items()}


# The wire.


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise _MalformedError("the message ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise _MalformedError("a number is longer than 10 bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, int | float | memoryview]]:
    """Number and raw value of each field, in the order of the wire."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise _MalformedError("a field has number 0")
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError(f"field {number} has wire type {wire}")
        if length > len(data) - position:
            raise _MalformedError(f"field {number} ends beyond its message")
        chunk = data[position : position + length]
        position += length
        if wire == _BYTES:
            yield number, chunk
        else:
            yield number, float(struct.unpack("<d" if length == 8 else "<f", chunk)[0])


def _message(value: Any) -> memoryview:
    if isinstance(value, bytes):
        return memoryview(value)
    if not isinstance(value, memoryview):
        raise _MalformedError("a number stands where a message should")
    return value


def _text(value: Any) -> str:
    try:
        return str(_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise _MalformedError(f"a string is not UTF-8: {error.reason}") from None


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise _MalformedError("bytes stand where a number should")
    return value - 2**64 if value >= 2**63 else value


# Values by their schema.


def _decode_message(data: memoryview, schema: Schema, depth: int, definition: str = "") -> Json:
    """`definition` names the fields where the message is one that JSON inlines into an object of `schema`."""
    if depth > MAX_DEPTH:
        raise _MalformedError(f"messages are nested more than {MAX_DEPTH} deep")
    numbers = _numbers(definition or schema.definition)
    found: Json = {}
    for number, value in _fields(data):
        name, keeps_zero = numbers.get(number, ("", False))
        if name.startswith("="):
            found |= _decode_message(_message(value), schema, depth + 1, name[1:])
            continue
        child = schema.properties.get(name)
        if child is None:
            continue  # a field that this version does not have
        if child.type == "array":
            if child.items is None:
                raise _MalformedError(f"{name} has elements of no known type")
            found.setdefault(name, []).append(_decode_value(value, child.items, depth))
        elif child.type == "object" and child.values is not None:
            key, entry = _decode_entry(_message(value), child.values, depth)
            found.setdefault(name, {})[key] = entry
        else:
            decoded = _decode_value(value, child, depth)
            if decoded is not None and (keeps_zero or decoded not in ("", 0, False)):
                found[name] = decoded
    return found


def _decode_entry(data: memoryview, values: Schema, depth: int) -> tuple[str, Any]:
    """An entry of a map: 1 is the key, 2 the value."""
    entry = dict(_fields(data))
    key = _text(entry.get(1, b""))
    value = entry.get(2, 0 if values.type in ("integer", "boolean") else b"")
    if values.type == "array" and values.items is not None:  # such as ExtraValue: a message of items
        return key, [_decode_value(each, values.items, depth) for _, each in _fields(_message(value))]
    return key, _decode_value(value, values, depth)


def _decode_value(value: Any, schema: Schema, depth: int) -> Any:
    match schema.type:
        case "string":
            if schema.format == "date-time":
                return _decode_time(_message(value), schema)
            if schema.format == "byte":
                return b64encode(_message(value)).decode()
            return _text(value)
        case "integer":
            return _integer(value)
        case "boolean":
            return bool(_integer(value))
        case "number":
            return float(value) if isinstance(value, (int, float)) else None
        case "quantity":
            return _text(dict(_fields(_message(value))).get(1, b"")) or "0"
        case "int-or-string":
            parts = dict(_fields(_message(value)))
            return _text(parts.get(3, b"")) if parts.get(1) else _int32(parts.get(2, 0))
    if schema.name in _RAW_JSON:
        return _decode_raw(_message(value), schema)
    if schema.type == "any":
        raise _MalformedError(f"{schema.name} cannot be sent as protobuf; send JSON")
    return _decode_message(_message(value), schema, depth + 1)


def _int32(value: Any) -> int:
    number = _integer(value)
    return number if -(2**31) <= number < 2**31 else 0


def _decode_time(data: memoryview, schema: Schema) -> str | None:
    """Seconds and nanoseconds since 1970; a zero time is empty and means none."""
    parts = dict(_fields(data))
    if not parts:
        return None
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    try:
        if schema.definition.endswith("MicroTime"):
            return rfc3339_micro(seconds + nanos / 1e9)
        return rfc3339(seconds)
    except (ValueError, OverflowError, OSError):
        raise _MalformedError(f"{seconds} is no time") from None


def _decode_raw(data: memoryview, schema: Schema) -> Any:
    """JSON inside protobuf: field 1 holds its bytes."""
    raw = bytes(_message(dict(_fields(data)).get(1, b"")))
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise _MalformedError(f"{schema.name} holds bytes that are not JSON") from None
