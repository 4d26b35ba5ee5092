"""Jobs and cron jobs. Source: kubernetes `pkg/apis/batch/validation`."""

from typing import Any

from weft.api import cron
from weft.api.selectors import LabelSelector
from weft.api.validation.errors import Errors, Object

_MAX_INDEXED_PARALLELISM = 100_000
_MAX_CRON_NAME = 52
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_NEEDS_INDEXED = "requires indexed completion mode"


def job_spec(spec: Object, path: str, errors: Errors) -> None:
    errors.not_negative(
        spec,
        path,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    errors.one_of(spec, "completionMode", path, ("Indexed", "NonIndexed"))
    _check_indexed(spec, path, errors)
    failure_policy = spec.get("podFailurePolicy")
    supported = ("Failed",) if failure_policy else ("Failed", "TerminatingOrFailed")
    errors.one_of(spec, "podReplacementPolicy", path, supported)
    pod = (spec.get("template") or {}).get("spec") or {}
    policy = pod.get("restartPolicy", "Always")
    if policy == "Always":
        errors.required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif failure_policy and policy != "Never":
        where = f"{path}.template.spec.restartPolicy"
        errors.invalid(where, policy, 'only "Never" is supported when podFailurePolicy is specified')
    if failure_policy:
        _check_failure_policy(failure_policy, spec, pod, f"{path}.podFailurePolicy", errors)
    if (success_policy := spec.get("successPolicy")) is not None:
        _check_success_policy(success_policy, spec, f"{path}.successPolicy", errors)


def _check_indexed(spec: Object, path: str, errors: Errors) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failed, limit = spec.get("maxFailedIndexes"), spec.get("backoffLimitPerIndex")
    if failed is not None and limit is None:
        errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.get("completionMode") == "Indexed":
        if completions is None:
            errors.required(f"{path}.completions", "when completion mode is Indexed")
        if parallelism > _MAX_INDEXED_PARALLELISM:
            why = f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed"
            errors.invalid(f"{path}.parallelism", parallelism, why)
        if failed is not None and completions is not None and failed > completions:
            errors.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
        return
    if limit is not None:
        errors.invalid(f"{path}.backoffLimitPerIndex", limit, _NEEDS_INDEXED)
    if failed is not None:
        errors.invalid(f"{path}.maxFailedIndexes", failed, _NEEDS_INDEXED)


def _check_failure_policy(policy: Object, spec: Object, pod: Object, path: str, errors: Errors) -> None:
    rules = policy.get("rules") or []
    if len(rules) > 20:
        errors.too_many(f"{path}.rules", len(rules), 20)
    every = [*(pod.get("containers") or ()), *(pod.get("initContainers") or ())]
    containers = {container.get("name") for container in every}
    for index, rule in enumerate(rules):
        where = f"{path}.rules[{index}]"
        errors.one_of(rule, "action", where, _ACTIONS)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            errors.invalid(f"{where}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None and conditions:
            errors.invalid(where, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is not None:
            _check_exit_codes(codes, containers, f"{where}.onExitCodes", errors)
        elif not conditions:
            errors.invalid(where, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        for at, pattern in enumerate(conditions or ()):
            errors.one_of(pattern, "status", f"{where}.onPodConditions[{at}]", ("False", "True", "Unknown"))


def _check_exit_codes(codes: Object, containers: set[Any], path: str, errors: Errors) -> None:
    operator, values = codes.get("operator"), codes.get("values") or []
    errors.one_of(codes, "operator", path, ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        errors.invalid(f"{path}.containerName", name, why)
    if not values:
        errors.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > 255:
        errors.too_many(f"{path}.values", len(values), 255)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        if value in values[:index]:
            errors.duplicate(f"{path}.values[{index}]", value)
    if list(values) != sorted(values):
        errors.invalid(f"{path}.values", values, "must be ordered")


def _check_success_policy(policy: Object, spec: Object, path: str, errors: Errors) -> None:
    if spec.get("completionMode") != "Indexed":
        errors.invalid(path, policy, _NEEDS_INDEXED)
        return
    rules = policy.get("rules") or []
    if not rules:
        errors.required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    completions = spec.get("completions")
    for index, rule in enumerate(rules):
        where = f"{path}.rules[{index}]"
        count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            errors.required(where, "at least one of succeededCount or succeededIndexes must be specified")
        errors.not_negative(rule, where, "succeededCount")
        most = completions
        if indexes is not None:
            try:
                most = len(parse_indexes(indexes, completions))
            except ValueError as error:
                errors.invalid(f"{where}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
                continue
        if count is not None and most is not None and count > most:
            total = "the number of indexes in the specified succeededIndexes field" if indexes else "completions"
            errors.invalid(f"{where}.succeededCount", count, f"must be less than or equal to {most} ({total})")


def parse_indexes(text: str, completions: int | None = None) -> list[int]:
    """`0,2-4` as numbers in order; raises ValueError."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f'cannot convert string to integer for index: "{part}"')
        start, end = int(first), int(last) if dash else int(first)
        if dash and start >= end:
            raise ValueError(f"non-increasing order, previous: {start}, current: {end}")
        if found and start <= found[-1]:
            raise ValueError(f"non-increasing order, previous: {found[-1]}, current: {start}")
        if completions is not None and end >= completions:
            raise ValueError(f'too large index: "{part}"')
        found.extend(range(start, end + 1))
    return found


def job(obj: Object, path: str, errors: Errors) -> None:
    """The selector, which the server makes where the user does not."""
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    if selector is None:
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not LabelSelector.from_json(selector).matches(labels):
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def job_update(new: Object, old: Object, errors: Errors) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if not _is_elastic(spec, before):
        errors.immutable("spec.completions", spec.get("completions"), before.get("completions"))
    if not _may_move(old) or _placed(spec) != _placed(before):
        errors.immutable("spec.template", spec.get("template"), before.get("template"))
    for key in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy"):
        errors.immutable(f"spec.{key}", spec.get(key), before.get(key))


def _is_elastic(spec: Object, before: Object) -> bool:
    """An Indexed job may change its completions together with its parallelism."""
    return spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")


def _may_move(old: Object) -> bool:
    """While a job is suspended and has not run yet, where its pods go may still change."""
    return bool((old.get("spec") or {}).get("suspend")) and not (old.get("status") or {}).get("startTime")


def _placed(spec: Object) -> Object:
    """The template without what says where its pods may run."""
    template = spec.get("template") or {}
    pod = {
        key: value
        for key, value in (template.get("spec") or {}).items()
        if key not in ("nodeSelector", "tolerations", "schedulingGates", "affinity")
    }
    metadata = {
        key: value for key, value in (template.get("metadata") or {}).items() if key not in ("labels", "annotations")
    }
    return {"spec": pod, "metadata": metadata}


def cron_job_spec(spec: Object, path: str, errors: Errors) -> None:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if schedule == "":
        errors.required(f"{path}.schedule")
    elif schedule is not None:
        _check_schedule(schedule, f"{path}.schedule", errors)
    if zone is not None:
        _check_zone(zone, f"{path}.timeZone", errors)
    errors.not_negative(spec, path, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    errors.one_of(spec, "concurrencyPolicy", path, ("Allow", "Forbid", "Replace"))
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    if inner.get("selector") is not None:
        where = f"{path}.jobTemplate.spec.selector"
        errors.invalid(where, inner["selector"], "`selector` will be auto-generated")
    if inner.get("manualSelector"):
        errors.not_supported(f"{path}.jobTemplate.spec.manualSelector", True, ("nil", "false"))


def _check_schedule(schedule: str, path: str, errors: Errors) -> None:
    if "TZ" in schedule:
        errors.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
        return
    try:
        cron.parse(schedule)
    except ValueError as error:
        errors.invalid(path, schedule, str(error))


def _check_zone(zone: str, path: str, errors: Errors) -> None:
    if not zone:
        errors.invalid(path, zone, "must be nil or non-empty string")
    elif zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.invalid(path, zone, why)
    else:
        try:
            cron.time_zone(zone)
        except ValueError as error:
            errors.invalid(path, zone, str(error))


def cron_job(obj: Object, path: str, errors: Errors) -> None:
    """Names of jobs are the cron job's and eleven letters more."""
    if len((obj.get("metadata") or {}).get("name") or "") > _MAX_CRON_NAME:
        errors.invalid("metadata.name", obj["metadata"]["name"], f"must be no more than {_MAX_CRON_NAME} characters")
