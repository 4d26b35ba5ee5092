"""Config maps, secrets, nodes' taints, leases. Source: kubernetes core and coordination validation."""

from base64 import b64decode

from weft.api import events, names
from weft.api.validation.errors import Errors, Object

MAX_DATA = 1024 * 1024

# What the data of a typed secret must hold.
_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def config_map(obj: Object, path: str, errors: Errors) -> None:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for field, entries in (("data", data), ("binaryData", binary)):
        for key in entries:
            errors.check(f"{field}[{key}]", key, names.config_key(key))
    for key in data.keys() & binary.keys():
        errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in data.values()) + sum(_decoded_size(text) for text in binary.values())
    if size > MAX_DATA:
        errors.too_long("", MAX_DATA)


def secret(obj: Object, path: str, errors: Errors) -> None:
    data = obj.get("data") or {}
    for key in data:
        errors.check(f"data[{key}]", key, names.config_key(key))
    if sum(_decoded_size(text) for text in data.values()) > MAX_DATA:
        errors.too_long("data", MAX_DATA)
    kind = obj.get("type", "Opaque")
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data:
            errors.required(f"data[{key}]")
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        errors.required("data[username]")
        errors.required("data[password]")
    if kind == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        import json

        try:
            json.loads(b64decode(data[".dockerconfigjson"]))
        except ValueError:
            errors.invalid("data[.dockerconfigjson]", "<secret contents redacted>", "invalid character in JSON")
    if kind == "kubernetes.io/service-account-token":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            errors.required("metadata.annotations[kubernetes.io/service-account.name]")


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


def kept_when_immutable(new: Object, old: Object, errors: Errors) -> None:
    """Config maps and secrets that say `immutable: true`."""
    if not old.get("immutable"):
        return
    why = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        errors.forbidden("immutable", why)
    for field in ("data", "binaryData"):
        if (new.get(field) or {}) != (old.get(field) or {}):
            errors.forbidden(field, why)


def secret_update(new: Object, old: Object, errors: Errors) -> None:
    errors.immutable("type", new.get("type"), old.get("type"))
    kept_when_immutable(new, old, errors)


def taint(value: Object, path: str, errors: Errors) -> None:
    if key := value.get("key"):
        errors.check(f"{path}.key", key, names.qualified_name(key))
    errors.one_of(value, "effect", path, ("NoSchedule", "PreferNoSchedule", "NoExecute"))


def lease_spec(spec: Object, path: str, errors: Errors) -> None:
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        errors.invalid(f"{path}.leaseDurationSeconds", seconds, "must be greater than 0")
    errors.not_negative(spec, path, "leaseTransitions")


def event(obj: Object, path: str, errors: Errors) -> None:
    new = obj.get("apiVersion") == events.VERSION
    field = "regarding" if new else "involvedObject"
    involved, namespace = obj.get(field) or {}, (obj.get("metadata") or {}).get("namespace")
    if involved.get("namespace") and namespace and involved["namespace"] != namespace:
        errors.invalid(f"{field}.namespace", involved["namespace"], "does not match event.namespace")
    if new and not obj.get("deprecatedFirstTimestamp"):  # one of the core version has that, and not all of these
        for required in ("eventTime", "reportingController", "reportingInstance", "action", "reason"):
            if not obj.get(required):
                errors.required(required)
        errors.one_of(obj, "type", "", ("Normal", "Warning"))
