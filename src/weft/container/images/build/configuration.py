"""Instructions that change nothing but the image's config. Pure: a config and an instruction in, its new values out.

`docker build` has them as steps; `docker commit --change` and `docker import --change` have them alone.
Source: Dockerfile reference; the config's keys are Docker's (OCI image spec, config.md).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weft.container.images.build import words
from weft.container.images.build.parser import Instruction
from weft.container.images.build.words import WordError
from weft.core.errors import InvalidError

SHELL = ("/bin/sh", "-c")
Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """What variables mean in an instruction."""

    variables: Mapping[str, str]
    escape: str = "\\"

    def expand(self, text: str) -> str:
        return words.expand(text, self.variables, self.escape)

    def split(self, text: str) -> list[str]:
        return words.split(text, self.escape)

    def pairs(self, text: str, keyword: str) -> list[tuple[str, str]]:
        return words.pairs(text, keyword, self.variables, self.escape)


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in config.get("Env") or [] if "=" in entry)


def _env(config: Config, instruction: Instruction, scope: Scope) -> str:
    given = scope.pairs(instruction.text, "ENV")
    config["Env"] = [f"{key}={value}" for key, value in (environment(config) | dict(given)).items()]
    return " ".join(f"{key}={value}" for key, value in given)


def _label(config: Config, instruction: Instruction, scope: Scope) -> str:
    given = scope.pairs(instruction.text, "LABEL")
    config["Labels"] = {**(config.get("Labels") or {}), **dict(given)}
    return " ".join(f"{key}={value}" for key, value in given)


def _maintainer(config: Config, instruction: Instruction, scope: Scope) -> str:
    return instruction.text


def _user(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["User"] = scope.expand(instruction.text)
    return str(config["User"])


def _stopsignal(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["StopSignal"] = scope.expand(instruction.text)
    return str(config["StopSignal"])


def _expose(config: Config, instruction: Instruction, scope: Scope) -> str:
    ports = dict(config.get("ExposedPorts") or {})
    for word in scope.split(instruction.text):
        for part in scope.expand(word).split():
            ports |= {port: {} for port in _ports(part)}
    config["ExposedPorts"] = ports
    return instruction.text


def _ports(text: str) -> Sequence[str]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise InvalidError(f"invalid containerPort: {text}")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 0 < first <= last < 65536:
        raise InvalidError(f"invalid containerPort: {text}")
    return [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _volume(config: Config, instruction: Instruction, scope: Scope) -> str:
    given = instruction.words if instruction.words is not None else scope.split(instruction.text)
    paths = [scope.expand(word) for word in given]
    if not paths or "" in paths:
        raise WordError("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}
    return f"[{' '.join(paths)}]"


def command(config: Mapping[str, Any], instruction: Instruction) -> list[str]:
    """CMD, ENTRYPOINT, RUN: the words of the exec form, or the text for the shell."""
    if instruction.words is not None:
        return list(instruction.words)
    return [*(config.get("Shell") or SHELL), instruction.text]


def _cmd(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["Cmd"] = command(config, instruction)
    return json.dumps(config["Cmd"])


def _entrypoint(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["Entrypoint"] = command(config, instruction)
    return json.dumps(config["Entrypoint"])


def _shell(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["Shell"] = list(instruction.words or SHELL)
    return json.dumps(config["Shell"])


def _onbuild(config: Config, instruction: Instruction, scope: Scope) -> str:
    config["OnBuild"] = [*(config.get("OnBuild") or []), instruction.text]
    return instruction.text


def _healthcheck(config: Config, instruction: Instruction, scope: Scope) -> str:
    kind, *rest = instruction.text.split(None, 1)
    if kind.upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
        return instruction.text
    if kind.upper() != "CMD" or not rest:
        raise WordError(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
    check: Config = {"Test": ["CMD", *instruction.words] if instruction.words is not None else ["CMD-SHELL", rest[0]]}
    for flag, key in (
        ("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"),
    ):  # fmt: skip
        if flag in instruction.flags:
            check[key] = _nanoseconds(instruction.flags[flag])
    if "retries" in instruction.flags:
        if not re.fullmatch(r"\d{1,9}", instruction.flags["retries"], re.ASCII):
            raise WordError(f"--retries must be a number, not {instruction.flags['retries']!r}")
        check["Retries"] = int(instruction.flags["retries"])
    config["Healthcheck"] = check
    return instruction.text


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _nanoseconds(text: str) -> int:
    """Go's duration: `1m30s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)", text, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise WordError(f"invalid duration {text!r}")
    return int(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1e9)


_KINDS: Mapping[str, Callable[[Config, Instruction, Scope], str]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
}
KEYWORDS = frozenset(_KINDS)


def apply(config: Config, instruction: Instruction, scope: Scope) -> str:
    """Changes `config` and returns the instruction as an image's history shows it. Raises InvalidError."""
    return f"{instruction.keyword} {_KINDS[instruction.keyword](config, instruction, scope)}"
