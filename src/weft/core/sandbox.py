"""What the container engine asks of a network; `weft.network.cluster` is the one that Weft ships.

A *sandbox* is a network namespace, pinned to a path, with an address on the node's bridge and published ports.
Pods and containers get one each; containers of a pod join their pod's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A published port. `host_ip` empty means every address of the host; `host_port` 0 means: choose a free one."""

    container_port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = ""
    host_port: int = 0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A network namespace that is ready to be joined. `ports` has the host ports that were really bound."""

    id: str
    netns_path: str
    address: str
    prefix_length: int
    gateway: str
    mac: str
    ports: tuple[PortBinding, ...] = ()


class Networking(Protocol):
    """Makes and removes sandboxes. State survives a restart of Weft: `list` finds what an earlier process made."""

    async def create(self, sandbox_id: str, ports: Sequence[PortBinding] = ()) -> Sandbox:
        """Makes a sandbox; raises ConflictError where a host port is taken, and then leaves nothing behind.

        Creating one that exists returns it (its ports must be the same, else ConflictError).
        """
        ...

    async def remove(self, sandbox_id: str) -> None:
        """Removes the sandbox, its address, veth and port rules; one that does not exist is no error."""
        ...

    def get(self, sandbox_id: str) -> Sandbox | None: ...

    def list(self) -> Sequence[Sandbox]: ...

    @property
    def nameserver(self) -> str:
        """The address of the resolver that sandboxes should use."""
        ...
