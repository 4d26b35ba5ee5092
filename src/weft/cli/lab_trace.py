"""The way of real packets, hop by hop: UDP probes with a growing time to live, after traceroute.

In: a network namespace and an address. Out: who answered to each probe. All probes are of one flow, so that equal-cost
routes take them the same way (as Paris traceroute). Answers come by the socket's error queue (ip(7), IP_RECVERR).
"""

import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weft.core.errors import WeftError
from weft.network.southbound import netns

_IP_RECVERR = 11
_MSG_ERRQUEUE = 0x2000
_ORIGIN_ICMP = 2
_TIME_EXCEEDED, _UNREACHABLE = 11, 3
_PORT = 33434  # traceroute's own: nobody listens there
MAX_HOPS = 30
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered a probe of `hop`; the address is empty where nobody did. `last` ends the trace."""

    hop: int
    address: str = ""
    milliseconds: float = 0.0
    last: bool = False
    reached: bool = False


def trace(namespace: Path, target: str, wait: float = 1.0) -> Iterator[Answer]:
    """Raises NotFoundError without the namespace, WeftError where nothing can be sent."""
    probe = netns.inside(namespace, _open)
    with probe:
        try:
            probe.connect((target, _PORT))
            silent = 0
            for hop in range(1, MAX_HOPS + 1):
                answer = _ask(probe, hop, target, wait)
                yield answer
                silent = silent + 1 if not answer.address else 0
                if answer.last or silent == 3:
                    return
        except OSError as error:
            raise WeftError(f"cannot trace to {target}: {error.strerror}") from error


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return opened


def _ask(probe: socket.socket, hop: int, target: str, wait: float) -> Answer:
    probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop)
    poll = select.poll()
    poll.register(probe, 0)  # errors are always told
    for _ in range(_TRIES):
        began = time.perf_counter()
        probe.send(b"weft")
        if not poll.poll(wait * 1000):
            continue
        took = (time.perf_counter() - began) * 1000
        _, ancillary, _, _ = probe.recvmsg(512, 512, _MSG_ERRQUEUE)
        probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # else the next send would raise it
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_RECVERR:
                # struct sock_extended_err, then the offender as struct sockaddr_in.
                _, origin, icmp, _ = struct.unpack_from("=IBBB", data)
                if origin != _ORIGIN_ICMP:
                    raise WeftError(f"cannot trace to {target}: no route")
                address = socket.inet_ntoa(data[20:24])
                last = icmp != _TIME_EXCEEDED
                return Answer(hop, address, took, last, icmp == _UNREACHABLE and address == target)
    return Answer(hop)
