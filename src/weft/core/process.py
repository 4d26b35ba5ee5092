"""Running other programs."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.core.errors import UnsupportedError, WeftError


class ProcessError(WeftError):
    """A program that we ran failed; the text holds its own last words."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr
        super().__init__(f"{argv[0]} failed with exit code {code}: {stderr.strip()[-2000:]}")


@dataclass(frozen=True, slots=True)
class Output:
    """What a finished program wrote."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    *argv: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, check: bool = True
) -> Output:
    """Runs a program to its end and collects its output.

    Raises UnsupportedError where the program is not installed, ProcessError (with `check`) where it fails.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env) if env is not None else None,
        )
    except FileNotFoundError as error:
        raise UnsupportedError(f"cannot run {argv[0]}: it is not installed") from error
    stdout, stderr = await process.communicate(stdin)
    code = process.returncode or 0
    if check and code != 0:
        raise ProcessError(argv, code, stderr.decode(errors="replace"))
    return Output(code, stdout, stderr)
