"""`weft up`'s own process: starts *server* and *node*, starts either again when it dies, stops both on SIGTERM.

It imports next to nothing, so that it costs next to nothing. What it knows stands in `run/weft/weft.json`:
`{"supervisor": pid, "server": pid, "node": pid, "ready": seconds}`.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from weft.cli.process import READY_FD, report
from weft.core.files import write_atomic

PARTS = ("server", "node")
_BACKOFF_MAX = 5.0
_STOP_SECONDS = 15.0
_LOG_BYTES = 16 * 1024 * 1024


class Part:
    """One of the two processes."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.ready = False
        self.ever_ready = False
        self.error = ""
        self.started = 0.0
        self.restart_at = 0.0
        self.backoff = 0.1

    def start(self) -> None:
        self.pipe, write_end = os.pipe()
        os.set_blocking(self.pipe, False)
        log = self.root / "var/lib/weft/log" / f"{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"weft.cli.{self.name}", str(self.root)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(write_end,),
                env={**os.environ, READY_FD: str(write_end)},
            )
        os.close(write_end)
        self.ready, self.error, self.started = False, "", time.monotonic()

    def read(self) -> None:
        """Takes in what the process says of itself; at the end of the pipe stops listening."""
        try:
            text = os.read(self.pipe, 65536).decode(errors="replace").strip()
        except BlockingIOError:
            return
        if text == "ready":
            self.ready = self.ever_ready = True
        elif text:
            self.error = text.removeprefix("error ")
        os.close(self.pipe)
        self.pipe = -1

    def reap(self, now: float) -> bool:
        """Whether the process has ended since the last look; plans its next start."""
        if self.process is None or self.process.poll() is None:
            return False
        if self.pipe >= 0:
            self.read()
        if now - self.started > 30:
            self.backoff = 0.1
        self.restart_at = now + self.backoff
        self.backoff = min(self.backoff * 2, _BACKOFF_MAX)
        return True


class Supervisor:
    """The loop; `began` is when the user's command began (CLOCK_MONOTONIC seconds)."""

    def __init__(self, root: Path, began: float) -> None:
        self.root = root
        self.began = began
        self.parts = [Part(name, root) for name in PARTS]
        self.stopping = False
        self.ready_after: float | None = None
        self.lock = -1

    def run(self) -> int:
        run = self.root / "run/weft"
        run.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.lock = os.open(run / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report(f"error weft already runs in {self.root}")
            return 1
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for part in self.parts:
            part.start()
        self._write_state()
        while not self.stopping:
            pipes = [part.pipe for part in self.parts if part.pipe >= 0]
            waiting = [part.restart_at for part in self.parts if part.process is None]
            timeout = max(0.0, min(waiting) - time.monotonic()) if waiting else None
            readable, _, _ = select.select([wake_read, *pipes], [], [], timeout)
            if wake_read in readable:
                os.read(wake_read, 4096)
            for part in self.parts:
                if part.pipe in readable:
                    part.read()
            failed = self._look_after()
            if failed:
                self._end_all()
                report(f"error {failed}")
                return 1
        self._end_all()
        return 0

    def _look_after(self) -> str:
        """Restarts what died; returns why, where a process could not start the very first time."""
        now = time.monotonic()
        for part in self.parts:
            if part.reap(now):
                code = part.process.returncode if part.process else 0
                if not part.ever_ready:
                    return part.error or f"the {part.name} ended with code {code}; see {self._log(part)}"
                print(f"weft: the {part.name} ended with code {code}, starting it again", file=sys.stderr, flush=True)
                part.process = None
            if part.process is None and now >= part.restart_at and not self.stopping:
                part.start()
                self._write_state()
        if self.ready_after is None and all(part.ready for part in self.parts):
            self.ready_after = time.monotonic() - self.began
            self._write_state()
            report("ready")
        return ""

    def _log(self, part: Part) -> Path:
        return self.root / "var/lib/weft/log" / f"{part.name}.log"

    def _write_state(self) -> None:
        state: dict[str, Any] = {"supervisor": os.getpid()}
        state |= {part.name: part.process.pid for part in self.parts if part.process}
        if self.ready_after is not None:
            state["ready"] = round(self.ready_after, 3)
        write_atomic(self.root / "run/weft/weft.json", json.dumps(state).encode(), sync=False)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _end_all(self) -> None:
        """Node first, so that it can still reach the API while it ends."""
        deadline = time.monotonic() + _STOP_SECONDS
        for part in reversed(self.parts):
            if part.process and part.process.poll() is None:
                part.process.terminate()
                try:
                    part.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    part.process.kill()
                    part.process.wait()


def main(argv: list[str]) -> int:
    root = Path(argv[1])
    began = float(argv[2]) if len(argv) > 2 else time.monotonic()
    return Supervisor(root, began).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
