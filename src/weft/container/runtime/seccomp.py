"""Docker's seccomp profile -> the `linux.seccomp` of an OCI configuration. Pure.

Docker's profile names architectures in `archMap` and makes rules depend on capabilities, architecture and kernel
(`includes`, `excludes`); the runtime wants the outcome for one container (moby, profiles/seccomp).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from weft.core.errors import InvalidError

_MACHINES = {  # uname -m -> Docker's name, libseccomp's name
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
}


def kernel_version(release: str) -> tuple[int, int]:
    """`6.1.0-13-amd64` -> (6, 1)."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def linux_seccomp(
    profile: Mapping[str, Any], capabilities: Iterable[str], machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """The filter for a container with these capabilities; raises InvalidError for a profile that is none."""
    if not isinstance(profile, Mapping) or "defaultAction" not in profile:
        raise InvalidError("cannot use seccomp profile: it has no defaultAction")
    held = frozenset(capabilities)
    arch, native = _MACHINES.get(machine, (machine, ""))
    architectures = list(profile.get("architectures") or [])
    for entry in profile.get("archMap") or []:
        if entry.get("architecture") == native:
            architectures = [native, *(entry.get("subArchitectures") or [])]
    syscalls = []
    for rule in profile.get("syscalls") or []:
        if not _applies(rule, held, arch, kernel):
            continue
        names = list(rule.get("names") or ([rule["name"]] if rule.get("name") else []))
        entry = {"names": names, "action": rule["action"]}
        if rule.get("args"):
            entry["args"] = [
                {key: argument[key] for key in ("index", "value", "valueTwo", "op") if key in argument}
                for argument in rule["args"]
            ]
        if rule.get("errnoRet") is not None:
            entry["errnoRet"] = rule["errnoRet"]
        syscalls.append(entry)
    result: dict[str, Any] = {"defaultAction": profile["defaultAction"], "syscalls": syscalls}
    if architectures:
        result["architectures"] = architectures
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    if profile.get("flags"):
        result["flags"] = profile["flags"]
    return result


def _applies(rule: Mapping[str, Any], held: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if includes.get("caps") and not held.issuperset(includes["caps"]):
        return False
    if includes.get("minKernel") and kernel < kernel_version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    return not held.intersection(excludes.get("caps") or ())
