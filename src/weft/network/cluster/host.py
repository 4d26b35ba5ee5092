"""What a node's network asks of the host: forwarding, routing of loopback addresses on the bridge, the MTU.

Forwarding that we switched on is switched off again by the last instance that goes (`restore_forwarding`).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from weft.core.files import write_atomic
from weft.core.settings import Settings
from weft.network.southbound.netlink import Netlink

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_MARKS = Path("/run/weft-forwarding")
_WAS_OFF = "was-off"


def mtu() -> int:
    """The MTU of the link of the default route: what leaves through it must fit; 1500 where there is none."""
    with Netlink() as netlink:
        for route in netlink.routes():
            if route.destination.version == 4 and route.destination.prefixlen == 0 and route.next_hops:
                index = route.next_hops[0].index
                found = [link.mtu for link in netlink.links().values() if link.index == index]
                if found and found[0] >= 576:
                    return min(found[0], 9000)
    return 1500


def enable_forwarding(settings: Settings) -> None:
    """Switches forwarding on, and notes each instance that needs it."""
    with one_at_a_time():
        if _FORWARD.read_text().strip() != "1":
            write_atomic(_MARKS / _WAS_OFF, b"", sync=False)
            _FORWARD.write_text("1")
        write_atomic(_MARKS / settings.instance, b"", sync=False)


def restore_forwarding(settings: Settings) -> None:
    """Takes the instance's note away; after the last one forwarding is as it was before the first."""
    with one_at_a_time():
        if not _MARKS.is_dir():
            return
        (_MARKS / settings.instance).unlink(missing_ok=True)
        if {entry.name for entry in _MARKS.iterdir()} <= {_WAS_OFF}:
            if (_MARKS / _WAS_OFF).exists():
                _FORWARD.write_text("0")
                (_MARKS / _WAS_OFF).unlink()
            _MARKS.rmdir()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Instances come and go side by side. The lock is on the directory itself, so that no file stays."""
    descriptor = os.open(_MARKS.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def prepare_bridge(bridge: str) -> None:
    """Loopback addresses may be routed to it: published ports answer on 127.0.0.1, and pods reach the API there."""
    Path(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet").write_text("1")
