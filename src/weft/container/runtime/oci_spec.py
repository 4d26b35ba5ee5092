"""A container's specification + what the engine prepared -> the OCI runtime configuration (`config.json`). Pure.

OCI runtime-spec v1.0.2, config.md and config-linux.md; the defaults are Docker's (`defaults.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.container.runtime import defaults
from weft.container.runtime.seccomp import linux_seccomp
from weft.container.runtime.users import User
from weft.container.spec import ContainerSpec, Mount, Resources
from weft.core.errors import InvalidError

INIT_TARGET = "/sbin/docker-init"
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host; `type` is `c` or `b`."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    access: str = "rwm"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the configuration needs besides the specification; gathered by `bundle.py`.

    `namespaces` has a path for each namespace that is joined, None for one that is new; a type that is missing is
    the host's. `mounts` have sources that are paths of the host.
    """

    rootfs: Path
    image_config: Mapping[str, Any]
    user: User
    hostname: str
    cgroup: str
    mounts: Sequence[Mount]
    namespaces: Mapping[str, str | None]
    held_capabilities: frozenset[str]
    seccomp_profile: Mapping[str, Any] | None
    machine: str
    kernel: tuple[int, int]
    swap_accounting: bool = True
    rlimits: Sequence[Mapping[str, object]] = ()
    oom_score_adj: int | None = None
    init_path: str = ""
    devices: Sequence[Device] = field(default_factory=tuple)


def config(spec: ContainerSpec, around: Surroundings) -> dict[str, Any]:
    """The whole configuration; raises InvalidError."""
    capabilities = capability_set(spec, around.held_capabilities)
    process = _process(spec, around, capabilities)
    linux: dict[str, Any] = {
        "cgroupsPath": around.cgroup,
        "namespaces": [
            {"type": kind} if path is None else {"type": kind, "path": path} for kind, path in around.namespaces.items()
        ],
        "resources": _resources(spec, around),
        "devices": [_device_node(device) for device in around.devices],
        "sysctl": _sysctls(spec, around),
    }
    if not spec.privileged:
        linux |= {"maskedPaths": list(defaults.MASKED_PATHS), "readonlyPaths": list(defaults.READ_ONLY_PATHS)}
        if around.seccomp_profile is not None:
            linux["seccomp"] = linux_seccomp(around.seccomp_profile, capabilities, around.machine, around.kernel)
    for propagation in ("shared", "slave"):
        if any(mount.propagation.endswith(propagation) for mount in around.mounts if mount.type == "bind"):
            linux["rootfsPropagation"] = f"r{propagation}"
            break
    configuration: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(around.rootfs), "readonly": spec.read_only},
        "mounts": _mounts(spec, around),
        "linux": linux,
    }
    if "uts" in around.namespaces:
        configuration["hostname"] = around.hostname
    return configuration


def capability_set(spec: ContainerSpec, held: frozenset[str]) -> list[str]:
    """Docker's rules for --cap-add, --cap-drop and --privileged, within what we hold."""
    if spec.privileged:
        return sorted(held)
    added, dropped = ({_capability(name) for name in names} for names in (spec.cap_add, spec.cap_drop))
    wanted = set(defaults.CAPABILITIES)
    if "ALL" in dropped:
        wanted = set()
    if "ALL" in added:
        wanted = set(defaults.ALL_CAPABILITIES)
    wanted = (wanted | (added - {"ALL"})) - dropped
    return sorted(wanted & held)


