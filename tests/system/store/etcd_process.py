"""A real etcd on loopback: started, killed, stopped for a while, started again, with its data in a directory."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Etcd:
    """One member; `cluster` names all of them, with their peer ports, where there are several."""

    def __init__(
        self, directory: Path, name: str = "one", cluster: dict[str, int] | None = None, options: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self.name = name
        self.port = free_ports(1)[0]
        self.cluster = cluster or {name: free_ports(1)[0]}
        self.options = list(options)
        self.scheme = "https" if any(option.startswith("--cert-file") for option in options) else "http"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        client, peer = f"{self.scheme}://{self.endpoint}", f"http://127.0.0.1:{self.cluster[self.name]}"
        members = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self.cluster.items())
        command = ["etcd", "--name", self.name, "--data-dir", str(self.directory / self.name), "--log-level", "error"]
        command += ["--heartbeat-interval", "50", "--election-timeout", "250"]  # a new leader soon
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", members]
        self.process = subprocess.Popen([*command, *self.options], stderr=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    async def answers(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise AssertionError("etcd does not answer")


@contextlib.contextmanager
def etcd(options: Sequence[str] = ()) -> Iterator[Etcd]:
    with tempfile.TemporaryDirectory(prefix="weft-etcd-") as directory:
        member = Etcd(Path(directory), options=options)
        member.start()
        try:
            yield member
        finally:
            member.end()
