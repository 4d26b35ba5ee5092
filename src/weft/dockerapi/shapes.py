"""A container of the engine -> Docker's JSON: `inspect` and the rows of `list`. Pure.

Docker Engine API 1.47, ContainerInspect and ContainerSummary.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from weft.container.base import Image
from weft.container.runtime.oci_spec import command, environment, working_dir
from weft.container.spec import Container, Health, Mount, State
from weft.container.volumes import Volumes
from weft.core.errors import InvalidError
from weft.core.sandbox import Sandbox
from weft.dockerapi.requests import rfc3339_nano


def inspect(
    container: Container, image: Image | None, sandbox: Sandbox | None, volumes: Volumes, runtime: str
) -> dict[str, Any]:
    """The whole shape."""
    argv = _argv(container, image)
    config = _config(container, image)
    return {
        "Id": container.id,
        "Created": rfc3339_nano(container.created_at),
        "Path": argv[0] if argv else "",
        "Args": argv[1:],
        "State": _state(container),
        "Image": container.image_id,
        "ResolvConfPath": _beside(container, "resolv.conf"),
        "HostnamePath": _beside(container, "hostname"),
        "HostsPath": _beside(container, "hosts"),
        "LogPath": container.log_path,
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(container, runtime),
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "Mounts": [mount_point(mount, volumes) for mount in container.spec.mounts if mount.type != "tmpfs"],
        "Config": config,
        "NetworkSettings": _network_settings(container, sandbox, config),
    }


def _argv(container: Container, image: Image | None) -> list[str]:
    try:
        return command(container.spec, (image.config.get("config") or {}) if image else {})
    except InvalidError:
        return []


def _beside(container: Container, name: str) -> str:
    return f"{container.log_path.rpartition('/')[0]}/{name}"


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    return {
        "Status": str(state),
        "Running": state in (State.RUNNING, State.PAUSED, State.RESTARTING),
        "Paused": state is State.PAUSED,
        "Restarting": state is State.RESTARTING,
        "OOMKilled": container.oom_killed,
        "Dead": state is State.DEAD,
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339_nano(container.started_at),
        "FinishedAt": rfc3339_nano(container.finished_at),
        **({"Health": _health(container.health)} if container.health is not None else {}),
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {"Start": rfc3339_nano(each.start), "End": rfc3339_nano(each.end), "ExitCode": each.exit_code,
             "Output": each.output}
            for each in health.log
        ],
    }  # fmt: skip


def _config(container: Container, image: Image | None) -> dict[str, Any]:
    spec = container.spec
    own: Mapping[str, Any] = (image.config.get("config") or {}) if image else {}
    exposed = {**(own.get("ExposedPorts") or {}), **(spec.docker.get("ExposedPorts") or {})}
    exposed |= {f"{port.container_port}/{port.protocol}": {} for port in spec.ports}
    env = environment(spec, own, spec.hostname or container.id[:12], "/")
    env = [pair for pair in env if not pair.startswith(("HOSTNAME=", "HOME=", "TERM="))]
    env += [pair for pair in spec.env if pair.startswith(("HOSTNAME=", "HOME=", "TERM=")) or "=" not in pair]
    entrypoint = list(spec.entrypoint) if spec.entrypoint is not None else own.get("Entrypoint")
    default_command = own.get("Cmd") if spec.entrypoint is None else None
    return {
        "Hostname": spec.hostname or container.id[:12],
        "Domainname": "",
        "User": spec.user if spec.user is not None else own.get("User", ""),
        "AttachStdin": bool(spec.docker.get("AttachStdin")),
        "AttachStdout": bool(spec.docker.get("AttachStdout")),
        "AttachStderr": bool(spec.docker.get("AttachStderr")),
        "ExposedPorts": exposed,
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": env,
        "Cmd": list(spec.command) if spec.command is not None else default_command,
        "Image": spec.image,
        "Volumes": spec.docker.get("Volumes") or own.get("Volumes"),
        "WorkingDir": working_dir(spec, own) if spec.working_dir or own.get("WorkingDir") else "",
        "Entrypoint": entrypoint,
        "OnBuild": own.get("OnBuild"),
        "Labels": {**(own.get("Labels") or {}), **spec.labels},
        "Healthcheck": spec.docker.get("Healthcheck") or own.get("Healthcheck"),
        "StopSignal": spec.stop_signal or own.get("StopSignal"),
        "StopTimeout": spec.stop_timeout,
    }


_HOST_CONFIG: Mapping[str, Any] = {
    "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}}, "NetworkMode": "bridge",
    "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False,
    "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [0, 0], "CapAdd": None, "CapDrop": None,
    "CgroupnsMode": "private", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None,
    "IpcMode": "private", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "", "Privileged": False,
    "PublishAllPorts": False, "ReadonlyRootfs": False, "SecurityOpt": None, "UTSMode": "", "UsernsMode": "",
    "ShmSize": 67108864, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
    "BlkioWeight": 0, "CpuPeriod": 0, "CpuQuota": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
    "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": None, "OomKillDisable": None, "PidsLimit": None,
    "Ulimits": [], "CpuCount": 0, "CpuPercent": 0, "MaskedPaths": [], "ReadonlyPaths": [],
}  # fmt: skip


def _host_config(container: Container, runtime: str) -> dict[str, Any]:
    """As it was asked for; what the request did not say has Docker's default, other creators' wishes are shown."""
    spec = container.spec
    own = {
        "NetworkMode": spec.network,
        "AutoRemove": spec.auto_remove,
        "Privileged": spec.privileged,
        "RestartPolicy": {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.maximum_retries},
        "Memory": spec.resources.memory,
        "Runtime": runtime,
    }
    shown = {**_HOST_CONFIG, **own, **(spec.docker.get("HostConfig") or {}), "Runtime": runtime}
    log: Mapping[str, Any] = shown.get("LogConfig") or {}
    return shown | {"LogConfig": {"Type": log.get("Type") or "json-file", "Config": log.get("Config") or {}}}


def mount_point(mount: Mount, volumes: Volumes) -> dict[str, Any]:
    shown = {"Destination": mount.target, "Mode": "", "RW": not mount.read_only, "Propagation": mount.propagation}
    if mount.type == "volume":
        data = str(volumes.data(mount.source))
        return {"Type": "volume", "Name": mount.source, "Source": data, "Driver": "local", **shown, "Propagation": ""}
    return {"Type": mount.type, "Source": mount.source, **shown}


def ports(sandbox: Sandbox | None, exposed: Mapping[str, Any]) -> dict[str, Any]:
    """`NetworkSettings.Ports`: host bindings by container port, null for one that is only exposed."""
    found: dict[str, Any] = dict.fromkeys(exposed)
    for port in sandbox.ports if sandbox else ():
        key = f"{port.container_port}/{port.protocol}"
        entry = {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port)}
        found[key] = [*(found.get(key) or []), entry]
    return found


def _network_settings(container: Container, sandbox: Sandbox | None, config: Mapping[str, Any]) -> dict[str, Any]:
    mode = container.spec.network if container.spec.network in ("bridge", "host", "none") else ""
    endpoint = {
        "IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "NetworkID": network_id(mode),
        "MacAddress": sandbox.mac if sandbox else "", "EndpointID": container.id if sandbox else "",
        "Gateway": sandbox.gateway if sandbox else "", "IPAddress": sandbox.address if sandbox else "",
        "IPPrefixLen": sandbox.prefix_length if sandbox else 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "DNSNames": None,
    }  # fmt: skip
    running = container.state in (State.RUNNING, State.PAUSED)
    return {
        "Bridge": "",
        "SandboxID": container.sandbox_id,
        "SandboxKey": sandbox.netns_path if sandbox else "",
        "Ports": ports(sandbox, config["ExposedPorts"]) if running else {},
        "HairpinMode": False,
        **{
            key: endpoint[key]
            for key in ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress", "IPv6Gateway")
        },
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "Networks": {mode: endpoint} if mode else {},
    }


def network_id(name: str) -> str:
    """The default networks have fixed ids."""
    return hashlib.sha256(f"weft network {name}".encode()).hexdigest() if name else ""


def summary(
    container: Container, image: Image | None, sandbox: Sandbox | None, volumes: Volumes, now: float
) -> dict[str, Any]:
    """A row of `docker ps`."""
    spec = container.spec
    own: Mapping[str, Any] = (image.config.get("config") or {}) if image else {}
    running = container.state in (State.RUNNING, State.PAUSED)
    exposed = {*(own.get("ExposedPorts") or {}), *(spec.docker.get("ExposedPorts") or {})}
    shown: list[dict[str, Any]] = []
    for key, entries in ports(sandbox, dict.fromkeys(exposed)).items() if running else ():
        number, _, protocol = key.partition("/")
        row = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        shown += [{**row, "IP": entry["HostIp"], "PublicPort": int(entry["HostPort"])} for entry in entries or ()] or [
            row
        ]
    mode = spec.network if spec.network in ("bridge", "host", "none") else ""
    endpoint = {"NetworkID": network_id(mode), "IPAddress": sandbox.address if sandbox else ""}
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": spec.image,
        "ImageID": container.image_id,
        "Command": _shown_command(_argv(container, image)),
        "Created": int(container.created_at),
        "Ports": shown,
        "Labels": {**(own.get("Labels") or {}), **spec.labels},
        "State": str(container.state),
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": spec.network},
        "NetworkSettings": {"Networks": {mode: endpoint} if mode else {}},
        "Mounts": [mount_point(mount, volumes) for mount in spec.mounts if mount.type != "tmpfs"],
    }


def _shown_command(argv: list[str]) -> str:
    return " ".join(json.dumps(word, ensure_ascii=False) if " " in word or not word else word for word in argv)


def status_text(container: Container, now: float) -> str:
    """`Up 2 minutes`, `Exited (0) 3 hours ago`."""
    match container.state:
        case State.RUNNING:
            health = ""
            if container.health is not None:
                status = container.health.status
                health = " (health: starting)" if status == "starting" else f" ({status})"
            return f"Up {human_duration(now - container.started_at)}{health}"
        case State.PAUSED:
            return f"Up {human_duration(now - container.started_at)} (Paused)"
        case State.RESTARTING:
            return f"Restarting ({container.exit_code}) {human_duration(now - container.finished_at)} ago"
        case State.EXITED:
            return f"Exited ({container.exit_code}) {human_duration(now - container.finished_at)} ago"
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"
    return "Created"


def human_duration(seconds: float) -> str:
    """As go-units words it."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{int(seconds)} second{'s' if int(seconds) != 1 else ''}"
    minutes, hours = int(seconds / 60), round(seconds / 3600)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for limit, divisor, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // divisor} {unit}"
    return f"{hours // 8760} years"
