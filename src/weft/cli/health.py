"""`weft status`: whether each part answers, asked as a client would, and what its process costs."""

import http.client
import socket
import ssl
from pathlib import Path

import click

from weft.cli.lifecycle import running
from weft.core.errors import WeftError
from weft.core.settings import Settings


def status(settings: Settings) -> None:
    """Prints each part, where it is, whether it answers, and the memory of its process."""
    state = running(settings.paths.root)
    if state is None:
        raise WeftError(f"weft is not up in {settings.paths.root}: start it with `weft up --detach`")
    rows = [
        ("docker", f"unix://{settings.paths.docker_socket}", _docker_answers(settings)),
        ("kubernetes", f"https://{settings.api_address}:{settings.api_port}", _api_answers(settings)),
        ("registry", f"http://{settings.registry_address}:{settings.registry_port}", _registry_answers(settings)),
    ]
    for name, address, answers in rows:
        click.echo(f"{name:<12} {address:<48} {'ready' if answers else 'NOT READY'}")
    total = 0
    for part in ("supervisor", "server", "node"):
        size = resident(state.get(part, 0))
        total += size
        click.echo(f"{part:<12} pid {state.get(part, 0):<44} {size / 2**20:.0f} MB")
    click.echo(f"{'memory':<12} {'':<48} {total / 2**20:.0f} MB")
    if not all(answers for _, _, answers in rows):
        raise WeftError("not everything answers")


def resident(pid: int) -> int:
    """Resident bytes of a process; shared pages count once a process (VmRSS)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 5) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _docker_answers(settings: Settings) -> bool:
    return _answers(UnixConnection(settings.paths.docker_socket), "/_ping")


def _api_answers(settings: Settings) -> bool:
    context = ssl.create_default_context(cafile=str(settings.paths.pki / "ca.crt"))
    return _answers(
        http.client.HTTPSConnection(settings.api_address, settings.api_port, context=context, timeout=5), "/readyz"
    )


def _registry_answers(settings: Settings) -> bool:
    return _answers(http.client.HTTPConnection(settings.registry_address, settings.registry_port, timeout=5), "/v2/")
