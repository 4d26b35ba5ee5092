"""metadata: names, labels, annotations, owners, and what of it may change. Source: apimachinery `api/validation`."""

from collections.abc import Callable
from functools import lru_cache

from weft.api import names
from weft.api.kinds import ResourceType
from weft.api.validation.errors import Errors, Object

MAX_ANNOTATIONS = 256 * 1024

# Names of most kinds are subdomains; these differ.
_NAMES: dict[tuple[str, str], Callable[[str], str | None]] = {
    ("", "Namespace"): names.label,
    ("", "Service"): names.label_1035,
    ("rbac.authorization.k8s.io", "Role"): names.path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): names.path_segment,
    ("rbac.authorization.k8s.io", "ClusterRole"): names.path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): names.path_segment,
}

_qualified_name = lru_cache(1024)(names.qualified_name)


def check_metadata(obj: Object, rtype: ResourceType, errors: Errors) -> None:
    metadata = obj.get("metadata") or {}
    syntax = _NAMES.get((rtype.gvr.group, rtype.kind), names.subdomain)
    name, base = metadata.get("name"), metadata.get("generateName")
    if base and (wrong := syntax(base[:-1] if base.endswith(("-", ".")) else base)):
        errors.invalid("metadata.generateName", base, wrong)
    if name:
        errors.check("metadata.name", name, syntax(name))
    elif not base:
        errors.required("metadata.name", "name or generateName is required")
    check_labels(metadata.get("labels"), "metadata.labels", errors)
    _check_annotations(metadata.get("annotations"), errors)
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        errors.check(f"metadata.finalizers[{index}]", finalizer, _qualified_name(finalizer))
    _check_owners(metadata.get("ownerReferences") or [], errors)


def check_labels(labels: dict[str, str] | None, path: str, errors: Errors) -> None:
    for key, value in (labels or {}).items():
        errors.check(path, key, _qualified_name(key))
        errors.check(path, value, names.label_value(value))


def _check_annotations(annotations: dict[str, str] | None, errors: Errors) -> None:
    size = 0
    for key, value in (annotations or {}).items():
        errors.check("metadata.annotations", key, _qualified_name(key.lower()))
        size += len(key) + len(value)
    if size > MAX_ANNOTATIONS:
        errors.too_long("metadata.annotations", MAX_ANNOTATIONS)


def _check_owners(owners: list[Object], errors: Errors) -> None:
    controllers = 0
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        for key, what in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(key):
                errors.invalid(f"{path}.{key}", owner.get(key, ""), f"{what} must not be empty")
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        errors.invalid("metadata.ownerReferences", owners, "Only one reference can have Controller set to true")


def check_metadata_update(new: Object, old: Object, errors: Errors) -> None:
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    for key in ("name", "namespace", "uid", "creationTimestamp"):
        if metadata.get(key) != before.get(key):
            errors.invalid(f"metadata.{key}", metadata.get(key), "field is immutable")
