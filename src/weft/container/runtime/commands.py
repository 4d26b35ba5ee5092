"""The OCI runtime as a program: which one, and its verbs besides `create` and `exec` (those go through conmon)."""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weft.container.runtime import cgroups
from weft.core.errors import UnsupportedError
from weft.core.process import ProcessError, run
from weft.core.settings import Paths

logger = logging.getLogger(__name__)

_KNOWN = ("crun", "runc")


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A runtime and the directory in which it keeps the state of this instance's containers."""

    name: str
    path: str
    root: Path

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.path, "--root", str(self.root))

    async def start(self, id: str) -> None:
        await run(*self.argv, "start", id)

    async def pause(self, id: str) -> None:
        await run(*self.argv, "pause", id)

    async def resume(self, id: str) -> None:
        await run(*self.argv, "resume", id)

    async def update(self, id: str, resources: Mapping[str, Any]) -> None:
        """Other limits for one that runs: `linux.resources` of the OCI runtime specification."""
        with tempfile.NamedTemporaryFile("wb", prefix="weft-", suffix=".json") as file:
            file.write(orjson.dumps(resources))
            file.flush()
            await run(*self.argv, "update", "--resources", file.name, id)

    async def delete(self, id: str) -> None:
        """Kills what still runs and forgets the container; one that it does not know is no error."""
        if not (self.root / id).exists():
            return
        try:
            await run(*self.argv, "delete", "--force", id)
        except ProcessError as error:
            if (self.root / id).exists():
                logger.warning("the runtime could not delete a container", extra={"id": id, "cause": error.stderr})


def choose(wished: str, paths: Paths) -> OciRuntime:
    """`auto` prefers crun and falls back to runc, saying why; a name means that one. Raises UnsupportedError."""
    if wished not in ("auto", *_KNOWN):
        raise UnsupportedError(f"cannot use runtime {wished!r}: known are {', '.join(_KNOWN)}")
    reasons = []
    for name in _KNOWN if wished == "auto" else (wished,):
        path = shutil.which(name)
        if path is None:
            reasons.append(f"{name} is not installed")
            continue
        try:
            if name == "crun":
                cgroups.prepare_host(paths)
        except UnsupportedError as error:
            reasons.append(f"{name}: {error}")
            continue
        if reasons:
            logger.warning("using %s: %s", name, "; ".join(reasons))
        return OciRuntime(name, path, paths.run / name)
    raise UnsupportedError(f"cannot run containers: {'; '.join(reasons)}")
