"""A netlink socket in one namespace: batches of requests go down, acknowledgements and dumps come up.

A batch is sent in few datagrams and answered in order, so a thousand routes cost a handful of system calls; only the
last of a datagram asks to be acknowledged, for errors are told in any case. Calls block for microseconds to
milliseconds; loops put larger batches into a thread.
"""

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from weft.core.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError, UnsupportedError, WeftError
from weft.network.southbound import netns, nexthops, wire
from weft.network.southbound import rtnetlink as rt

_BATCH = 512  # of the answers of one datagram even all errors fit into the receive buffer,
_BATCH_BYTES = 1 << 16  # and its requests into the send buffer
_RECEIVE = 1 << 18
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_SO_RCVBUFFORCE = 33
_ERRORS: dict[int, type[WeftError]] = {
    errno.EEXIST: ConflictError,
    errno.EBUSY: ConflictError,
    errno.ENODEV: NotFoundError,
    errno.ENOENT: NotFoundError,
    errno.ESRCH: NotFoundError,
    errno.EADDRNOTAVAIL: NotFoundError,
    errno.EPERM: ForbiddenError,
    errno.EACCES: ForbiddenError,
    errno.EOPNOTSUPP: UnsupportedError,
    errno.EAFNOSUPPORT: UnsupportedError,
}


class NetlinkError(WeftError):
    """The kernel refused a request for a reason of its own."""


class Netlink:
    """One rtnetlink socket. `path` names a pinned namespace; without it, the caller's own. `port` is the number that
    tells others who changed something; without it the kernel chooses."""

    def __init__(self, path: Path | None = None, *, port: int = 0) -> None:
        self._socket = netns.inside(path, lambda: _open(port)) if path is not None else _open(port)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, *messages: rt.Message, ignore: Sequence[type[WeftError]] = ()) -> None:
        """Sends all; raises the first error that `ignore` does not name, after all have been answered."""
        for error in self.results(messages):
            if error is not None and not isinstance(error, tuple(ignore)):
                raise error

    def results(self, messages: Sequence[rt.Message]) -> list[WeftError | None]:
        """Sends all, in order; for each, None or why it was not done."""
        results: list[WeftError | None] = [None] * len(messages)
        start = 0
        while start < len(messages):
            end, size = start, 0
            while end < len(messages) and end - start < _BATCH and (end == start or size < _BATCH_BYTES):
                size += 16 + len(messages[end].payload)
                end += 1
            self._batch(messages, start, end, results)
            start = end
        return results

    def _batch(self, messages: Sequence[rt.Message], start: int, end: int, results: list[WeftError | None]) -> None:
        base = self._sequence + 1
        last = self._sequence = self._sequence + end - start
        # The order of the answers is that of the requests: when the last is answered, all errors have been told.
        sequences = range(base, last + 1)
        data = [wire.encode(messages[start + n - base], n, acknowledge=n == last) for n in sequences]
        self._socket.send(b"".join(data))
        answered = False
        while not answered:
            for kind, flags, sequence, payload in wire.decode(self._receive()):
                if kind != wire.NLMSG_ERROR or sequence not in sequences:
                    continue
                index = start + sequence - base
                results[index] = _error(flags, payload, messages[index].what)
                answered = answered or sequence == last

    def dump(self, message: rt.Message) -> list[bytes]:
        """The payloads that answer a dump or a get; raises where there is none to get."""
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(wire.encode(message, sequence))
        found: list[bytes] = []
        while True:
            for kind, flags, answer, payload in wire.decode(self._receive()):
                if answer != sequence:
                    continue
                if kind == wire.NLMSG_DONE:
                    return found
                if kind == wire.NLMSG_ERROR:
                    if error := _error(flags, payload, message.what):
                        raise error
                    return found
                found.append(payload)
                if not flags & wire.NLM_F_MULTI:
                    return found

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVE)
        except OSError as error:
            raise UnavailableError(f"cannot hear from the kernel's routing socket: {error}") from error

    def links(self) -> dict[str, rt.Link]:
        """All links by name."""
        links = [rt.parse_link(payload) for payload in self.dump(rt.dump_links())]
        return {link.name: link for link in links}

    def link(self, name: str) -> rt.Link:
        """Raises NotFoundError."""
        return rt.parse_link(self.dump(rt.get_link(name))[0])

    def addresses(self) -> list[rt.InterfaceAddress]:
        return [rt.parse_address(payload) for payload in self.dump(rt.dump_addresses())]

    def routes(self) -> list[rt.Route]:
        """The unicast and blackhole routes of the main table, both families."""
        routes = [rt.parse_route(payload) for payload in self.dump(rt.dump_routes())]
        return [route for route in routes if route is not None]

    def objects(self) -> dict[int, nexthops.Object]:
        """The next-hop objects by id; raises UnsupportedError where the kernel has none (before Linux 5.3)."""
        objects = [nexthops.parse_object(payload) for payload in self.dump(nexthops.dump_objects())]
        return {each.id: each for each in objects}


def _open(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)  # answers without a copy of the request,
    opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)  # but with the kernel's words on what is wrong
    opened.bind((port, 0))
    opened.settimeout(10)
    return opened


def _error(flags: int, payload: bytes, what: object) -> WeftError | None:
    """The error that an NLMSG_ERROR reports; None where it only acknowledges."""
    code, reason = wire.parse_error(flags, payload)
    if code == 0:
        return None
    kind = _ERRORS.get(code, NetlinkError)
    return kind(f"cannot set up {what}: {os.strerror(code)}" + (f" ({reason})" if reason else ""))
