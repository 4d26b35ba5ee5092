"""Bodies to objects and objects to bodies: JSON, YAML and Kubernetes's protobuf in; JSON and YAML out."""

from typing import Any

import orjson

from weft.api.status import ApiError, bad_request

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

# What kube-apiserver takes at most (apiserver, `MaxRequestBodyBytes`).
MAX_BODY = 3 * 1024 * 1024


def decode(body: bytes, content_type: str) -> dict[str, Any]:
    """The object in a body; raises ApiError (400, 415)."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON, "application/octet-stream"):
        value = from_json(body)
    elif media in (YAML, "text/yaml"):
        value = from_yaml(body)
    elif media == PROTOBUF:
        from weft.api import protobuf

        value = protobuf.decode(body)
    else:
        raise ApiError(
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON}, {YAML}, {PROTOBUF}",
        )
    if not isinstance(value, dict):
        raise bad_request(f"the body of the request must be an object, not {type(value).__name__}")
    return value


def from_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the object provided is unrecognized (must be of type JSON): {error}") from None


def from_yaml(body: bytes) -> Any:
    """YAML, or JSON, which most clients send in its place."""
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    import yaml

    try:
        value = yaml.load(body, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return orjson.loads(orjson.dumps(value))  # what JSON cannot say (dates, keys that are no strings) is refused
    except (yaml.YAMLError, orjson.JSONEncodeError, UnicodeDecodeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None


def copied(value: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of a JSON value; a 400 where it is none."""
    try:
        result: dict[str, Any] = orjson.loads(orjson.dumps(value))
    except TypeError as error:
        raise bad_request(f"the object is not a JSON value: {error}") from None
    return result


def encode(value: Any) -> bytes:
    return orjson.dumps(value)


def to_yaml(value: Any) -> bytes:
    import yaml

    text: str = yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True)
    return text.encode()
