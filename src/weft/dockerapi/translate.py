"""The body of `POST /containers/create` -> `ContainerSpec`. Pure but for one look at the host: sources of binds.

Docker Engine API 1.47, ContainerConfig and HostConfig. What Weft cannot do raises UnsupportedError, not silence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weft.container.spec import ContainerSpec, Mount, Resources, RestartPolicy
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.sandbox import PortBinding

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def container_spec(name: str, body: Mapping[str, Any]) -> ContainerSpec:
    """Raises InvalidError, NotFoundError (an unknown network), UnsupportedError."""
    host: Mapping[str, Any] = body.get("HostConfig") or {}
    try:
        return _container_spec(name, body, host)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidError(f"invalid container configuration: {error}") from error


def _container_spec(name: str, body: Mapping[str, Any], host: Mapping[str, Any]) -> ContainerSpec:
    if host.get("Links"):
        raise UnsupportedError("cannot create a container: HostConfig.Links is not supported")
    image = body.get("Image")
    if not isinstance(image, str) or not image:
        raise InvalidError("no image specified")
    seccomp, no_new_privileges = _security(host.get("SecurityOpt") or [])
    return ContainerSpec(
        image=image,
        name=name,
        entrypoint=_words(body.get("Entrypoint")),
        command=_words(body.get("Cmd")),
        env=tuple(body.get("Env") or ()),
        working_dir=body.get("WorkingDir") or None,
        user=body.get("User") or None,
        groups=tuple(_group(group) for group in host.get("GroupAdd") or ()),
        hostname=body.get("Hostname") or "",
        labels=dict(body.get("Labels") or {}),
        tty=bool(body.get("Tty")),
        open_stdin=bool(body.get("OpenStdin")),
        stdin_once=bool(body.get("StdinOnce")),
        mounts=_mounts(body, host),
        network=_network(host.get("NetworkMode") or "default"),
        ports=_ports(host.get("PortBindings") or {}),
        publish_all=bool(host.get("PublishAllPorts")),
        ipc=_namespace(host.get("IpcMode") or ""),
        pid=_namespace(host.get("PidMode") or ""),
        dns=tuple(host.get("Dns") or ()),
        dns_search=tuple(host.get("DnsSearch") or ()),
        dns_options=tuple(host.get("DnsOptions") or ()),
        extra_hosts=tuple(host.get("ExtraHosts") or ()),
        resources=_resources(host),
        restart=_restart(host.get("RestartPolicy") or {}),
        cap_add=tuple(host.get("CapAdd") or ()),
        cap_drop=tuple(host.get("CapDrop") or ()),
        privileged=bool(host.get("Privileged")),
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        read_only=bool(host.get("ReadonlyRootfs")),
        init=bool(host.get("Init")),
        stop_signal=body.get("StopSignal") or None,
        stop_timeout=body.get("StopTimeout"),
        auto_remove=bool(host.get("AutoRemove")),
        sysctls=dict(host.get("Sysctls") or {}),
        cgroup_parent=host.get("CgroupParent") or "",
        shm_size=int(host.get("ShmSize") or 0),
        devices=tuple(
            (str(entry["PathOnHost"]), str(entry.get("PathInContainer") or ""), entry.get("CgroupPermissions") or "rwm")
            for entry in host.get("Devices") or ()
        ),
        healthcheck=body.get("Healthcheck") or None,
        log=_log(host.get("LogConfig") or {}),
        docker=body,
    )


def updated(spec: ContainerSpec, body: Mapping[str, Any]) -> ContainerSpec:
    """`POST /containers/{id}/update`: the specification with the limits and the restart policy of the body."""
    old: Mapping[str, Any] = spec.docker.get("HostConfig") or {}
    given = {key: value for key, value in body.items() if key in _UPDATED and value not in (None, 0, "", {})}
    if given.get("NanoCpus"):
        old = {key: value for key, value in old.items() if key not in ("CpuQuota", "CpuPeriod")}
    elif given.get("CpuQuota") or given.get("CpuPeriod"):
        old = {key: value for key, value in old.items() if key != "NanoCpus"}
    host = {**old, **given}
    try:
        resources, restart = _resources(host), _restart(host.get("RestartPolicy") or {})
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidError(f"invalid update: {error}") from error
    return replace(spec, resources=resources, restart=restart, docker={**spec.docker, "HostConfig": host})


_UPDATED = frozenset(
    ("CpuShares", "Memory", "CpuPeriod", "CpuQuota", "CpusetCpus", "MemoryReservation", "MemorySwap", "NanoCpus",
     "PidsLimit", "RestartPolicy")
)  # fmt: skip


def _log(given: Mapping[str, Any]) -> bool:
    """json-file is what we have; `none` keeps nothing."""
    driver = given.get("Type") or "json-file"
    if driver not in ("json-file", "none"):
        raise WeftError(f"logger: no log driver named '{driver}' is registered")
    return bool(driver == "json-file")


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(str(word) for word in value) or None


def _group(text: str) -> int:
    if not str(text).isdecimal():
        raise UnsupportedError(f"cannot add group {text!r}: only numbers are supported")
    return int(text)


def _network(mode: str) -> str:
    if mode in ("default", "bridge"):
        return "bridge"
    if mode in ("host", "none") or mode.startswith("container:"):
        return mode
    raise NotFoundError(f"network {mode} not found")


def _namespace(mode: str) -> str:
    if mode in ("", "private", "shareable", "none"):
        return "private"
    if mode == "host" or mode.startswith("container:"):
        return mode
    raise InvalidError(f"invalid namespace mode: {mode}")


def _ports(bindings: Mapping[str, Any]) -> tuple[PortBinding, ...]:
    found = []
    for key, entries in bindings.items():
        text, _, protocol = key.partition("/")
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise InvalidError(f"invalid port specification: {key!r}")
        if protocol not in ("", "tcp", "udp"):
            raise UnsupportedError(f"cannot publish {key}: only tcp and udp can be")
        for entry in entries or [{}]:
            host_port = str(entry.get("HostPort") or "0")
            if not host_port.isdecimal() or int(host_port) > 65535:
                raise InvalidError(f"invalid port specification: {host_port!r}")
            address = entry.get("HostIp") or ""
            found.append(
                PortBinding(
                    int(text),
                    "udp" if protocol == "udp" else "tcp",
                    "" if address == "0.0.0.0" else address,
                    int(host_port),
                )
            )
    return tuple(found)


def _restart(policy: Mapping[str, Any]) -> RestartPolicy:
    name: Any = policy.get("Name") or "no"
    if name not in ("no", "always", "on-failure", "unless-stopped"):
        raise InvalidError(
            f"invalid restart policy: unknown policy '{name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    retries = int(policy.get("MaximumRetryCount") or 0)
    if retries and name != "on-failure":
        raise InvalidError("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    return RestartPolicy(name, retries)


def _security(options: list[str]) -> tuple[str, bool]:
    seccomp, no_new_privileges = "default", False
    for option in options:
        key, _, value = option.replace(":", "=", 1).partition("=") if "=" not in option else option.partition("=")
        if key == "no-new-privileges":
            no_new_privileges = value in ("", "true")
        elif key == "seccomp":
            seccomp = "default" if value == "builtin" else value
        elif key not in ("label", "apparmor", "systempaths"):
            raise InvalidError(f"invalid --security-opt 2: {option!r}")
    return seccomp, no_new_privileges


def _resources(host: Mapping[str, Any]) -> Resources:
    quota, period = int(host.get("CpuQuota") or 0), int(host.get("CpuPeriod") or 0)
    if nano := int(host.get("NanoCpus") or 0):
        if quota or period:
            raise InvalidError("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
        period = 100_000
        quota = nano * period // 1_000_000_000
    memory = int(host.get("Memory") or 0)
    if 0 < memory < 6 << 20:
        raise InvalidError("Minimum memory limit allowed is 6MB")
    swap = int(host.get("MemorySwap") or 0)
    if swap > 0 and not memory:
        raise InvalidError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidError("Minimum memoryswap limit should be larger than memory limit, see usage")
    return Resources(
        memory=memory,
        memory_swap=swap,
        memory_reservation=int(host.get("MemoryReservation") or 0),
        cpu_quota=quota,
        cpu_period=period,
        cpu_shares=int(host.get("CpuShares") or 0),
        cpuset_cpus=host.get("CpusetCpus") or "",
        pids=int(host.get("PidsLimit") or 0),
        oom_score_adj=host.get("OomScoreAdj") or None,
        ulimits=tuple(
            (str(entry["Name"]), int(entry["Soft"]), int(entry["Hard"])) for entry in host.get("Ulimits") or ()
        ),
    )


def _mounts(body: Mapping[str, Any], host: Mapping[str, Any]) -> tuple[Mount, ...]:
    found = [_bind(text) for text in host.get("Binds") or ()]
    found += [_mount(entry) for entry in host.get("Mounts") or ()]
    for target, options in (host.get("Tmpfs") or {}).items():
        words = options.split(",") if options else []
        size = next((word.partition("=")[2] for word in words if word.startswith("size=")), "")
        found.append(Mount(target, type="tmpfs", read_only="ro" in words, size=_bytes(size) if size else 0))
    taken = {mount.target.rstrip("/") for mount in found}
    found += [
        Mount(path, type="volume") for path in body.get("Volumes") or {} if path.rstrip("/") not in taken
    ]  # `-v /path`
    return tuple(found)


def _bytes(text: str) -> int:
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    unit = units.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def _bind(text: str) -> Mount:
    """`SOURCE:TARGET[:OPTIONS]`; a source that is no absolute path names a volume."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        raise InvalidError(f"invalid volume specification: '{text}'")
    options = parts[2].split(",") if len(parts) == 3 else []
    propagation = next((option for option in options if option in _PROPAGATIONS), "rprivate")
    kind = "bind" if parts[0].startswith("/") else "volume"
    return Mount(parts[1], parts[0], "bind" if kind == "bind" else "volume", "ro" in options, propagation)


def _mount(entry: Mapping[str, Any]) -> Mount:
    kind, target, source = entry.get("Type") or "volume", entry.get("Target") or "", entry.get("Source") or ""
    read_only = bool(entry.get("ReadOnly"))
    if kind == "bind":
        propagation = (entry.get("BindOptions") or {}).get("Propagation") or "rprivate"
        if not source.startswith("/"):
            raise InvalidError(f"invalid mount config for type \"bind\": invalid mount path: '{source}'")
        return Mount(target, source, "bind", read_only, propagation)
    if kind == "volume":
        return Mount(target, source, "volume", read_only)
    if kind == "tmpfs":
        return Mount(target, "", "tmpfs", read_only, size=int((entry.get("TmpfsOptions") or {}).get("SizeBytes") or 0))
    raise UnsupportedError(f"cannot mount type {kind!r}: bind, volume and tmpfs are supported")
