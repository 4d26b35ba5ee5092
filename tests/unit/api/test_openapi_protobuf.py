"""Swagger 2.0 in protobuf, against bytes written by hand after gnostic's message definitions."""

from weft.api.kinds import Kinds
from weft.api.openapi import openapi_v2
from weft.api.openapi_protobuf import encode


def field(number: int, content: bytes) -> bytes:
    assert number < 16 or number < 32
    tag = bytes([number << 3 | 2]) if number < 16 else bytes([(number << 3 | 2) & 0x7F | 0x80, number >> 4])
    assert len(content) < 128
    return tag + bytes([len(content)]) + content


def test_a_small_document() -> None:
    schema = {
        "type": "object",
        "description": "d",
        "required": ["a"],
        "properties": {"a": {"$ref": "#/x"}},
        "x-y": [1],
    }
    found = encode(
        {"swagger": "2.0", "info": {"title": "T", "version": "1"}, "paths": {}, "definitions": {"X": schema}}
    )
    named = field(1, b"a") + field(2, field(1, b"#/x"))
    wanted = (
        field(4, b"d") + field(19, b"a") + field(22, field(1, b"object")) + field(25, field(1, named))
        + field(31, field(1, b"x-y") + field(2, field(2, b"[1]")))
    )  # fmt: skip
    definitions = field(1, field(1, b"X") + field(2, wanted))
    assert found == field(1, b"2.0") + field(2, field(1, b"T") + field(2, b"1")) + field(9, definitions)


def test_lists_and_maps() -> None:
    schema = {"items": {"type": "string"}, "additionalProperties": {"type": "integer"}}
    found = encode({"swagger": "", "info": {"title": "", "version": ""}, "definitions": {"X": schema}})
    assert field(21, field(1, field(22, field(1, b"integer")))) in found
    assert field(23, field(1, field(22, field(1, b"string")))) in found


def test_all_kinds_are_in_it() -> None:
    encoded = encode(openapi_v2(Kinds.builtin()))
    for name in (b"io.k8s.api.core.v1.Pod", b"io.k8s.api.events.v1.Event", b"x-kubernetes-group-version-kind"):
        assert name in encoded
