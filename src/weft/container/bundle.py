"""What a container is started from: the runtime's configuration, and the files that are its own.

Comes in: a record, its image, its root and its sandbox. Goes out: the runtime's configuration, and `hosts`, `hostname`
and `resolv.conf` beside the container's record. `lifecycle.py` is next: it writes the bundle and hands it to conmon.
"""

import logging
import os
import platform
import shutil
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from weft.container.base import Image
from weft.container.records import Record
from weft.container.runtime import cgroups, limits, oci_spec
from weft.container.runtime.rootfs import make_directories, read_text
from weft.container.runtime.seccomp import kernel_version
from weft.container.runtime.users import User, resolve
from weft.container.spec import ContainerSpec, Mount, State
from weft.container.volumes import Volumes
from weft.core.errors import ConflictError, InvalidError, UnsupportedError
from weft.core.sandbox import Networking, Sandbox
from weft.core.settings import Settings

logger = logging.getLogger(__name__)

_SECCOMP_PROFILES = (Path("/usr/share/containers/seccomp.json"), Path("/etc/containers/seccomp.json"))
_INITS = ("catatonit", "docker-init", "tini", "dumb-init")


class Bundles:
    """Makes bundles. `find` looks up the container that another one joins."""

    def __init__(
        self, settings: Settings, volumes: Volumes, networking: Networking, find: Callable[[str], Record]
    ) -> None:
        self._settings = settings
        self._volumes = volumes
        self._networking = networking
        self._find = find
        self._held = limits.held_capabilities()
        self._profiles: dict[str, Mapping[str, Any]] = {}

    def directory(self, id: str) -> Path:
        return self._settings.paths.run / "containers" / id

    def cgroup(self, record: Record) -> str:
        """Always below the instance's own cgroup, so that its end finds everything."""
        top = f"/{self._settings.instance}"
        parent = record.container.spec.cgroup_parent.strip("/")
        if f"/{parent}/".startswith(f"{top}/"):
            top, parent = "", parent
        return "/".join(part for part in (top, parent, record.id) if part) if top else f"/{parent}/{record.id}"

    async def make(
        self, record: Record, image: Image, rootfs: Path, sandbox: Sandbox | None, files: Path
    ) -> dict[str, Any]:
        """Writes the container's own files, returns the runtime's configuration.

        Raises InvalidError, ConflictError, UnsupportedError.
        """
        spec = record.container.spec
        image_config: Mapping[str, Any] = image.config.get("config") or {}
        passwd, group = read_text(rootfs, "/etc/passwd"), read_text(rootfs, "/etc/group")
        user = resolve(spec.user if spec.user is not None else str(image_config.get("User") or ""), passwd, group)
        hostname = self.hostname(record)
        namespaces = self._namespaces(spec, sandbox)
        rlimits, notes = limits.rlimits(spec.resources.ulimits, self._held)
        score, more = limits.oom_score_adj(spec.resources.oom_score_adj, self._held)
        for note in notes + more:
            logger.warning(note, extra={"container": record.container.name})
        self._prepare_root(rootfs, oci_spec.working_dir(spec, image_config), user)
        around = oci_spec.Surroundings(
            rootfs=rootfs,
            image_config=image_config,
            user=user,
            hostname=hostname,
            cgroup=self.cgroup(record),
            mounts=[*await self._mounts(spec, rootfs), *self._files(record, hostname, sandbox, files)],
            namespaces=namespaces,
            held_capabilities=self._held,
            seccomp_profile=self._seccomp(spec),
            machine=platform.machine(),
            kernel=kernel_version(platform.release()),
            swap_accounting=has_swap_accounting(),
            rlimits=rlimits,
            oom_score_adj=score,
            init_path=_init() if spec.init else "",
            devices=_devices(spec),
        )
        return oci_spec.config(spec, around)

    def hostname(self, record: Record) -> str:
        spec = record.container.spec
        if spec.network == "host" and not spec.hostname:
            return socket.gethostname()
        if spec.network.startswith("container:") and not spec.hostname:
            return self.hostname(self._joined(spec.network))
        return spec.hostname or record.id[:12]

    def _joined(self, mode: str) -> Record:
        record = self._find(mode.partition(":")[2])
        if record.container.state not in (State.RUNNING, State.PAUSED):
            raise ConflictError(
                f"cannot join namespace of a non running container: container {record.id} is not running"
            )
        return record

    def _namespaces(self, spec: ContainerSpec, sandbox: Sandbox | None) -> dict[str, str | None]:
        """None: a new one; a path: joined; missing: the host's."""
        found: dict[str, str | None] = {"mount": None}
        if spec.network == "bridge" and sandbox is not None:
            found["network"] = sandbox.netns_path
        elif spec.network == "none":
            found["network"] = None
        elif spec.network.startswith("netns:"):
            found["network"] = spec.network.removeprefix("netns:")
        elif spec.network.startswith("container:"):
            found["network"] = f"/proc/{self._joined(spec.network).container.pid}/ns/net"
        elif spec.network != "host":
            raise InvalidError(f"cannot start a container: unknown network mode {spec.network!r}")
        for kind, mode in (("ipc", spec.ipc), ("pid", spec.pid)):
            if mode == "private":
                found[kind] = None
            elif mode.startswith("container:"):
                found[kind] = f"/proc/{self._joined(mode).container.pid}/ns/{kind}"
            elif mode != "host":
                raise InvalidError(f"cannot start a container: unknown {kind} mode {mode!r}")
        found["uts"] = None
        if cgroups.is_unified() and not spec.privileged:
            found["cgroup"] = None
        return found

    def _prepare_root(self, rootfs: Path, working_dir: str, user: User) -> None:
        try:
            make_directories(rootfs, working_dir, user.uid, user.gid)
        except OSError as error:
            raise InvalidError(f"cannot make the working directory {working_dir}: {error.strerror}") from error

    async def _mounts(self, spec: ContainerSpec, rootfs: Path) -> list[Mount]:
        found = []
        for mount in spec.mounts:
            if mount.type == "volume":
                self._volumes.create(mount.source)
                await self._volumes.fill(mount.source, rootfs, mount.target)
                source = str(self._volumes.data(mount.source))
                found.append(Mount(mount.target, source, "bind", mount.read_only, mount.propagation))
            else:
                if mount.type == "bind" and not os.path.lexists(mount.source):
                    raise InvalidError(
                        f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
                    )
                found.append(mount)
        if spec.ipc.startswith("container:") and not any(mount.target == "/dev/shm" for mount in spec.mounts):
            found.append(Mount("/dev/shm", f"/proc/{self._joined(spec.ipc).container.pid}/root/dev/shm"))
        return found

    def _files(self, record: Record, hostname: str, sandbox: Sandbox | None, directory: Path) -> list[Mount]:
        """The three files under /etc that are the engine's, unless the specification mounts its own."""
        spec = record.container.spec
        if spec.network.startswith("container:"):
            directory = directory.parent / self._joined(spec.network).id
        else:
            (directory / "hostname").write_text(f"{hostname}\n")
            (directory / "hosts").write_text(self._hosts(spec, hostname, sandbox))
            (directory / "resolv.conf").write_text(self._resolv_conf(spec))
        taken = {mount.target.rstrip("/") for mount in spec.mounts}
        names = [name for name in ("hostname", "hosts", "resolv.conf") if f"/etc/{name}" not in taken]
        return [Mount(f"/etc/{name}", str(directory / name)) for name in names]

    def _hosts(self, spec: ContainerSpec, hostname: str, sandbox: Sandbox | None) -> str:
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "fe00::0\tip6-localnet"]
        lines += ["ff00::0\tip6-mcastprefix", "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters"]
        if spec.network == "host":
            try:
                lines = Path("/etc/hosts").read_text().splitlines()
            except OSError:
                pass
        for entry in spec.extra_hosts:
            name, _, address = entry.partition(":")
            if address == "host-gateway":
                address = sandbox.gateway if sandbox else self._settings.gateway
            lines.append(f"{address}\t{name}")
        if sandbox is not None:
            lines.append(f"{sandbox.address}\t{hostname}")
        return "\n".join(lines) + "\n"

    def _resolv_conf(self, spec: ContainerSpec) -> str:
        own = spec.dns or spec.dns_search or spec.dns_options
        if spec.network in ("host", "none") and not own:
            try:
                return Path("/etc/resolv.conf").read_text()
            except OSError:
                return ""
        lines = [f"nameserver {server}" for server in spec.dns or (self._networking.nameserver,)]
        if search := [domain for domain in spec.dns_search if domain != "."]:
            lines.append(f"search {' '.join(search)}")
        if spec.dns_options:
            lines.append(f"options {' '.join(spec.dns_options)}")
        return "\n".join(lines) + "\n"

    def _seccomp(self, spec: ContainerSpec) -> Mapping[str, Any] | None:
        """`default`, `unconfined`, or a profile: its JSON or a path to it."""
        if spec.privileged or spec.seccomp == "unconfined":
            return None
        if spec.seccomp.lstrip().startswith("{"):
            return _json_object(spec.seccomp.encode(), "the given profile")
        if spec.seccomp not in self._profiles:
            paths = _SECCOMP_PROFILES if spec.seccomp == "default" else (Path(spec.seccomp),)
            for path in paths:
                if path.is_file():
                    self._profiles[spec.seccomp] = _json_object(path.read_bytes(), str(path))
                    break
            else:
                raise UnsupportedError(
                    f"cannot read a seccomp profile: none at {' or '.join(map(str, paths))}; "
                    "install golang-github-containers-common, or run with --security-opt seccomp=unconfined"
                )
        return self._profiles[spec.seccomp]


