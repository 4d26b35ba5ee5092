"""Seccomp filters that crun has compiled once need not be compiled again: that is half of the time of a `create`.

crun leaves the program of a container in its state directory, and takes one by annotation instead of compiling
(crun(1), run.oci.seccomp_bpf_data). A crun without either compiles as before: the profile stays in the configuration.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import orjson

_ANNOTATION = "run.oci.seccomp_bpf_data"


class CompiledFilters:
    """Programs by the profile that they were made from, in memory only."""

    def __init__(self) -> None:
        self._programs: dict[str, str] = {}

    def apply(self, configuration: dict[str, Any]) -> None:
        """Adds the program to a configuration, if it is known."""
        program = self._programs.get(_key(configuration))
        if program is not None:
            configuration["annotations"] = {**configuration.get("annotations", {}), _ANNOTATION: program}

    def learn(self, configuration: dict[str, Any], state: Path) -> None:
        """Keeps the program of a container that was created from a configuration."""
        key = _key(configuration)
        if not key or key in self._programs:
            return
        try:
            program = (state / "seccomp.bpf").read_bytes()
        except OSError:
            return
        if program and len(program) % 8 == 0:  # struct sock_filter
            self._programs[key] = base64.b64encode(program).decode()


def _key(configuration: dict[str, Any]) -> str:
    profile = configuration["linux"].get("seccomp")
    return hashlib.sha256(orjson.dumps(profile)).hexdigest() if profile else ""
