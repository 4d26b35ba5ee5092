"""Turns transmit checksum offload off (ethtool(8), `-K DEV tx off`), so that packets bear whole checksums.

In: the name of an interface in the caller's namespace. Out: ioctl(2) SIOCETHTOOL. A veth pair leaves the checksum to
whoever receives, and a switch in user space that passes packets on does not know that.
"""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable

_SIOCETHTOOL = 0x8946
_GET_TX, _SET_TX = 0x16, 0x17  # linux/ethtool.h, ETHTOOL_GTXCSUM and ETHTOOL_STXCSUM


def _ioctl(sock: socket.socket, interface: str, command: int, value: int) -> int:
    body = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(body))
    fcntl.ioctl(sock, _SIOCETHTOOL, request)
    found: int = struct.unpack("=II", body.raw)[1]
    return found


def turn_off(interfaces: Iterable[str]) -> int:
    """Returns how many it was on at; raises OSError, as for an interface that there is not."""
    changed = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for interface in interfaces:
            if _ioctl(sock, interface, _GET_TX, 0):
                _ioctl(sock, interface, _SET_TX, 0)
                changed += 1
    return changed
