"""CustomResourceDefinitions: names, versions, and structural schemas.

In: a CRD. Out: errors. A schema that passes is one that pruning, defaults, patches and tables can work with.
Source: apiextensions `pkg/apis/apiextensions/validation`, "Specifying a structural schema".
"""

import json
import re
from typing import Any

from weft.api import names
from weft.api.paths import compile_path
from weft.api.patterns import compile_pattern
from weft.api.schema import Schema, custom_schema, definition_schema
from weft.api.validation.client_config import check_client_config
from weft.api.validation.custom import check_custom
from weft.api.validation.errors import Errors, Object

TYPES = ("array", "boolean", "integer", "number", "object", "string")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_FORBIDDEN = ("$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "xml")
_VERSION = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
MAX_DEPTH = 60
_IMPLICIT = "must not specify anything other than name and generateName, but metadata is implicitly specified"
MAX_SELECTABLE = 8
_SIMPLE_PATH = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_-]*)+", re.ASCII)
_APPROVAL = "https://github.com/kubernetes/enhancements/pull/1111"


def definition(crd: Object, path: str, errors: Errors) -> None:
    spec, metadata = crd.get("spec") or {}, crd.get("metadata") or {}
    if not spec:
        errors.required("spec")
        return
    names_ = spec.get("names") or {}
    group = spec.get("group")
    _check_names(spec, names_, metadata, errors)
    if group and names_.get("plural"):
        wanted = f"{names_['plural']}.{group}"
        if metadata.get("name") != wanted:
            errors.invalid("metadata.name", metadata.get("name", ""), 'must be spec.names.plural+"."+spec.group')
    errors.one_of(spec, "scope", "spec", ("Cluster", "Namespaced"))
    if spec.get("preserveUnknownFields"):
        errors.invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
    _check_conversion(spec.get("conversion") or {}, errors)
    _check_versions(spec.get("versions") or [], errors)


def _check_conversion(conversion: Object, errors: Errors) -> None:
    path, strategy = "spec.conversion", conversion.get("strategy", "None")
    errors.one_of(conversion, "strategy", path, ("None", "Webhook"))
    webhook = conversion.get("webhook")
    if strategy != "Webhook":
        if webhook is not None:
            errors.forbidden(f"{path}.webhook", 'should not be set when strategy is not set to "Webhook"')
        return
    if webhook is None:
        errors.required(f"{path}.webhookClientConfig", 'required when strategy is set to "Webhook"')
        return
    reviews = webhook.get("conversionReviewVersions") or ()
    if not reviews:
        errors.required(f"{path}.conversionReviewVersions")
    elif "v1" not in reviews:
        errors.invalid(f"{path}.conversionReviewVersions", list(reviews), "must include at least one of v1")
    check_client_config(webhook.get("clientConfig") or {}, f"{path}.webhookClientConfig", errors)


def _check_approval(metadata: Object, group: str, errors: Errors) -> None:
    """Groups of the community are not for everyone (KEP-1111)."""
    key = "api-approved.kubernetes.io"
    policy = (metadata.get("annotations") or {}).get(key, "")
    if not policy:
        text = f"protected groups must have approval annotation {json.dumps(key)}, see {_APPROVAL}"
        errors.required(f"metadata.annotations[{key}]", text)
    elif not policy.startswith(("https://", "http://", "unapproved")):
        errors.invalid(
            f"metadata.annotations[{key}]",
            policy,
            f"protected groups must have approval annotation {json.dumps(key)} with either a URL or a reason starting "
            f'with "unapproved", see {_APPROVAL}',
        )


def _check_names(spec: Object, names_: Object, metadata: Object, errors: Errors) -> None:
    group = spec.get("group")
    if group:
        errors.check("spec.group", group, names.subdomain(group))
        if "." not in group:
            errors.invalid("spec.group", group, "should be a domain with at least one dot")
        elif group.endswith((".k8s.io", ".kubernetes.io")):
            _check_approval(metadata, group, errors)
    elif "group" in spec:
        errors.required("spec.group")
    for key in ("plural", "singular"):
        if value := names_.get(key):
            errors.check(f"spec.names.{key}", value, names.label_1035(value))
    for key in ("kind", "listKind"):
        if value := names_.get(key):
            errors.check(f"spec.names.{key}", value, names.label_1035(value.lower()))
    if names_.get("kind") and names_.get("kind") == names_.get("listKind"):
        errors.invalid("spec.names.listKind", names_["listKind"], "kind and listKind may not be the same")
    for key in ("shortNames", "categories"):
        for index, value in enumerate(names_.get(key) or ()):
            errors.check(f"spec.names.{key}[{index}]", value, names.label_1035(value))


