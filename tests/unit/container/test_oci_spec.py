"""The OCI configuration: Docker's defaults, and what changes them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from weft.container.runtime import defaults
from weft.container.runtime.oci_spec import Device, Surroundings, capability_set, command, config, environment, limits
from weft.container.runtime.users import User
from weft.container.spec import ContainerSpec, Mount, Resources
from weft.core.errors import InvalidError

ALL = frozenset(defaults.ALL_CAPABILITIES)
IMAGE: dict[str, Any] = {"Entrypoint": ["/entry"], "Cmd": ["serve"], "Env": ["PATH=/p", "A=1"], "WorkingDir": "/w"}
AROUND = Surroundings(
    rootfs=Path("/root/fs"),
    image_config=IMAGE,
    user=User(1000, 1000, (10,), "/home/bob"),
    hostname="loom",
    cgroup="/weft/abc",
    mounts=(),
    namespaces={"mount": None, "network": "/run/netns/x", "pid": None, "ipc": None, "uts": None},
    held_capabilities=ALL,
    seccomp_profile={"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []},
    machine="x86_64",
    kernel=(6, 1),
)


def test_defaults() -> None:
    made = config(ContainerSpec("i"), AROUND)
    process, linux = made["process"], made["linux"]
    assert process["args"] == ["/entry", "serve"]
    assert process["cwd"] == "/w"
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [10, 1000]}
    assert process["env"] == ["PATH=/p", "HOSTNAME=loom", "A=1", "HOME=/home/bob"]
    assert sorted(process["capabilities"]["bounding"]) == sorted(defaults.CAPABILITIES)
    assert "inheritable" not in process["capabilities"]
    assert linux["cgroupsPath"] == "/weft/abc"
    assert {"type": "network", "path": "/run/netns/x"} in linux["namespaces"]
    assert {"type": "pid"} in linux["namespaces"]
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["hostname"] == "loom"
    assert {mount["destination"]: "ro" in mount["options"] for mount in made["mounts"]}["/sys"]


def test_privileged_lifts_everything() -> None:
    made = config(ContainerSpec("i", privileged=True), AROUND)
    assert made["process"]["capabilities"]["bounding"] == sorted(ALL)
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & made["linux"].keys()
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert not any("ro" in mount["options"] for mount in made["mounts"])


def test_mounts_come_in_order_and_replace_defaults() -> None:
    mounts = (Mount("/a/b", "/x"), Mount("/a", "/y", read_only=True), Mount("/dev/shm", type="tmpfs", size=5))
    made = config(ContainerSpec("i"), replace(AROUND, mounts=mounts))
    targets = [mount["destination"] for mount in made["mounts"]]
    assert targets.index("/a") < targets.index("/a/b")
    assert targets.count("/dev/shm") == 1
    shm = made["mounts"][targets.index("/dev/shm")]
    assert "size=5" in shm["options"]
    assert "ro" in made["mounts"][targets.index("/a")]["options"]
    assert "rootfsPropagation" not in made["linux"]
    shared = replace(AROUND, mounts=(Mount("/m", "/m", propagation="rshared"),))
    assert config(ContainerSpec("i"), shared)["linux"]["rootfsPropagation"] == "rshared"


@pytest.mark.parametrize("mount", [Mount("/", "/x"), Mount("rel", "/x"), Mount("/a", "/x", propagation="up")])
def test_bad_mounts(mount: Mount) -> None:
    with pytest.raises(InvalidError):
        config(ContainerSpec("i"), replace(AROUND, mounts=(mount,)))


def test_devices_are_made_and_allowed() -> None:
    device = Device("/dev/fuse", "c", 10, 229, 0o666, 0, 0, "rw")
    linux = config(ContainerSpec("i"), replace(AROUND, devices=(device,)))["linux"]
    assert linux["devices"][0]["path"] == "/dev/fuse"
    assert {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"} in linux["resources"]["devices"]
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "wanted"),
    [
        (None, None, ["/entry", "serve"]),
        (None, ("other",), ["/entry", "other"]),
        (("/own",), None, ["/own"]),
        (("/own",), ("x",), ["/own", "x"]),
        (("",), ("x",), ["x"]),
    ],
)
def test_command(entrypoint: tuple[str, ...] | None, arguments: tuple[str, ...] | None, wanted: list[str]) -> None:
    assert command(ContainerSpec("i", entrypoint=entrypoint, command=arguments), IMAGE) == wanted


def test_no_command() -> None:
    with pytest.raises(InvalidError, match="no command specified"):
        command(ContainerSpec("i"), {})


@pytest.mark.parametrize(
    ("add", "drop", "count", "has"),
    [
        ((), (), 14, "CAP_CHOWN"),
        (("NET_ADMIN",), (), 15, "CAP_NET_ADMIN"),
        (("cap_sys_time",), ("ALL",), 1, "CAP_SYS_TIME"),
        (("ALL",), ("SYS_ADMIN",), len(ALL) - 1, "CAP_SYS_TIME"),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], count: int, has: str) -> None:
    found = capability_set(ContainerSpec("i", cap_add=add, cap_drop=drop), ALL)
    assert len(found) == count
    assert has in found


def test_capabilities_never_exceed_ours() -> None:
    held = ALL - {"CAP_SYS_RESOURCE", "CAP_CHOWN"}
    assert not set(capability_set(ContainerSpec("i", cap_add=("ALL",)), held)) - held
    with pytest.raises(InvalidError):
        capability_set(ContainerSpec("i", cap_add=("FLY",)), ALL)


def test_environment_can_unset() -> None:
    spec = ContainerSpec("i", env=("A", "B=x=y"), tty=True)
    assert environment(spec, IMAGE, "h", "/") == ["PATH=/p", "HOSTNAME=h", "TERM=xterm", "B=x=y", "HOME=/"]


def test_limits() -> None:
    found = limits(Resources(memory=100, cpu_quota=5, pids=7), swap_accounting=True)
    assert found == {
        "memory": {"limit": 100, "swap": 200},
        "cpu": {"quota": 5, "period": 100_000},
        "pids": {"limit": 7},
    }
    assert limits(Resources(memory=100), swap_accounting=False) == {"memory": {"limit": 100}}
    assert limits(Resources(), swap_accounting=True) == {}
