"""Two pods cannot have the same port of a node (`plugins/nodeports`)."""

from collections.abc import Iterator, Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo

_EVERY = ("", "0.0.0.0")


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    wanted = list(_host_ports(pod))
    if not wanted:
        return ()
    taken = [port for other in info.pods.values() for port in _host_ports(other)]
    clash = any(_clash(port, other) for port in wanted for other in taken)
    return ("node(s) didn't have free ports for the requested pod ports",) if clash else ()


def _host_ports(pod: Object) -> Iterator[tuple[str, str, int]]:
    """(address, protocol, number) of each."""
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield port.get("hostIP", ""), port.get("protocol", "TCP"), port["hostPort"]


def _clash(first: tuple[str, str, int], second: tuple[str, str, int]) -> bool:
    same_address = first[0] == second[0] or first[0] in _EVERY or second[0] in _EVERY
    return same_address and first[1:] == second[1:]