def _check_versions(versions: list[Object], errors: Errors) -> None:
    if not versions:
        errors.required("spec.versions", "must have at least one version")
        return
    errors.unique(versions, "name", "spec.versions")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        shown = [version.get("name", "") for version in versions]
        errors.invalid("spec.versions", shown, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name") or ""
        if len(name) > 63 or not _VERSION.fullmatch(name):
            errors.invalid(f"{path}.name", name, names.LABEL_1035)
        raw = (version.get("schema") or {}).get("openAPIV3Schema")
        where = f"{path}.schema.openAPIV3Schema"
        if raw is None:
            errors.required(where, "schemas are required")
        else:
            _check_root(raw, where, errors)
        _check_columns(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns", errors)
        _check_selectable(version.get("selectableFields") or (), raw, f"{path}.selectableFields", errors)
        scale = (version.get("subresources") or {}).get("scale")
        if scale is not None:
            _check_scale(scale, f"{path}.subresources.scale", errors)


def _check_selectable(fields: Any, raw: Any, path: str, errors: Errors) -> None:
    """Simple fields outside of metadata and lists, no more than 8."""
    if len(fields) > MAX_SELECTABLE:
        errors.too_many(path, len(fields), MAX_SELECTABLE)
    errors.unique(fields, "jsonPath", path)
    for index, field in enumerate(fields):
        where, text = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not text:
            errors.required(where)
            continue
        if _SIMPLE_PATH.fullmatch(text) is None:
            errors.invalid(where, text, "is an invalid path: does not refer to a valid field")
            continue
        first, *rest = text[1:].split(".")
        if first in ("metadata", "apiVersion", "kind"):
            errors.invalid(where, text, f"must not point to fields in metadata, or to {first}")
            continue
        node = raw if isinstance(raw, dict) else {}
        for key in (first, *rest):
            node = (node.get("properties") or {}).get(key) or {}
        if not node:
            errors.invalid(where, text, "is an invalid path: does not refer to a valid field")
        elif node.get("type") not in ("string", "boolean", "integer"):
            errors.invalid(where, text, "must point to a field of type string, boolean or integer")


def _check_scale(scale: Object, path: str, errors: Errors) -> None:
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(key) or ""
        if not value:
            errors.required(f"{path}.{key}")
        elif not value.startswith(root):
            errors.invalid(f"{path}.{key}", value, f"should be a json path under {root[:-1]}")
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        errors.invalid(f"{path}.labelSelectorPath", selector, "should be a json path under either .status or .spec")


def _check_columns(columns: Any, path: str, errors: Errors) -> None:
    for index, column in enumerate(columns):
        where = f"{path}[{index}]"
        errors.one_of(column, "type", where, COLUMN_TYPES)
        json_path = column.get("jsonPath") or ""
        if not json_path:
            errors.required(f"{where}.JSONPath")
            continue
        try:
            compile_path(json_path)
        except ValueError as error:
            errors.invalid(f"{where}.jsonPath", json_path, str(error))


def _check_root(raw: Any, path: str, errors: Errors) -> None:
    before = len(errors)
    if raw.get("type") != "object":
        if "type" in raw:
            errors.invalid(f"{path}.type", raw["type"], "must be object at the root")
        else:
            errors.required(f"{path}.type", "must not be empty at the root")
        return
    if raw.get("nullable"):
        errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    _check_node(raw, path, errors, 0)
    _check_metadata(raw, path, errors)
    if len(errors) == before:
        schema = custom_schema(raw)
        _check_defaults(Schema(raw, definition_schema, custom=True), path, errors)
        if schema.has_rules:
            from weft.api.validation.rules import check_rule_definitions  # CEL is loaded for those who use it

            check_rule_definitions(schema, path, errors)


def _check_metadata(raw: Object, path: str, errors: Errors) -> None:
    """Of metadata a schema may restrict the name and generateName; all else is the server's."""
    metadata = (raw.get("properties") or {}).get("metadata")
    if not isinstance(metadata, dict):
        return
    where = f"{path}.properties[metadata]"
    if metadata.keys() - {"type", "properties", "description"}:
        errors.forbidden(where, _IMPLICIT)
    for key in sorted(set(metadata.get("properties") or ()) - {"name", "generateName"}):
        errors.forbidden(
            f"{where}.properties[{key}]",
            _IMPLICIT,
        )


def _check_node(raw: Any, path: str, errors: Errors, depth: int) -> None:
    """One node of a structural schema, and those below it."""
    if not isinstance(raw, dict):
        errors.invalid(path, raw, "must be an object")
        return
    if depth > MAX_DEPTH:
        errors.invalid(path, "", f"must not be nested more than {MAX_DEPTH} levels")
        return
    for key in _FORBIDDEN:
        if raw.get(key):
            errors.forbidden(f"{path}.{key}", f"{key} is not supported")
    if raw.get("uniqueItems"):
        errors.forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    untyped = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    kind = raw.get("type")
    if not kind:
        if not untyped:
            errors.required(f"{path}.type", "must not be empty for specified object fields")
    elif kind not in TYPES:
        errors.not_supported(f"{path}.type", kind, TYPES)
    if raw.get("x-kubernetes-int-or-string") and kind:
        errors.invalid(f"{path}.type", kind, "must be empty if x-kubernetes-int-or-string is true")
    pattern = raw.get("pattern")
    if pattern is not None:
        try:
            compile_pattern(pattern)
        except (re.error, TypeError) as error:
            errors.invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}")
    _check_lists(raw, path, errors)
    _check_extensions(raw, path, errors)
    properties, additional = raw.get("properties"), raw.get("additionalProperties")
    if properties and isinstance(additional, dict):
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if additional is False:
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    for key, child in (properties or {}).items():
        _check_node(child, f"{path}.properties[{key}]", errors, depth + 1)
    if isinstance(additional, dict):
        _check_node(additional, f"{path}.additionalProperties", errors, depth + 1)
    items = raw.get("items")
    if isinstance(items, list):
        errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif items is not None:
        _check_node(items, f"{path}.items", errors, depth + 1)
    elif kind == "array":
        errors.required(f"{path}.items", "must be specified")


_JUNCTORS = ("allOf", "anyOf", "oneOf")
_VALUE_ONLY = ("additionalProperties", "default", "description", "nullable", "title", "type")


def _check_extensions(raw: Object, path: str, errors: Errors) -> None:
    """x-kubernetes-..., and that what stands in allOf and the like says nothing about the structure."""
    preserve = "x-kubernetes-preserve-unknown-fields"
    if raw.get(preserve) is False:
        errors.invalid(f"{path}.{preserve}", False, "must be true or undefined")
    if raw.get("x-kubernetes-embedded-resource"):
        if raw.get("type") != "object":
            errors.invalid(
                f"{path}.type", raw.get("type", ""), "must be object if x-kubernetes-embedded-resource is true"
            )
        if not raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
            errors.required(
                f"{path}.properties",
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields",
            )
    kind = raw.get("x-kubernetes-map-type")
    if kind is not None:
        if kind not in ("atomic", "granular"):
            errors.not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular"))
        if raw.get("type") != "object":
            errors.invalid(f"{path}.type", raw.get("type", ""), "must be object if x-kubernetes-map-type is specified")
    if raw.get("x-kubernetes-int-or-string"):
        return  # its anyOf of two types is the one exception
    for key in _JUNCTORS:
        for index, each in enumerate(raw.get(key) or ()):
            _check_values_only(each, f"{path}.{key}[{index}]", errors)
    if raw.get("not"):
        _check_values_only(raw["not"], f"{path}.not", errors)


def _check_values_only(raw: Any, path: str, errors: Errors) -> None:
    if not isinstance(raw, dict):
        errors.invalid(path, raw, "must be an object")
        return
    for key in (*_VALUE_ONLY, *(name for name in raw if name.startswith("x-kubernetes-"))):
        if raw.get(key):
            errors.forbidden(f"{path}.{key}", "must be empty to be structural")
    for key, child in (raw.get("properties") or {}).items():
        _check_values_only(child, f"{path}.properties[{key}]", errors)
    if isinstance(raw.get("items"), dict):
        _check_values_only(raw["items"], f"{path}.items", errors)
    for key in _JUNCTORS:
        for index, each in enumerate(raw.get(key) or ()):
            _check_values_only(each, f"{path}.{key}[{index}]", errors)


def _check_lists(raw: Object, path: str, errors: Errors) -> None:
    kind = raw.get("x-kubernetes-list-type")
    if kind is not None:
        if kind not in ("atomic", "map", "set"):
            errors.not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "map", "set"))
        if raw.get("type") != "array":
            errors.invalid(f"{path}.type", raw.get("type", ""), "must be array if x-kubernetes-list-type is specified")
    keys = raw.get("x-kubernetes-list-map-keys")
    if kind == "map":
        properties = (raw.get("items") or {}).get("properties") or {} if isinstance(raw.get("items"), dict) else {}
        if not keys:
            errors.required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        for index, key in enumerate(keys or ()):
            if key not in properties:
                errors.invalid(
                    f"{path}.x-kubernetes-list-map-keys[{index}]",
                    key,
                    "entries must all be names of item properties",
                )
    elif keys:
        errors.forbidden(f"{path}.x-kubernetes-list-map-keys", "must only be set if x-kubernetes-list-type is map")


def _check_defaults(schema: Schema, path: str, errors: Errors) -> None:
    """Each default must itself be valid."""
    if "default" in schema.raw:
        found = Errors()
        check_custom(schema.raw["default"], schema, "", found)
        for error in found:
            errors.invalid(f"{path}.default", schema.raw["default"], error.message)
    for key, child in schema.properties.items():
        if child.custom:
            _check_defaults(child, f"{path}.properties[{key}]", errors)
    for name, each in (("items", schema.items), ("additionalProperties", schema.values)):
        if each is not None and each.custom:
            _check_defaults(each, f"{path}.{name}", errors)


def definition_update(new: Object, old: Object, errors: Errors) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for key in ("group", "scope"):
        errors.immutable(f"spec.{key}", spec.get(key), before.get(key))
    for key in ("plural", "kind"):
        mine, theirs = (spec.get("names") or {}).get(key), (before.get("names") or {}).get(key)
        errors.immutable(f"spec.names.{key}", mine, theirs)
    kept = {version.get("name") for version in spec.get("versions") or ()}
    for index, stored in enumerate((new.get("status") or {}).get("storedVersions") or ()):
        if stored not in kept:
            errors.invalid(f"status.storedVersions[{index}]", stored, "must appear in spec.versions")
