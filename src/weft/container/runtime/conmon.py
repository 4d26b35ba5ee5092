"""conmon: the monitor that owns a container's stdio, log and exit status, so that containers outlive Weft.

`create` and `execute` start a detached conmon and return what it reports on its sync pipe: the pid of the process,
or the runtime's own error text. What conmon leaves: `<exits>/<id>` with the exit code, the attach socket and the
`ctl` fifo in the bundle directory, a log in the k8s-file format (conmon(8)).
"""

import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from weft.container.runtime import cgroups, pidfd
from weft.core.errors import UnsupportedError, WeftError

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class RuntimeFailure(WeftError):
    """The OCI runtime could not create the process; the text is the runtime's own."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """A process and its monitor."""

    pid: int
    monitor_pid: int


@dataclass(frozen=True, slots=True)
class Job:
    """What conmon shall do. `directory` is the bundle: conmon works in it and puts its socket and fifos there."""

    id: str
    container_id: str
    name: str
    directory: Path
    exits: Path
    log: Path | None
    runtime: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False
    process: Path | None = None

    def argv(self, conmon: str) -> list[str]:
        runtime, *arguments = self.runtime
        argv = [
            conmon, "--api-version", "1", "-c", self.container_id, "-u", self.id, "-n", self.name, "-r", runtime,
            *(f"--runtime-arg={argument}" for argument in arguments),
            "-b", str(self.directory), "-p", str(self.directory / "pid"), "-P", str(self.directory / "conmon.pid"),
            "--exit-dir", str(self.exits), "--full-attach", "--no-sync-log", "--log-level", "error",
            "-l", f"k8s-file:{self.log}" if self.log else "none:",
        ]  # fmt: skip
        argv += ["-t"] * self.tty + ["-i"] * self.stdin + ["--leave-stdin-open"] * self.leave_stdin_open
        if self.process is not None:
            argv += ["-e", "--exec-attach", "--exec-process-spec", str(self.process)]
        return argv


async def create(job: Job, conmon: str, monitor_cgroup: str) -> Monitored:
    """`runtime create`; raises RuntimeFailure."""
    launch = _Launch(job, conmon, monitor_cgroup)
    try:
        launch.begin()
        return Monitored(await launch.result(), launch.monitor_pid)
    finally:
        launch.close()


class Execution:
    """`runtime exec`: attach first, then `begin`, so that no output is lost; then `exit_code`."""

    def __init__(self, job: Job, conmon: str, monitor_cgroup: str) -> None:
        self._launch = _Launch(job, conmon, monitor_cgroup)
        self.pid = 0

    async def ready(self) -> None:
        """Returns once the attach socket is there."""
        self._launch.begin()
        await self._launch.attachable()

    async def begin(self) -> int:
        """Lets the process start; returns its pid. Raises RuntimeFailure."""
        self._launch.begin()
        self.pid = await self._launch.result()
        return self.pid

    async def exit_code(self) -> int:
        """Waits for the end of the process."""
        return await self._launch.result()

    def close(self) -> None:
        self._launch.close()


class _Launch:
    """One conmon and our ends of its pipes (sync: pid, error or exit code; start: go on; attach: socket is there)."""

    def __init__(self, job: Job, conmon: str, monitor_cgroup: str) -> None:
        self._buffer = b""
        sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
        start_read, start_write = os.pipe2(os.O_CLOEXEC)
        attach_read, attach_write = os.pipe2(os.O_CLOEXEC)
        self._sync, self._start, self._attach = sync_read, start_write, attach_read
        theirs = (sync_write, start_read, attach_write)
        environment = _ENVIRONMENT | {
            "_OCI_SYNCPIPE": str(sync_write),
            "_OCI_STARTPIPE": str(start_read),
            "_OCI_ATTACHPIPE": str(attach_write),
        }
        try:
            self._process = subprocess.Popen(  # by vfork: 1 ms
                job.argv(conmon), cwd=job.directory, env=environment, pass_fds=theirs,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except FileNotFoundError as error:
            self.close()
            raise UnsupportedError("cannot run conmon: it is not installed") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._job = job
        if monitor_cgroup:
            cgroups.move(self._process.pid, monitor_cgroup)

    @property
    def monitor_pid(self) -> int:
        return int((self._job.directory / "conmon.pid").read_text())

    def begin(self) -> None:
        """The start pipe: conmon, and with --exec-attach the runtime too, waits for a word."""
        try:
            os.write(self._start, b"\n")
        except BrokenPipeError:
            pass  # it died; the sync pipe tells

    async def attachable(self) -> None:
        if not await self._line(self._attach):
            raise RuntimeFailure(self._last_words())

    async def result(self) -> int:
        """The next number on the sync pipe."""
        line = await self._line(self._sync)
        await self._reap()
        if not line:
            raise RuntimeFailure(self._last_words())
        report = json.loads(line, strict=False)
        number = int(report.get("data", -1))
        if number < 0:
            raise RuntimeFailure(str(report.get("message") or "").strip() or f"runtime exited with {-number}")
        return number

    async def _reap(self) -> None:
        """The first conmon forks the monitor and ends; it has written conmon.pid then."""
        if self._process.poll() is None:
            descriptor = os.pidfd_open(self._process.pid)
            try:
                await pidfd.readable(descriptor)
            finally:
                os.close(descriptor)
            self._process.wait()

    async def _line(self, descriptor: int) -> bytes:
        while b"\n" not in self._buffer:
            await pidfd.readable(descriptor)
            data = os.read(descriptor, 65536)
            if not data:
                break
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        text = (self._process.stderr.read() or b"").decode(errors="replace").strip()
        return text or "conmon ended without a report"

    def close(self) -> None:
        for descriptor in (self._sync, self._start, self._attach):
            if descriptor >= 0:
                os.close(descriptor)
        self._sync = self._start = self._attach = -1
        process = getattr(self, "_process", None)
        if process is not None and process.stderr is not None:
            process.stderr.close()


def connect(directory: Path) -> socket.socket:
    """The attach socket of a bundle; by way of /proc, as its path may be longer than sun_path holds (108 bytes)."""
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{parent}/attach")
        connection.setblocking(False)
        return connection
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(parent)


def resize(directory: Path, width: int, height: int) -> None:
    """Tells conmon the terminal's size (message 1 of its control fifo)."""
    try:
        descriptor = os.open(directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # it has just ended
    try:
        os.write(descriptor, f"1 {height} {width}\n".encode())
    finally:
        os.close(descriptor)
