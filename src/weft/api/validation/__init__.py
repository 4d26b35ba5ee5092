"""Is an object well formed? Types and unknown fields (400), then the rules that Kubernetes has for each kind (422).

In: an object, decoded, pruned and with defaults. Out: a list of FieldError, empty where all is well. Rules are entered
by the schema's definition that they are about, and are found by walking the object along its schema; what the schema
says is required is checked for all built-in kinds alike. Custom resources are held to their CRD's schema.
"""

from collections.abc import Callable, Sequence

from weft.api.decoding import check_types, prune, strict_decoding_error, unknown_fields
from weft.api.kinds import ResourceType
from weft.api.schema import Schema
from weft.api.status import ApiError
from weft.api.validation import admission, configuration, definitions, jobs, pods, rbac, services, sets, workloads
from weft.api.validation.custom import check_custom_resource
from weft.api.validation.errors import Errors, FieldError, Object
from weft.api.validation.metadata import check_metadata, check_metadata_update

__all__ = [
    "FieldError",
    "check_types",
    "invalid",
    "prune",
    "strict_decoding_error",
    "unknown_fields",
    "validate",
    "validate_update",
]

RULES: dict[str, Callable[[Object, str, Errors], None]] = {
    "PodSpec": pods.pod_spec,
    "PodTemplateSpec": workloads.pod_template,
    "DeploymentSpec": workloads.deployment_spec,
    "ReplicaSetSpec": workloads.replica_set_spec,
    "StatefulSetSpec": sets.stateful_set_spec,
    "DaemonSetSpec": sets.daemon_set_spec,
    "ReplicationControllerSpec": sets.replication_controller_spec,
    "PodDisruptionBudgetSpec": sets.budget_spec,
    "PersistentVolumeClaimSpec": sets.claim_spec,
    "Job": jobs.job,
    "JobSpec": jobs.job_spec,
    "CronJob": jobs.cron_job,
    "CronJobSpec": jobs.cron_job_spec,
    "ServiceSpec": services.service_spec,
    "EndpointSubset": services.endpoint_subset,
    "EndpointSlice": services.endpoint_slice,
    "ConfigMap": configuration.config_map,
    "Secret": configuration.secret,
    "Taint": configuration.taint,
    "LeaseSpec": configuration.lease_spec,
    "Event": configuration.event,
    "CustomResourceDefinition": definitions.definition,
    "MutatingWebhookConfiguration": admission.webhook_configuration,
    "ValidatingWebhookConfiguration": admission.webhook_configuration,
    "ValidatingAdmissionPolicy": admission.policy,
    "ValidatingAdmissionPolicyBinding": admission.policy_binding,
    "ResourceQuota": admission.resource_quota,
    "LimitRange": admission.limit_range,
    "PriorityClass": admission.priority_class,
    "Role": rbac.namespaced_role,
    "ClusterRole": rbac.role,
    "RoleBinding": rbac.role_binding,
    "ClusterRoleBinding": rbac.cluster_role_binding,
}
UPDATE_RULES: dict[tuple[str, str], Callable[[Object, Object, Errors], None]] = {
    ("", "Pod"): pods.pod_update,
    ("apps", "Deployment"): workloads.selector_update,
    ("apps", "ReplicaSet"): workloads.selector_update,
    ("apps", "StatefulSet"): sets.stateful_set_update,
    ("apps", "DaemonSet"): workloads.selector_update,
    ("batch", "Job"): jobs.job_update,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice_update,
    ("", "ConfigMap"): configuration.kept_when_immutable,
    ("", "Secret"): configuration.secret_update,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.definition_update,
    ("", "ResourceQuota"): admission.resource_quota_update,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.binding_update,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.binding_update,
    ("scheduling.k8s.io", "PriorityClass"): admission.priority_class_update,
}

# The schema calls these required, but Go takes the zero value of their type for a value.
_MAY_BE_ABSENT = frozenset({"integer", "boolean", "number"})
_EXEMPT = frozenset(
    {("HTTPHeader", "value"), ("Sysctl", "value"), ("EndpointSubset", "addresses"), ("StatefulSetSpec", "serviceName")}
)
# Free-form below: JSON schemas have rules of their own.
_OPAQUE = frozenset({"JSONSchemaProps", "CustomResourceValidation", "ObjectMeta"})
_NEEDS_SPEC = frozenset({"Pod", "Deployment", "ReplicaSet", "Service", "CustomResourceDefinition"})


def validate(obj: Object, rtype: ResourceType, old: Object | None = None) -> list[FieldError]:
    """All that is wrong with an object; a custom one may keep what is wrong in `old`."""
    errors = Errors()
    check_metadata(obj, rtype, errors)
    if rtype.is_custom:
        check_custom_resource(obj, old, rtype.schema, errors)
    else:
        rule = RULES.get(rtype.kind)
        if rule is not None:
            rule(obj, "", errors)
        _walk(obj.get("spec"), rtype.schema.properties.get("spec"), "spec", errors)
        if "spec" not in obj and rtype.kind in _NEEDS_SPEC:
            errors.required("spec")
        _walk(obj.get("subsets"), rtype.schema.properties.get("subsets"), "subsets", errors)
    return list(dict.fromkeys(errors))


def _walk(value: object, schema: Schema | None, path: str, errors: Errors) -> None:
    if schema is None or schema.name in _OPAQUE:
        return
    if isinstance(value, dict):
        properties = schema.properties
        if not properties:
            return
        for key in schema.required:
            if key not in value and properties[key].type not in _MAY_BE_ABSENT and (schema.name, key) not in _EXEMPT:
                errors.required(f"{path}.{key}")
        if (rule := RULES.get(schema.name)) is not None:
            rule(value, path, errors)
        for key, each in value.items():
            if isinstance(each, (dict, list)):
                _walk(each, properties.get(key), f"{path}.{key}", errors)
    elif isinstance(value, list) and (items := schema.items) is not None and items.properties:
        for index, each in enumerate(value):
            _walk(each, items, f"{path}[{index}]", errors)


def validate_update(new: Object, old: Object, rtype: ResourceType) -> list[FieldError]:
    """What `validate` says of `new`, and what may not have changed."""
    errors = Errors(validate(new, rtype, old))
    check_metadata_update(new, old, errors)
    rule = UPDATE_RULES.get((rtype.gvr.group, rtype.kind))
    if rule is not None:
        rule(new, old, errors)
    return list(errors)


def invalid(errors: Sequence[FieldError], rtype: ResourceType, name: str) -> ApiError:
    """The 422 for a list of errors: `Deployment.apps "x" is invalid: [...]`."""
    texts = list(dict.fromkeys(map(str, errors)))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return ApiError(
        "Invalid",
        f'{rtype.qualified_kind} "{name}" is invalid: {text}',
        kind=rtype.kind,
        group=rtype.gvr.group,
        name=name,
        causes=[error.cause for error in errors],
    )
