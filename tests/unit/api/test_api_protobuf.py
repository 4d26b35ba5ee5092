"""Protobuf: objects encoded here by the same table, bytes that are malformed, and what Go's zeros mean."""

import contextlib
import struct
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api import protobuf
from weft.api.schema import Schema
from weft.api.status import ApiError
from weft.core.clock import parse_rfc3339


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode_value(value: Any, schema: Schema) -> bytes | int:
    match schema.type:
        case "string" if schema.format == "date-time":
            return field(1, int(parse_rfc3339(value)))
        case "string" if schema.format == "byte":
            return b64decode(value)
        case "string":
            return str(value).encode()
        case "integer" | "boolean":
            return int(value)
        case "quantity":
            return field(1, value.encode())
        case "int-or-string" if isinstance(value, int):
            return field(1, 0) + field(2, value) + field(3, b"")
        case "int-or-string":
            return field(1, 1) + field(2, 0) + field(3, value.encode())
    return encode_message(value, schema)


def encode_message(value: dict[str, Any], schema: Schema, definition: str = "") -> bytes:
    out = b""
    for number, (name, _) in protobuf._numbers(definition or schema.definition).items():
        if name.startswith("="):
            inner = encode_message(value, schema, name[1:])
            out += field(number, inner)
        elif name in value:
            child = schema.properties[name]
            if child.type == "array":
                assert child.items is not None
                out += b"".join(field(number, encode_value(each, child.items)) for each in value[name])
            elif child.values is not None:
                for key, each in value[name].items():
                    out += field(number, field(1, key.encode()) + field(2, encode_value(each, child.values)))
            else:
                out += field(number, encode_value(value[name], child))
    return out


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    type_meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\0" + field(1, type_meta) + field(2, message) + field(3, b"") + field(4, b"")


def encode(obj: dict[str, Any]) -> bytes:
    schema = protobuf._schema_of(obj["apiVersion"], obj["kind"])
    return envelope(obj["apiVersion"], obj["kind"], encode_message(obj, schema))


OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {}, "status": {}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "b", "e": ""},
        "binaryData": {"x": "AAE="},
    },
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}, "type": "Opaque"},
    {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {
            "ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}],
            "selector": {"a": "b"},
        },
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"ä": "ö"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "spec": {
                    "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}],
                    "containers": [
                        {
                            "name": "c",
                            "resources": {"limits": {"cpu": "500m"}},
                            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
                            "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                            "securityContext": {"privileged": False, "runAsUser": -1},
                        }
                    ],
                },
            },
        },
    },
]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["kind"])
def test_round_trip(obj: dict[str, Any]) -> None:
    assert protobuf.decode(encode(obj)) == obj


def test_bytes_of_a_config_map() -> None:
    """Spelled out, so that the encoder above is not the only witness."""
    data = (
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0e\x0a\x04\x0a\x02cm\x12\x06\x0a\x01a\x12\x01b\x1a\x00\x22\x00"
    )
    expected = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "b"}}
    assert protobuf.decode(data) == expected


def test_zeros_that_go_always_writes_mean_nothing() -> None:
    meta = field(1, b"x") + field(2, b"") + field(7, 0) + field(8, b"")
    pod_spec = field(5, 0)  # activeDeadlineSeconds, a pointer: here a zero is a value
    decoded = protobuf.decode(envelope("v1", "Pod", field(1, meta) + field(2, pod_spec + field(6, b""))))
    assert decoded["metadata"] == {"name": "x"}
    assert decoded["spec"] == {"activeDeadlineSeconds": 0}


def test_fields_of_other_versions_are_skipped() -> None:
    message = field(1, field(1, b"x")) + field(999, b"what") + varint(998 << 3 | 1) + struct.pack("<d", 1.5)
    assert protobuf.decode(envelope("v1", "Namespace", message)) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "x"},
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not start with"),
        (b'{"kind":"Pod"}', "does not start with"),
        (envelope("v1", "Nothing", b""), 'no kind "Nothing" is registered for version "v1"'),
        (envelope("v9", "Pod", b""), "no kind"),
        (b"k8s\0\xff", "ends within a number"),
        (b"k8s\0" + b"\xff" * 12, "longer than 10 bytes"),
        (b"k8s\0\x0a\x7f", "ends beyond its message"),
        (b"k8s\0\x03", "field number 0|number 0|wire type 3"),
        (b"k8s\0\x0b", "wire type 3"),
        (envelope("v1", "Namespace", field(1, 5)), "a number stands where a message should"),
        (envelope("v1", "Namespace", field(1, field(1, b"\xff"))), "not UTF-8"),
        (envelope("v1", "Namespace", field(1, field(7, b"x"))), "bytes stand where a number should"),
        (envelope("v1", "Namespace", field(1, field(8, field(1, 2**62)))), "is no time"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        protobuf.decode(data)
    assert caught.value.code == 400


@given(st.binary(max_size=60), st.sampled_from(["Pod", "Deployment", "ConfigMap", "Event", "DeleteOptions"]))
def test_no_bytes_can_break_it(message: bytes, kind: str) -> None:
    version = "apps/v1" if kind == "Deployment" else "v1"
    with contextlib.suppress(ApiError):
        protobuf.decode(envelope(version, kind, message))


@given(st.data())
def test_no_damage_can_break_it(data: st.DataObject) -> None:
    whole = bytearray(encode(OBJECTS[-1]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ApiError):
        protobuf.decode(bytes(whole))
