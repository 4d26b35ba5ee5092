"""What this machine is and has, read from /proc, /etc and the file system: facts for the Node object."""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

KUBELET_VERSION = "v1.32.0-weft"
# Kept from pods, for the system and Weft itself.
_RESERVED_MEMORY = 100 * 2**20
_PODS = 110
# The kubelet's default eviction thresholds (kubernetes.io, "Node-pressure Eviction").
_LEAST_MEMORY = 100 * 2**20
_LEAST_DISK = 0.10
_LEAST_PIDS = 0.10


@dataclass(frozen=True, slots=True)
class Machine:
    """Sizes in bytes."""

    cpus: int
    memory: int
    disk: int
    hostname: str
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str

    def capacity(self) -> dict[str, str]:
        return {
            "cpu": str(self.cpus),
            "memory": f"{self.memory // 1024}Ki",
            "ephemeral-storage": f"{self.disk // 1024}Ki",
            "pods": str(_PODS),
        }

    def allocatable(self) -> dict[str, str]:
        least = {"memory": f"{max(self.memory - _RESERVED_MEMORY, 0) // 1024}Ki"}
        return self.capacity() | least | {"ephemeral-storage": str(int(self.disk * (1 - _LEAST_DISK)))}


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def read(directory: Path) -> Machine:
    """`directory` is where pods keep their files."""
    here = platform.uname()
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=_meminfo("MemTotal"),
        disk=shutil.disk_usage(directory).total,
        hostname=here.node,
        architecture=_ARCHITECTURES.get(here.machine, here.machine),
        kernel=here.release,
        os_image=_os_image(),
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
    )


@dataclass(frozen=True, slots=True)
class Pressure:
    """Whether the machine is short of something."""

    memory: bool
    disk: bool
    pids: bool


def pressure(directory: Path) -> Pressure:
    usage = shutil.disk_usage(directory)
    pids, most = len([name for name in os.listdir("/proc") if name.isdigit()]), int(_text("/proc/sys/kernel/pid_max"))
    return Pressure(
        memory=_meminfo("MemAvailable") < _LEAST_MEMORY,
        disk=usage.free < usage.total * _LEAST_DISK,
        pids=pids > most * (1 - _LEAST_PIDS),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"
