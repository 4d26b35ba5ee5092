"""Hears what changes in many namespaces, by whomever, with one socket: so a cache of them need not be read again.

In: namespaces to hear. Out: for each that changed, which parts of it (`Part`). The socket lives in a namespace of its
own that knows the others by ids (NETLINK_LISTEN_ALL_NSID, netlink(7)); those ids end with it. Next: the data plane's
views, which read again what changed. If the kernel had more to tell than fits, all count as changed. What the data
plane does to routes itself it knows, and a filter in the kernel keeps that out: ten thousand notices take a while.
"""

import ctypes
import enum
import os
import select
import socket
import struct
from pathlib import Path

from weft.core.errors import UnsupportedError, WeftError
from weft.network.southbound import netns, nexthops, nsid, routes, wire
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink

_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 270, 1, 8
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER = 33, 26
_RT_SCOPE_LINK = 253
_RECEIVE_BUFFER = 8 << 20
# RTNLGRP_LINK, _TC, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE, _NEXTHOP (linux/rtnetlink.h)
_GROUPS = (1, 4, 5, 7, 9, 11, 32)


class Part(enum.Flag):
    """What of a namespace changed. FEWER: links or addresses went, and with them any routes that needed them, of which
    the kernel does not tell."""

    LINKS = enum.auto()
    ADDRESSES = enum.auto()
    ROUTES = enum.auto()
    FEWER = enum.auto()
    ALL = LINKS | ADDRESSES | ROUTES


_NOTHING = Part(0)


class Monitor:
    """`add` what to hear; `changes` tells, without waiting, what happened since it was last asked."""

    def __init__(self, port: int) -> None:
        """`port` is that of the `Netlink` sockets by which we change routes ourselves."""
        self._control, self._socket = netns.in_own(lambda: _open(port))
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._next = 1

    def fileno(self) -> int:
        """Readable when something changed."""
        return self._socket.fileno()

    def close(self) -> None:
        self._control.close()
        self._socket.close()

    def wait(self, seconds: float) -> None:
        """Until something changed, or not longer than that."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(seconds * 1000)

    def add(self, name: str, path: Path) -> None:
        """Hears the namespace pinned at `path`, as `name`; adding it again follows a new one of the same name."""
        self.discard(name)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            wanted, self._next = self._next, self._next + 1
            self._control.request(nsid.add_nsid(descriptor, wanted))
        finally:
            os.close(descriptor)
        self._names[wanted] = name
        self._ids[name] = wanted

    def discard(self, name: str) -> None:
        """What still comes from it is dropped; its id ends with the namespace."""
        if (known := self._ids.pop(name, None)) is not None:
            self._names.pop(known, None)

    def changes(self) -> dict[str, Part]:
        """The parts that changed, by namespace."""
        found: dict[str, Part] = {}
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: some were lost
                found.update(dict.fromkeys(self._ids, Part.ALL))
                continue
            name = self._names.get(_source(ancillary))
            if name is None:
                continue
            for kind, flags, _, payload in wire.decode(data):
                if part := _part(kind, flags, payload):
                    found[name] = found.get(name, part) | part


def _part(kind: int, flags: int, payload: bytes) -> Part:
    """What one notice puts in doubt."""
    match kind:
        case rt.RTM_NEWLINK:
            good = rt.IFF_UP | rt.IFF_LOWER_UP
            has_carrier = struct.unpack_from("=I", payload, 8)[0] & good == good
            return Part.LINKS if has_carrier else Part.LINKS | Part.FEWER
        case rt.RTM_DELLINK:
            return Part.LINKS | Part.ADDRESSES | Part.FEWER
        case rt.RTM_NEWADDR | rt.RTM_DELADDR:
            if payload[3] == _RT_SCOPE_LINK:
                return _NOTHING
            return Part.ADDRESSES if kind == rt.RTM_NEWADDR else Part.ADDRESSES | Part.FEWER
        case routes.RTM_NEWROUTE if payload[5] != wire.PROTOCOL and not flags & wire.NLM_F_REPLACE:
            return _NOTHING  # others' routes, unless they took the place of ours
        case routes.RTM_DELROUTE if payload[5] != wire.PROTOCOL:
            return _NOTHING
        case routes.RTM_NEWROUTE | routes.RTM_DELROUTE | nexthops.RTM_NEWNEXTHOP | nexthops.RTM_DELNEXTHOP:
            return Part.ROUTES
        case rt.RTM_NEWQDISC | rt.RTM_DELQDISC:
            return Part.LINKS
        case _:
            return _NOTHING


def _source(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == _SOL_NETLINK and kind == _LISTEN_ALL_NSID and len(data) >= 4:
            return int(struct.unpack_from("=i", data)[0])
    return 0


def _filter(port: int) -> bytes:
    """Classic BPF (linux/filter.h) that drops what `port` did to routes and next hops. Loads are in network order."""
    load_word, load_half, jump_equal, give = 0x20, 0x28, 0x15, 0x06
    ours = (routes.RTM_NEWROUTE, routes.RTM_DELROUTE, nexthops.RTM_NEWNEXTHOP, nexthops.RTM_DELNEXTHOP)
    program = [(load_word, 0, 0, 12), (jump_equal, 0, len(ours) + 1, socket.htonl(port)), (load_half, 0, 0, 4)]
    for n, kind in enumerate(ours):
        program.append((jump_equal, len(ours) - n, 0, socket.htons(kind)))
    program += [(give, 0, 0, 0xFFFFFFFF), (give, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _open(port: int) -> tuple[Netlink, socket.socket]:
    listener = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    try:
        try:
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        program = ctypes.create_string_buffer(_filter(port))
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(program))
        )
        listener.bind((0, 0))
        listener.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        for group in _GROUPS:
            try:
                listener.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
            except OSError:
                if group <= 11:
                    raise  # the last one is newer than the rest, and what it tells of is then not there either
        return Netlink(), listener
    except OSError as error:
        listener.close()
        raise UnsupportedError(f"cannot hear changes of network namespaces: {error.strerror}") from error
    except WeftError:
        listener.close()
        raise