def _json_object(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise InvalidError(f"cannot decode seccomp profile {where}: {error}") from error
    if not isinstance(value, dict):
        raise InvalidError(f"cannot decode seccomp profile {where}: not an object")
    return value


def has_swap_accounting() -> bool:
    top = cgroups.hierarchy("memory")
    if top is None:
        return False
    return cgroups.is_unified() or (top / "memory.memsw.limit_in_bytes").exists()


def _init() -> str:
    for name in _INITS:
        if path := shutil.which(name):
            return path
    raise UnsupportedError(f"cannot run with --init: none of {', '.join(_INITS)} is installed")


def _devices(spec: ContainerSpec) -> list[oci_spec.Device]:
    if spec.privileged:
        return [device for path in sorted(_host_devices()) if (device := _device(path, path, "rwm"))]
    found = []
    for host, target, access in spec.devices:
        device = _device(host, target or host, access or "rwm")
        if device is None:
            raise InvalidError(
                f'error gathering device information while adding custom device "{host}": no such device'
            )
        found.append(device)
    return found


def _host_devices() -> list[str]:
    """Device nodes directly in /dev and below, without terminals and what the container has of its own."""
    skipped = {"pts", "shm", "fd", "mqueue", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty"}
    found = []
    for directory, children, names in os.walk("/dev"):
        if directory == "/dev":
            children[:] = [child for child in children if child not in skipped]
            names = [name for name in names if name not in skipped]
        found += [os.path.join(directory, name) for name in names]
    return found


def _device(host: str, target: str, access: str) -> oci_spec.Device | None:
    try:
        status = os.stat(host)
    except OSError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return oci_spec.Device(
        target,
        "c" if stat.S_ISCHR(status.st_mode) else "b",
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        access,
    )
