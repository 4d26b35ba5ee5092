"""What the supervisor and its two processes share: the way a child tells that it is ready, and how it ends.

A child inherits one end of a pipe, named by WEFT_READY_FD, and writes one line to it: `ready`, or `error TEXT` when
it cannot start. The supervisor's death ends it (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the supervisor shares this module and stays small
    import asyncio

READY_FD = "WEFT_READY_FD"
_PR_SET_PDEATHSIG = 1


def report(line: str) -> None:
    """Tells the supervisor, once; without a supervisor it says so on standard error."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        print(f"weft: {line}", file=sys.stderr)
        return
    os.write(int(descriptor), (line.replace("\n", " ") + "\n").encode())
    os.close(int(descriptor))


def die_with_parent() -> None:
    """Asks the kernel for SIGTERM when the parent dies."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(READY_FD) and parent == 1:
        sys.exit(1)


def import_aiohttp() -> None:
    """Imports aiohttp without the system's certificates, which it would read at once (50 ms) for clients' defaults.

    Whoever speaks TLS in Weft makes a context of its own.
    """
    kept = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ |= dict.fromkeys(kept, os.devnull)
    try:
        import aiohttp.web  # noqa: F401
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main(name: str, serve: "Callable[[Path, asyncio.Event], Awaitable[None]]", argv: list[str]) -> int:
    """Runs `serve(root, stop)` of one process until SIGTERM or SIGINT; returns the exit code."""
    import asyncio

    import uvloop

    from weft.core import log
    from weft.core.errors import WeftError

    if os.environ.get(READY_FD):
        die_with_parent()
    log.configure(os.environ.get("WEFT_LOG", "INFO"))
    import_aiohttp()
    root = Path(argv[1] if len(argv) > 1 else "/")

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(root, stop)

    try:
        uvloop.run(run())
    except (WeftError, OSError) as error:
        print(f"weft {name}: {error}", file=sys.stderr)
        report(f"error {error}")
        return 1
    return 0
