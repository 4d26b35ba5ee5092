"""FRR's and BIRD's daemons in a network namespace, as children of this process: they end with it.

In: a namespace and a configuration. Out: running daemons, and their answers to commands. Raises UnsupportedError
where the programs are not installed, WeftError with the daemon's own words where it does not start.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from weft.core.errors import UnsupportedError, WeftError
from weft.network.routing.peers import neighbors
from weft.network.routing.peers.control import ask_bird, ask_frr
from weft.network.routing.peers.frr_policy import policy_changes
from weft.network.routing.peers.neighbors import Seen

FRR_PROGRAMS = Path("/usr/lib/frr")
FRR_RUN = Path("/run/frr")
_PR_SET_PDEATHSIG = 1
_SECONDS = 10.0
_BIRD_AGREES = re.compile(r"^000[34] ", re.MULTILINE)  # reconfigured, or that is in progress
_libc = ctypes.CDLL(None, use_errno=True)


class Peer(Protocol):
    """A router of another make."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def ask(self, command: str) -> str: ...
    def look(self) -> Seen: ...
    def announce_as(self, other: "Peer") -> bool: ...
    @property
    def is_running(self) -> bool: ...


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Daemons:
    """Processes that live and die together."""

    def __init__(self, namespace: Path, directory: Path) -> None:
        self._namespace = namespace
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    @property
    def is_running(self) -> bool:
        return bool(self._processes) and all(process.poll() is None for process in self._processes)

    def _run(self, program: Path, *arguments: str) -> None:
        log = self.directory / f"{program.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["nsenter", f"--net={self._namespace}", str(program), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_end_with_parent,
            )  # fmt: skip
        self._processes.append(process)

    def _wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + _SECONDS
        while not path.exists():
            if not self.is_running or time.monotonic() > deadline:
                said = b"".join(log.read_bytes()[-500:] for log in sorted(self.directory.glob("*.log")))
                self.kill()
                raise WeftError(f"cannot start a router in {self._namespace}: {said.decode(errors='replace').strip()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Without a word to the neighbours."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        for process in self._processes:
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self._clean()

    def _clean(self) -> None:
        raise NotImplementedError


class Frr(_Daemons):
    """zebra and the further daemons of `configuration`, which has a text for each (`frr.configuration`).

    `name` is FRR's path space and must be unique on the machine.
    """

    def __init__(self, namespace: Path, directory: Path, name: str, configuration: Mapping[str, str]) -> None:
        super().__init__(namespace, directory)
        self._name = name
        self._configuration = configuration

    def start(self) -> None:
        if not (FRR_PROGRAMS / "zebra").exists():
            raise UnsupportedError("cannot run FRR: the package frr is not installed")
        self.directory.mkdir(parents=True, exist_ok=True)
        run = FRR_RUN / self._name
        run.mkdir(parents=True, exist_ok=True)
        for path in (FRR_RUN, run):
            shutil.chown(path, "frr", "frr")
        for daemon, text in self._configuration.items():
            file = run / f"{daemon}.conf"  # where FRR's own user may read it
            file.write_text(text)
            file.chmod(0o600)  # it holds keys
            shutil.chown(file, "frr", "frr")
            options = ["-N", self._name, "-f", str(file), "--log", "stdout", "--log-level", "warn"]
            self._run(FRR_PROGRAMS / daemon, *options)
            self._wait_for(run / f"{daemon}.vty")

    def ask(self, command: str) -> str:
        """The answer of vtysh; several commands by semicolons."""
        arguments = [word for each in command.split(";") for word in ("-c", each.strip())]
        done = subprocess.run(["vtysh", "-N", self._name, *arguments], capture_output=True, check=False, timeout=30)
        if done.returncode:
            raise WeftError(f"cannot ask FRR {command!r}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def announce_as(self, other: Peer) -> bool:
        """Takes over what `other`, which is not started, announces; False where that takes a new start."""
        if not isinstance(other, Frr):
            return False
        commands = policy_changes(self._configuration, other._configuration)
        if commands is None or "%" in self.ask("; ".join(["configure terminal", *commands])):
            return False
        self._configuration = other._configuration
        return True

    def look(self) -> Seen:
        """Its neighbours and the number of its routes; OSError where it does not answer."""
        run = FRR_RUN / self._name
        questions = {
            "ospf": ("ospfd", "show ip ospf neighbor json"),
            "bfd": ("bfdd", "show bfd peers json"),
            "rip": ("zebra", "show ip route rip json") if "ripd" in self._configuration else ("ripd", ""),
            "summary": ("zebra", "show ip route summary json"),
        }
        return neighbors.frr(
            **{
                what: ask_frr(run / f"{daemon}.vty", command)
                for what, (daemon, command) in questions.items()
                if daemon in self._configuration
            }
        )

    def _clean(self) -> None:
        shutil.rmtree(FRR_RUN / self._name, ignore_errors=True)


class Bird(_Daemons):
    """BIRD, with its control socket in `directory`."""

    def __init__(self, namespace: Path, directory: Path, configuration: str) -> None:
        super().__init__(namespace, directory)
        self._configuration = configuration

    @property
    def _socket(self) -> Path:
        return self.directory / "bird.ctl"

    def start(self) -> None:
        program = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise UnsupportedError("cannot run BIRD: the package bird2 is not installed")
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "bird.conf"
        file.write_text(self._configuration)
        self._run(Path(program), "-f", "-c", str(file), "-s", str(self._socket), "-P", str(self.directory / "bird.pid"))
        self._wait_for(self._socket)

    def ask(self, command: str) -> str:
        done = subprocess.run(
            ["birdc", "-s", str(self._socket), *command.split()], capture_output=True, check=False, timeout=30
        )
        return done.stdout.decode()

    def announce_as(self, other: Peer) -> bool:
        """Takes over what `other`, which is not started, announces; False where that takes a new start."""
        if not isinstance(other, Bird):
            return False
        self._configuration = other._configuration
        (self.directory / "bird.conf").write_text(self._configuration)
        return _BIRD_AGREES.search(ask_bird(self._socket, "configure")) is not None

    def look(self) -> Seen:
        """Its neighbours and the number of its routes; OSError where it does not answer."""
        return neighbors.bird(
            ask_bird(self._socket, "show ospf neighbors"),
            ask_bird(self._socket, "show bfd sessions"),
            ask_bird(self._socket, "show rip neighbors"),
            ask_bird(self._socket, "show route primary where source != RTS_DEVICE count"),
        )

    def _clean(self) -> None:
        self._socket.unlink(missing_ok=True)
