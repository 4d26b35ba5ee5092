"""Containers: names, images, ports, environment, mounts, resources, probes. Source: kubernetes core validation."""

from typing import Any

from weft.api import names, quantity
from weft.api.validation.errors import Errors, Object

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def check_containers(spec: Object, path: str, volumes: set[str], errors: Errors) -> None:
    """All containers of a pod; their names are unique together."""
    seen: set[str] = set()
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            where = f"{path}.{key}[{index}]"
            name = container.get("name")
            if name:
                errors.check(f"{where}.name", name, names.label(name))
                if name in seen:
                    errors.duplicate(f"{where}.name", name)
                seen.add(name)
            elif "name" in container:
                errors.required(f"{where}.name")
            _check_container(container, where, volumes, errors)
            if key == "initContainers":
                _check_init_container(container, where, errors)
            if spec.get("hostNetwork"):
                for position, port in enumerate(container.get("ports") or ()):
                    if port.get("hostPort") != port.get("containerPort"):
                        errors.invalid(
                            f"{where}.ports[{position}].hostPort",
                            port.get("hostPort", 0),
                            "must match `containerPort` when `hostNetwork` is true",
                        )


def _check_container(container: Object, path: str, volumes: set[str], errors: Errors) -> None:
    image = container.get("image")
    if not image:
        errors.required(f"{path}.image")
    elif image != image.strip():
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    errors.one_of(container, "imagePullPolicy", path, PULL_POLICIES)
    errors.one_of(container, "terminationMessagePolicy", path, ("FallbackToLogsOnError", "File"))
    _check_ports(container.get("ports") or (), f"{path}.ports", errors)
    for index, variable in enumerate(container.get("env") or ()):
        _check_variable(variable, f"{path}.env[{index}]", errors)
    _check_mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes, errors)
    check_resources(container.get("resources") or {}, f"{path}.resources", errors)
    for key in _PROBES:
        if (probe := container.get(key)) is not None:
            _check_probe(probe, f"{path}.{key}", key, errors)


def _check_init_container(container: Object, path: str, errors: Errors) -> None:
    policy = container.get("restartPolicy")
    if policy is not None and policy != "Always":
        errors.not_supported(f"{path}.restartPolicy", policy, ("Always",))
    if policy is None:
        for key in (*_PROBES, "lifecycle"):
            if key in container:
                errors.forbidden(f"{path}.{key}", "may not be set for init containers without restartPolicy=Always")


def _check_ports(ports: Any, path: str, errors: Errors) -> None:
    errors.unique(ports, "name", path)
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        if name := port.get("name"):
            errors.check(f"{where}.name", name, names.port_name(name))
        if not port.get("containerPort"):
            errors.required(f"{where}.containerPort")
        else:
            errors.port(f"{where}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            errors.port(f"{where}.hostPort", port["hostPort"])
        errors.one_of(port, "protocol", where, PROTOCOLS)


def _check_variable(variable: Object, path: str, errors: Errors) -> None:
    name = variable.get("name")
    if name:
        errors.check(f"{path}.name", name, names.env_name(name))
    elif "name" in variable:
        errors.required(f"{path}.name")
    source = variable.get("valueFrom")
    if source is None:
        return
    if variable.get("value"):
        errors.invalid(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif not source:
        errors.invalid(
            f"{path}.valueFrom",
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        )
    elif len(source) > 1:
        errors.invalid(f"{path}.valueFrom", "", "may not have more than one field specified at a time")


def _check_mounts(mounts: Any, path: str, volumes: set[str], errors: Errors) -> None:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        where = f"{path}[{index}]"
        if mount.get("name") and mount["name"] not in volumes:
            errors.not_found(f"{where}.name", mount["name"])
        target = mount.get("mountPath")
        if target in seen:
            errors.invalid(f"{where}.mountPath", target, "must be unique")
        if target:
            seen.add(target)
        elif "mountPath" in mount:
            errors.required(f"{where}.mountPath")
        if ".." in (mount.get("subPath") or "").split("/"):
            errors.invalid(f"{where}.subPath", mount["subPath"], "must not contain '..'")
        if mount.get("subPath") and mount.get("subPathExpr"):
            errors.invalid(
                f"{where}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )


def check_resources(resources: Object, path: str, errors: Errors) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for key, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{path}.{key}[{name}]" if "." in name or "/" in name else f"{path}.{key}.{name}"
            if wrong := names.qualified_name(name):
                errors.invalid(where, name, wrong)
            elif "/" not in name and not _is_standard(name):
                errors.invalid(where, name, "must be a standard resource type or fully qualified")
            if quantity.parse(amount) < 0:
                errors.invalid(where, amount, "must be greater than or equal to 0")
    for name, amount in requests.items():
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            errors.invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}")


def _is_standard(name: str) -> bool:
    return name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-")


def _check_probe(probe: Object, path: str, kind: str, errors: Errors) -> None:
    handlers = [key for key in _HANDLERS if key in probe]
    if not handlers:
        errors.required(path, "must specify a handler type")
    for extra in handlers[1:]:
        errors.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    errors.not_negative(probe, path, "initialDelaySeconds")
    for key in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(key)
        if value is not None and value < 1:
            errors.invalid(f"{path}.{key}", value, "must be greater than or equal to 1")
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        errors.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    for key in ("httpGet", "tcpSocket"):
        if key in probe and "port" in probe[key]:
            check_port_or_name(probe[key]["port"], f"{path}.{key}.port", errors)
    command = (probe.get("exec") or {}).get("command")
    if "exec" in probe and not command:
        errors.required(f"{path}.exec.command")


def check_port_or_name(port: Any, path: str, errors: Errors) -> None:
    if isinstance(port, str):
        errors.check(path, port, names.port_name(port) if port else "must be between 1 and 65535, inclusive")
    else:
        errors.port(path, port)
