"""The Swagger 2.0 document as protobuf, which is the only form of it that kubectl takes.

In: the document of `weft.api.openapi.openapi_v2`. Out: its version, title and definitions as `openapi.v2.Document`;
paths are left out: no client that asks for this form reads them. Numbers are those of the messages in gnostic's
`openapiv2/OpenAPIv2.proto`.
"""

from collections.abc import Iterable
from typing import Any

import orjson

MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

Json = dict[str, Any]
_DOCUMENT = {"swagger": 1, "info": 2, "definitions": 9}
_INFO = {"title": 1, "version": 2}
_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_REQUIRED, _ADDITIONAL, _TYPE, _ITEMS, _PROPERTIES, _EXTENSIONS = 19, 21, 22, 23, 25, 31


def encode(document: Json) -> bytes:
    definitions = _named(1, document["definitions"])
    info = b"".join(_text(number, document["info"][key]) for key, number in _INFO.items())
    return (
        _text(_DOCUMENT["swagger"], document["swagger"])
        + _message(_DOCUMENT["info"], info)
        + _message(_DOCUMENT["definitions"], definitions)
    )


def _named(number: int, schemas: Json) -> bytes:
    """NamedSchema {name = 1; value = 2}, as often as there are schemas."""
    return b"".join(_message(number, _text(1, name) + _message(2, _schema(schema))) for name, schema in schemas.items())


def _schema(schema: Json) -> bytes:
    parts = [_text(number, schema[key]) for key, number in _TEXTS.items() if key in schema]
    parts += [_text(_REQUIRED, name) for name in schema.get("required") or ()]
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        parts.append(_message(_ADDITIONAL, _message(1, _schema(additional))))
    elif additional:
        parts.append(_message(_ADDITIONAL, b"\x10\x01"))
    if "type" in schema:
        parts.append(_message(_TYPE, _text(1, schema["type"])))
    if isinstance(schema.get("items"), dict):
        parts.append(_message(_ITEMS, _message(1, _schema(schema["items"]))))
    if schema.get("properties"):
        parts.append(_message(_PROPERTIES, _named(1, schema["properties"])))
    parts += _extensions((key, value) for key, value in schema.items() if key.startswith("x-"))
    return b"".join(parts)


def _extensions(extensions: Iterable[tuple[str, Any]]) -> list[bytes]:
    """NamedAny {name = 1; value = 2: Any {yaml = 2}}; JSON is YAML."""
    return [
        _message(_EXTENSIONS, _text(1, key) + _message(2, _text(2, orjson.dumps(value).decode())))
        for key, value in extensions
    ]


def _text(number: int, value: str) -> bytes:
    return _message(number, value.encode())


def _message(number: int, content: bytes) -> bytes:
    """A field of bytes: its number with wire type 2, its length, itself."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