def _capability(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in defaults.ALL_CAPABILITIES:
        raise InvalidError(f'invalid CapAdd or CapDrop: unknown capability: "{name}"')
    return full


def command(spec: ContainerSpec, image_config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command: an entrypoint of the specification also hides the image's command."""
    entrypoint = list(spec.entrypoint) if spec.entrypoint is not None else list(image_config.get("Entrypoint") or [])
    if spec.command is not None:
        arguments = list(spec.command)
    else:
        arguments = list(image_config.get("Cmd") or []) if spec.entrypoint is None else []
    if entrypoint == [""]:
        entrypoint = []
    if not entrypoint + arguments:
        raise InvalidError("no command specified")
    return entrypoint + arguments


def environment(spec: ContainerSpec, image_config: Mapping[str, Any], hostname: str, home: str) -> list[str]:
    """Docker's order: PATH, HOSTNAME, TERM, the image's, the specification's, then HOME if nobody set it."""
    values: dict[str, str] = {"PATH": defaults.PATH, "HOSTNAME": hostname}
    if spec.tty:
        values["TERM"] = "xterm"
    for entry in (image_config.get("Env") or []), spec.env:
        for pair in entry:
            key, equals, value = pair.partition("=")
            if equals:
                values[key] = value
            else:
                values.pop(key, None)
    values.setdefault("HOME", home)
    return [f"{key}={value}" for key, value in values.items()]


def process_capabilities(names: list[str]) -> dict[str, list[str]]:
    """The same for all three sets; none is ambient or inheritable."""
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def _process(spec: ContainerSpec, around: Surroundings, capabilities: list[str]) -> dict[str, Any]:
    arguments = command(spec, around.image_config)
    if around.init_path:
        arguments = [INIT_TARGET, "--", *arguments]
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {
            "uid": around.user.uid,
            "gid": around.user.gid,
            # The group itself too, or a set-group-id trick could drop it (CVE-2022-36109).
            "additionalGids": sorted({around.user.gid, *around.user.groups, *spec.groups}),
        },
        "args": arguments,
        "env": environment(spec, around.image_config, around.hostname, around.user.home),
        "cwd": working_dir(spec, around.image_config),
        "capabilities": process_capabilities(capabilities),
        "noNewPrivileges": spec.no_new_privileges,
        "rlimits": list(around.rlimits),
    }
    if around.oom_score_adj is not None:
        process["oomScoreAdj"] = around.oom_score_adj
    return process


def working_dir(spec: ContainerSpec, image_config: Mapping[str, Any]) -> str:
    path = spec.working_dir if spec.working_dir else str(image_config.get("WorkingDir") or "/")
    if not path.startswith("/"):
        raise InvalidError(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path


def _mounts(spec: ContainerSpec, around: Surroundings) -> list[dict[str, Any]]:
    targets = {mount.target.rstrip("/") for mount in around.mounts}
    found = [mount for mount in defaults.mounts(spec.shm_size) if mount["destination"] not in targets]
    if spec.privileged:
        for mount in found:
            if mount["destination"] in ("/sys", "/sys/fs/cgroup"):
                mount["options"] = [option for option in mount["options"] if option != "ro"]
    if "ipc" not in around.namespaces:
        found = [_host_bind(mount) if mount["destination"] in ("/dev/shm", "/dev/mqueue") else mount for mount in found]
    found += [
        _mount(wanted) for wanted in sorted(around.mounts, key=lambda wanted: wanted.target.rstrip("/").count("/"))
    ]
    if around.init_path:
        found.append(_mount(Mount(INIT_TARGET, around.init_path, read_only=True)))
    return found


def _host_bind(mount: Mapping[str, Any]) -> dict[str, Any]:
    target = mount["destination"]
    return {"destination": target, "type": "bind", "source": target, "options": ["rbind", "nosuid", "noexec", "nodev"]}


def _mount(mount: Mount) -> dict[str, Any]:
    if not mount.target.startswith("/") or not mount.target.strip("/"):
        raise InvalidError(f"invalid mount path: '{mount.target}' mount path must be absolute and not '/'")
    if mount.type == "tmpfs":
        options = ["noexec", "nosuid", "nodev", "ro" if mount.read_only else "rw"]
        if mount.size:
            options.append(f"size={mount.size}")
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    propagation = mount.propagation or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise InvalidError(f"invalid propagation mode: {propagation}")
    options = ["rbind", "ro" if mount.read_only else "rw", propagation]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def _device_node(device: Device) -> dict[str, Any]:
    return {
        "path": device.path, "type": device.type, "major": device.major, "minor": device.minor,
        "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
    }  # fmt: skip


def _sysctls(spec: ContainerSpec, around: Surroundings) -> dict[str, str]:
    """In a network namespace of its own a container may bind low ports and ping without privilege, as in Docker."""
    if "network" not in around.namespaces or spec.network.startswith("container:"):
        return dict(spec.sysctls)
    own = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    return own | dict(spec.sysctls)


def _resources(spec: ContainerSpec, around: Surroundings) -> dict[str, Any]:
    devices: list[Mapping[str, Any]] = list(defaults.DEVICE_RULES)
    for device in around.devices:
        devices.append(
            {"allow": True, "type": device.type, "major": device.major, "minor": device.minor, "access": device.access}
        )
    if spec.privileged:
        devices = [{"allow": True, "access": "rwm"}]
    return {"devices": devices, **limits(spec.resources, around.swap_accounting)}


def limits(resources: Resources, swap_accounting: bool) -> dict[str, Any]:
    """`linux.resources` without devices; memory alone means as much swap again, as in Docker."""
    found: dict[str, Any] = {}
    memory: dict[str, int] = {}
    if resources.memory:
        memory["limit"] = resources.memory
        if swap_accounting:
            memory["swap"] = resources.memory_swap or 2 * resources.memory
    if resources.memory_reservation:
        memory["reservation"] = resources.memory_reservation
    if memory:
        found["memory"] = memory
    cpu: dict[str, Any] = {}
    if resources.cpu_shares:
        cpu["shares"] = resources.cpu_shares
    if resources.cpu_quota:
        cpu |= {"quota": resources.cpu_quota, "period": resources.cpu_period or 100_000}
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if cpu:
        found["cpu"] = cpu
    if resources.pids > 0:
        found["pids"] = {"limit": resources.pids}
    return found
