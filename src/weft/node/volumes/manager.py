"""A pod's files on this machine, under `var/lib/weft/pods/UID`: volumes, sub-paths, termination messages, hosts.

In: a pod, facts and references. Out: paths to be mounted into containers. Everything is done again without harm, and
`remove` takes all of it away. Calls block: run them in a thread.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.client.base import Object
from weft.container.runtime.rootfs import make_directories, open_in_root
from weft.core.errors import WeftError
from weft.core.files import write_atomic
from weft.node.volumes import (
    atomic_writer,
    config_map,
    downward_api,
    empty_dir,
    host_path,
    mounts,
    projected,
    secret,
)
from weft.node.volumes.payload import DEFAULT_MODE, Source, VolumeError

logger = logging.getLogger(__name__)

_PAYLOADS = {
    "configMap": config_map.payload,
    "secret": secret.payload,
    "downwardAPI": downward_api.payload,
    "projected": projected.payload,
}
_MESSAGE_LIMIT = 4096


class Volumes:
    """All pods' files of one instance."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, uid: str) -> Path:
        return self.root / uid

    def uids(self) -> list[str]:
        """Of all pods that have files."""
        return [entry.name for entry in self.root.iterdir()] if self.root.is_dir() else []

    def mount(self, source: Source) -> None:
        """Makes and fills all volumes of a pod; raises VolumeError for the first that cannot be."""
        spec = source.pod["spec"]
        directory = self.directory(source.pod["metadata"]["uid"])
        (directory / "volumes").mkdir(parents=True, exist_ok=True)
        for volume in spec.get("volumes") or []:
            self._set_up(volume, source, directory)

    def refresh(self, source: Source) -> None:
        """Writes payloads anew where what they are made from has changed; what is gone leaves the old files."""
        directory = self.directory(source.pod["metadata"]["uid"])
        for volume in source.pod["spec"].get("volumes") or []:
            if any(kind in _PAYLOADS for kind in volume) and (directory / "volumes" / volume["name"]).exists():
                self._set_up(volume, source, directory)

    def _set_up(self, volume: Mapping[str, Any], source: Source, directory: Path) -> None:
        name = volume["name"]
        target = directory / "volumes" / name
        group = (source.pod["spec"].get("securityContext") or {}).get("fsGroup")
        try:
            kind = next(key for key in volume if key != "name" and volume[key] is not None)
            if kind == "hostPath":
                host_path.set_up(volume[kind])
            elif kind == "emptyDir":
                empty_dir.set_up(volume[kind], target)
                if group is not None:
                    os.chown(target, -1, group)
                    target.chmod(0o2777)
            elif kind in _PAYLOADS:
                self._fill(kind, volume[kind], source, target, group)
            else:
                raise VolumeError(f"volumes of type {kind} are not supported on this node")
        except StopIteration:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : it names no source') from None
        except (WeftError, OSError, ValueError, KeyError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error

    def _fill(self, kind: str, volume: Mapping[str, Any], source: Source, target: Path, group: int | None) -> None:
        mode = volume.get("defaultMode")
        try:
            payload = _PAYLOADS[kind](volume, source, DEFAULT_MODE if mode is None else mode)
        except VolumeError:
            if (target / "..data").is_symlink():  # filled once: what was there stays, as with the kubelet
                logger.warning("a volume keeps its old files", extra={"path": target})
                return
            raise
        target.mkdir(parents=True, exist_ok=True)
        if kind in ("secret", "projected") and not os.path.ismount(target):
            mounts.tmpfs(target)
        atomic_writer.write(target, payload, group)

    def path(self, pod: Object, name: str) -> Path:
        """Where the volume is on this machine; raises VolumeError."""
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] == name:
                if volume.get("hostPath"):
                    return Path(volume["hostPath"]["path"])
                return self.directory(pod["metadata"]["uid"]) / "volumes" / name
        raise VolumeError(f"no volume of the pod is named {name!r}")

    def sub_path(self, pod: Object, container: str, index: int, volume: Path, sub_path: str) -> Path:
        """A part of a volume as a mount of its own: bound by descriptor, so that no link can lead out of the volume."""
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise VolumeError(f"subPath {sub_path!r} must be relative and without '..'")
        target = self.directory(pod["metadata"]["uid"]) / "subpaths" / container / str(index)
        try:
            try:
                descriptor = open_in_root(volume, sub_path, os.O_PATH)
            except FileNotFoundError:
                make_directories(volume, sub_path)
                descriptor = open_in_root(volume, sub_path, os.O_PATH)
        except OSError as error:
            raise VolumeError(f"failed to prepare subPath {sub_path!r}: {error.strerror}") from error
        try:
            source = f"/proc/self/fd/{descriptor}"
            if target.exists():
                mounts.unmount(target)
            elif os.path.isdir(source):
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            mounts.bind(source, target)
        finally:
            os.close(descriptor)
        return target

    def message_file(self, uid: str, container: str, attempt: int) -> Path:
        """An empty file, writable by every user, for a container's termination message."""
        path = self._message_path(uid, container, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o666)
        return path

    def read_message(self, uid: str, container: str, attempt: int) -> str:
        """What the container left there, at most 4096 bytes; empty where there is nothing."""
        try:
            with self._message_path(uid, container, attempt).open("rb") as file:
                return file.read(_MESSAGE_LIMIT).decode(errors="replace")
        except OSError:
            return ""

    def _message_path(self, uid: str, container: str, attempt: int) -> Path:
        return self.directory(uid) / "containers" / container / str(attempt)

    def hosts_file(self, pod: Object, hostname: str, address: str) -> Path:
        """/etc/hosts, one for all containers of the pod (kubernetes, `pkg/kubelet/kubelet_pods.go`)."""
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
        ]
        lines += [
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        lines.append(f"{address}\t{hostname}")
        aliases = pod["spec"].get("hostAliases") or []
        if aliases:
            lines += ["", "# Entries added by HostAliases."]
            lines += ["\t".join([alias["ip"], *(alias.get("hostnames") or [])]) for alias in aliases]
        path = self.directory(pod["metadata"]["uid"]) / "etc-hosts"
        data = ("\n".join(lines) + "\n").encode()
        # Containers have it mounted: the file must stay the same one, and keep what they wrote into it.
        if not path.exists() or f"{address}\t{hostname}\n".encode() not in path.read_bytes():
            if path.exists():
                path.write_bytes(data)
            else:
                write_atomic(path, data, sync=False)
        return path

    def remove(self, uid: str, *, everything: bool) -> None:
        """Unmounts and removes the pod's volumes, or all its files."""
        directory = self.directory(uid)
        mounts.unmount_below(directory)
        for path in [directory] if everything else [directory / "volumes", directory / "subpaths"]:
            # Never through a mount that could not be undone: what is behind it is not ours.
            if path.exists() and not _has_mounts(path):
                shutil.rmtree(path)


def _has_mounts(directory: Path) -> bool:
    prefix = f"{directory}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(f"{line.split()[4].encode().decode('unicode_escape')}/".startswith(prefix) for line in lines)
