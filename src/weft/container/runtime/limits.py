"""What this process may hand on: capabilities, rlimits, OOM score. A nested engine holds less than it is asked for.

Each function takes a wish and returns what can be had, with a warning line where that is less.
"""

import resource
from collections.abc import Sequence
from pathlib import Path

from weft.container.runtime.defaults import ALL_CAPABILITIES
from weft.core.errors import InvalidError

_CAP_SYS_RESOURCE = "CAP_SYS_RESOURCE"

Limited = tuple[list[dict[str, object]], list[str]]


def held_capabilities() -> frozenset[str]:
    """Our bounding set: the runtime can give no more (/proc/self/status, CapBnd)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for bit, name in enumerate(ALL_CAPABILITIES) if bits >> bit & 1)
    return frozenset()


def rlimits(wished: Sequence[tuple[str, int, int]], held: frozenset[str]) -> Limited:
    """`process.rlimits`; without CAP_SYS_RESOURCE a hard limit cannot be raised, so it is clamped to ours."""
    found: list[dict[str, object]] = []
    warnings: list[str] = []
    for name, soft, hard in wished:
        key = name.lower().removeprefix("rlimit_")
        number = getattr(resource, f"RLIMIT_{key.upper()}", None)
        if number is None:
            raise InvalidError(f"invalid ulimit type: {name}")
        if hard != -1 and (soft == -1 or soft > hard):
            raise InvalidError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        ceiling = resource.getrlimit(number)[1]
        if _CAP_SYS_RESOURCE not in held and ceiling != resource.RLIM_INFINITY:
            clamped_soft, clamped_hard = (ceiling if n == -1 else min(n, ceiling) for n in (soft, hard))
            if (clamped_soft, clamped_hard) != (soft, hard):
                warnings.append(f"ulimit {key} is limited to {clamped_soft}:{clamped_hard} on this machine")
            soft, hard = clamped_soft, clamped_hard
        found.append({"type": f"RLIMIT_{key.upper()}", "soft": soft % 2**64, "hard": hard % 2**64})
    return found, warnings


def oom_score_adj(wished: int | None, held: frozenset[str]) -> tuple[int | None, list[str]]:
    """Lowering the score needs CAP_SYS_RESOURCE (proc(5)); without it our own score is the least."""
    if wished is None:
        return None, []
    if not -1000 <= wished <= 1000:
        raise InvalidError(f"Invalid value {wished}, range for oom score adj is [-1000, 1000]")
    least = int(Path("/proc/self/oom_score_adj").read_text())
    if _CAP_SYS_RESOURCE in held or wished >= least:
        return wished, []
    return least, [f"oom_score_adj is limited to {least} on this machine, {wished} was asked for"]
