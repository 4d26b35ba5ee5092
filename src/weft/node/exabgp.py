"""ExaBGP as a child process: one for each peer, so that a change of one does not disturb the others.

In: a `BgpPeer` and what to announce to it. Out: a BGP session, and its state. The child is started anew with growing
delays when it ends, told everything again, and ends with this process. It runs as Debian's user `exabgp` where there
is one. Commands and news pass through two FIFOs, which `_HELPER` joins to ExaBGP's pipes.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from weft.core.errors import UnavailableError, UnsupportedError, WeftError
from weft.network.routing.bgp import Announcement, BgpPeer, commands, configuration

logger = logging.getLogger(__name__)
_USER = "exabgp"
_PR_SET_PDEATHSIG = 1
_FIRST_DELAY, _MAX_DELAY, _STEADY = 1.0, 60.0, 60.0
_STOP_SECONDS = 3.0
_LOG_TAIL = 400
_STATES = {"connected": "OpenSent", "up": "Established", "down": "Idle"}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SETTINGS = {
    "daemon.drop": "false",
    "daemon.daemonize": "false",
    "daemon.pid": "",
    "tcp.bind": "",
    "api.ack": "false",
    "api.cli": "false",
    "log.destination": "stdout",
    "log.level": "WARNING",
}
# Its first child reads commands until we close them, its second ends with ExaBGP.
_HELPER = '#!/bin/sh\ncat "$1" &\nexec cat >"$2"\n'
_libc = ctypes.CDLL(None, use_errno=True)


class Session:
    """`run` keeps a session until it is cancelled. `changed` is called when `state` or `message` is another."""

    def __init__(self, peer: BgpPeer, directory: Path, changed: Callable[[], None]) -> None:
        self.peer = peer
        self.state = "Idle"
        self.message = ""
        self._directory = directory
        self._changed = changed
        self._wanted: frozenset[Announcement] = frozenset()
        self._told: frozenset[Announcement] = frozenset()
        self._pipe: _Pipe | None = None

    @property
    def announced(self) -> int:
        return len(self._wanted)

    def announce(self, wanted: frozenset[Announcement]) -> None:
        """All of what the peer is to know from now on."""
        self._wanted = wanted
        if self._pipe is not None and (lines := commands(self._told, wanted)):
            self._told = wanted
            self._pipe.write("".join(f"{line}\n" for line in lines).encode())

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        try:
            while True:
                began = loop.time()
                try:
                    message = await self._run_once()
                except (WeftError, OSError) as error:
                    message = str(error)
                self._become("Idle", message)
                if loop.time() - began > _STEADY:
                    delay = _FIRST_DELAY
                logger.warning("no BGP session", extra={"peer": self.peer.name, "error": message, "delay": delay})
                await asyncio.sleep(delay)
                delay = min(delay * 2, _MAX_DELAY)
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _become(self, state: str, message: str = "") -> None:
        if (state, message) != (self.state, self.message):
            self.state, self.message = state, message
            self._changed()

    async def _run_once(self) -> str:
        """Until ExaBGP ends; its last words."""
        program = shutil.which("exabgp", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if program is None:
            raise UnsupportedError("cannot speak BGP: the package exabgp is not installed")
        source = self.peer.source or _source(self.peer.address)
        log = self._prepare(source)
        pipe = _Pipe(self._directory / "commands", self._directory / "events", self._hear)
        try:
            process = self._spawn(program, log)
            try:
                self._pipe, self._told = pipe, frozenset()
                self.announce(self._wanted)
                await _ended(process)
            finally:
                self._pipe = None
                await _stop(process)
        finally:
            pipe.close()
        said = log.read_text(errors="replace")[-_LOG_TAIL:].strip().splitlines()
        return f"ExaBGP ended with {process.returncode}" + (f": {said[-1]}" if said else "")

    def _prepare(self, source: IPv4Address) -> Path:
        """The files that ExaBGP reads, in a directory made anew."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        helper, log = self._directory / "helper", self._directory / "log"
        files = [log, self._directory / "exabgp.conf"]
        helper.write_text(_HELPER)
        log.touch()
        for name in ("commands", "events"):
            os.mkfifo(self._directory / name, 0o600)
            files.append(self._directory / name)
        run = f"/bin/sh {helper} {self._directory / 'commands'} {self._directory / 'events'}"
        files[1].touch(0o600)  # it may hold a password
        files[1].write_text(configuration(self.peer, source, run))
        if (user := _user()) is not None:
            for file in files:
                os.chown(file, user.pw_uid, user.pw_gid)
        return log

    def _spawn(self, program: str, log: Path) -> "subprocess.Popen[bytes]":
        user = _user()
        with log.open("ab") as output:
            return subprocess.Popen(
                [program, str(self._directory / "exabgp.conf")],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", preexec_fn=_end_with_parent,
                env={f"exabgp.{key}": value for key, value in _SETTINGS.items()} | {"PATH": _PATH},
                user=user.pw_uid if user else None, group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )  # fmt: skip

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if isinstance(said, dict) and said.get("type") == "state":
            neighbor = said["neighbor"]
            state = _STATES.get(neighbor["state"])
            if state is not None:
                self._become(state, str(neighbor.get("reason") or "") if state == "Idle" else "")


class _Pipe:
    """Both FIFOs, open for reading and writing, so that neither ever ends while we live."""

    def __init__(self, commands: Path, events: Path, hear: Callable[[bytes], None]) -> None:
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._commands = os.open(commands, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._events = os.open(events, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._unsent = b""
        self._unread = b""
        self._loop.add_reader(self._events, self._read)

    def write(self, data: bytes) -> None:
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[os.write(self._commands, self._unsent) :]
        if self._unsent:
            self._loop.add_writer(self._commands, self._flush)
        else:
            self._loop.remove_writer(self._commands)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._unread += os.read(self._events, 65536)
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._hear(line)

    def close(self) -> None:
        self._loop.remove_writer(self._commands)
        self._loop.remove_reader(self._events)
        os.close(self._commands)
        os.close(self._events)


def _user() -> pwd.struct_passwd | None:
    """Who ExaBGP runs as; None where that is ourselves."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_USER)
    return None


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _source(peer: IPv4Address) -> IPv4Address:
    """By which address of this machine a peer is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(peer), 9))
        except OSError as error:
            raise UnavailableError(f"cannot reach {peer}: {error.strerror}") from error
        return IPv4Address(probe.getsockname()[0])


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _stop(process: "subprocess.Popen[bytes]") -> None:
    """With a NOTIFICATION to the peer where it still can (RFC 4271, 6.7)."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_ended(process), _STOP_SECONDS)
        process.kill()
    process.wait()
