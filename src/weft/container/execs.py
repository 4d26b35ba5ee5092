"""Further processes in a running container: `runtime exec` under a conmon of its own, attached from its first byte.

Their files live below the container's bundle and go with it.
"""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import orjson

from weft.container.attach import AttachStream
from weft.container.base import ExecSpec
from weft.container.lifecycle import Parts
from weft.container.records import Record
from weft.container.runtime import conmon, limits, oci_spec
from weft.container.runtime.rootfs import read_text
from weft.container.runtime.users import User, resolve
from weft.container.spec import Container, State
from weft.core.errors import ConflictError, InvalidError, WeftError
from weft.core.ids import hex_id

logger = logging.getLogger(__name__)


class Execs:
    """Starts processes; keeps a task for each until it has ended."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tasks: set[asyncio.Task[int]] = set()

    async def start(self, record: Record, spec: ExecSpec) -> AttachStream:
        """Raises ConflictError where the container does not run, InvalidError where the program cannot be started."""
        check_running(record.container)
        parts, id = self._parts, hex_id()
        bundle = parts.bundles.directory(record.id)
        directory = bundle / "exec" / id[:16]
        directory.mkdir(parents=True)
        execution: conmon.Execution | None = None
        try:
            (directory / "process.json").write_bytes(orjson.dumps(_process(bundle, spec)))
            job = conmon.Job(
                id=id,
                container_id=record.id,
                name=record.container.name,
                directory=directory,
                exits=directory / "exits",
                log=None,
                runtime=parts.runtime.argv,
                tty=spec.tty,
                stdin=spec.stdin,
                process=directory / "process.json",
            )
            job.exits.mkdir()
            execution = conmon.Execution(job, parts.conmon, parts.monitor_cgroup)
            await execution.ready()
            connection = conmon.connect(directory)
            try:
                pid = await execution.begin()
            except BaseException:
                connection.close()
                raise
        except BaseException as error:
            if execution is not None:
                execution.close()
            shutil.rmtree(directory, ignore_errors=True)
            if isinstance(error, WeftError):
                raise InvalidError(_failure(str(error))) from error
            raise
        task = asyncio.get_running_loop().create_task(self._end(execution, directory))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        async def wait() -> int:
            return await asyncio.shield(task)

        stream = AttachStream(
            stdin=spec.stdin,
            hang_up=True,
            wait=wait,
            resize=lambda width, height: conmon.resize(directory, width, height),
            pid=pid,
        )
        stream.connected(connection)
        return stream

    async def _end(self, execution: conmon.Execution, directory: Path) -> int:
        try:
            return await execution.exit_code()
        except conmon.RuntimeFailure as error:
            logger.debug("an exec ended without an exit code", extra={"cause": error})
            return 137
        finally:
            execution.close()
            shutil.rmtree(directory, ignore_errors=True)

    async def close(self) -> None:
        """Lets go of all; their processes go on."""
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)


def check_running(container: Container) -> None:
    """Raises ConflictError in docker's words."""
    if container.state is State.PAUSED:
        raise ConflictError(f"Container {container.id} is paused, unpause the container before exec")
    if container.state is not State.RUNNING:
        raise ConflictError(f"container {container.id} is not running")


def _process(bundle: Path, spec: ExecSpec) -> dict[str, Any]:
    """The container's own process, with what the exec changes."""
    if not spec.command:
        raise InvalidError("No exec command specified")
    configuration = orjson.loads((bundle / "config.json").read_bytes())
    process: dict[str, Any] = configuration["process"]
    home = next((pair[5:] for pair in process["env"] if pair.startswith("HOME=")), "/")
    if spec.user is not None and spec.user != "":
        root = Path(configuration["root"]["path"])
        user: User = resolve(spec.user, read_text(root, "/etc/passwd"), read_text(root, "/etc/group"))
        process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": sorted({user.gid, *user.groups})}
        home = user.home
    environment = dict(pair.partition("=")[::2] for pair in process["env"])
    environment["HOME"] = home
    if spec.tty:
        environment.setdefault("TERM", "xterm")
    environment |= dict(pair.partition("=")[::2] for pair in spec.env)
    if spec.privileged:
        process["capabilities"] = oci_spec.process_capabilities(sorted(limits.held_capabilities()))
    return process | {
        "args": list(spec.command),
        "env": [f"{key}={value}" for key, value in environment.items()],
        "cwd": spec.working_dir or process["cwd"],
        "terminal": spec.tty,
    }


def _failure(message: str) -> str:
    text = f"OCI runtime exec failed: exec failed: {message}"
    for cause in ("No such file or directory", "Permission denied", "Is a directory"):
        text = text.replace(cause, cause.lower())
    return text
