"""Sockets of routing protocols in a network namespace: one for each protocol of a router.

In: packets with the interface, addresses and TTL that they came with. Out: packets by interface. OSPF is raw IP of
protocol 89 (RFC 2328, A.1); RIP is UDP port 520 (RFC 2453, 3.1); BFD is UDP port 3784 with a TTL of 255 (RFC 5881, 4).
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from weft.network.routing.protocol import PacketReceived, ProtocolName, Send
from weft.network.southbound import netns

_IP_PKTINFO, _IP_RECVTTL, _IP_TTL = 8, 12, 2
_PKTINFO = struct.Struct("=I4s4s")
_BATCH = 64
_SIZE = 65536
# Of the namespace: by default a socket may join 20 groups (ip-sysctl.rst), two for each of ten interfaces.
_MEMBERSHIPS = Path("/proc/sys/net/ipv4/igmp_max_memberships")
_MOST_MEMBERSHIPS = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """How a protocol travels. `port` 0 means raw IP of protocol `number`."""

    number: int
    port: int = 0
    groups: tuple[str, ...] = ()
    ttl: int = 1
    source_ports: range = range(0)


KINDS: dict[ProtocolName, Kind] = {
    "ospf": Kind(89, groups=("224.0.0.5", "224.0.0.6")),
    "rip": Kind(17, 520, ("224.0.0.9",)),
    "bfd": Kind(17, 3784, ttl=255, source_ports=range(49152, 65536)),
}


class ProtocolSocket:
    """Raises ForbiddenError without the right to open raw sockets, NotFoundError without the namespace."""

    def __init__(self, namespace: Path, protocol: ProtocolName) -> None:
        self._kind = KINDS[protocol]
        self._sockets = netns.inside(namespace, lambda: _open(self._kind))
        self._receiver, self._sender = self._sockets[0], self._sockets[-1]
        self._indices: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def fileno(self) -> int:
        return self._receiver.fileno()

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def join(self, name: str, index: int) -> None:
        """From now on, packets of this interface count."""
        if self._indices.get(name) == index:
            return
        self._indices[name] = index
        self._names[index] = name
        for group in self._kind.groups:
            request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), index)
            try:
                self._receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.ENODEV):  # joined already, or just gone
                    raise

    def leave(self, name: str) -> None:
        """The kernel has dropped the memberships with the interface."""
        self._names.pop(self._indices.pop(name, 0), None)

    def receive(self) -> Iterator[PacketReceived]:
        """What has come, up to a batch, so that other routers of the process have their turn."""
        for _ in range(_BATCH):
            try:
                data, ancillary, _, sender = self._receiver.recvmsg(_SIZE, 128)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ENETDOWN, errno.EHOSTUNREACH, errno.ECONNREFUSED):
                    continue  # of a packet that was sent before
                return
            index, destination, ttl = 0, bytes(4), 0
            for _, kind, value in ancillary:
                if kind == _IP_PKTINFO:
                    index, _, destination = _PKTINFO.unpack(value[:12])
                elif kind == _IP_TTL:
                    ttl = int.from_bytes(value[:4], "little")
            name = self._names.get(index)
            if name is None:
                continue
            if not self._kind.port:
                data = data[(data[0] & 15) * 4 :]  # raw sockets give the IP header too (raw(7))
            elif self._kind.port == 520 and sender[1] != 520:
                continue  # RFC 2453, 3.9.2
            yield PacketReceived(name, IPv4Address(sender[0]), IPv4Address(destination), data, ttl)

    def send(self, send: Send) -> OSError | None:
        """None, or why the kernel did not take the packet."""
        index = self._indices.get(send.interface)
        if index is None:
            return OSError(errno.ENODEV, "no such interface")
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(index, bytes(4), bytes(4)))]
        try:
            self._sender.sendmsg([send.data], control, 0, (str(send.destination), self._kind.port))
        except OSError as error:
            return error
        return None


def _open(kind: Kind) -> list[socket.socket]:
    """The socket that receives, and for BFD another that sends."""
    if kind.groups:
        _MEMBERSHIPS.write_text(str(_MOST_MEMBERSHIPS))
    receiver = _make(kind)
    if not kind.port:
        return [receiver]
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind(("0.0.0.0", kind.port))
    if not kind.source_ports:
        return [receiver]
    sender = _make(kind)
    for port in kind.source_ports:
        try:
            sender.bind(("0.0.0.0", port))
        except OSError:
            continue
        break
    return [receiver, sender]


def _make(kind: Kind) -> socket.socket:
    if kind.port:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    else:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, kind.number)
    made.setblocking(False)
    for option, value in (
        (_IP_PKTINFO, 1),
        (_IP_RECVTTL, 1),
        (socket.IP_MULTICAST_LOOP, 0),
        (socket.IP_MULTICAST_TTL, kind.ttl),
        (socket.IP_TTL, kind.ttl),
        (socket.IP_TOS, 0xC0),  # Internetwork control (RFC 2328, A.1)
    ):
        made.setsockopt(socket.IPPROTO_IP, option, value)
    return made
