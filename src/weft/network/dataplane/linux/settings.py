"""The kernel's switches of one namespace (ip-sysctl.rst), which a new one would otherwise inherit from the host.

In: what kind of node it is. Out: files below /proc/sys/net, as the calling thread's namespace has them.
"""

import os
from collections.abc import Iterable, Mapping

from weft.network.dataplane.linux.state import Namespace


def settings(namespace: Namespace, interfaces: Iterable[str]) -> dict[str, str]:
    """File and value of all that a node needs; `interfaces` are those that it has already."""
    forward = str(int(namespace.forward))
    wanted = {
        "ipv4/ip_forward": forward,
        "ipv6/conf/all/forwarding": forward,
        "ipv6/conf/all/keep_addr_on_down": "1",
        # A link-local address could not be used for a second (RFC 4862); the MAC addresses here are the kernel's own.
        "ipv6/conf/default/accept_dad": "0",
    }
    if namespace.bridge or namespace.ports:
        # A switch forwards frames; with an address on each port it would have a lot of its own to do and to say.
        wanted["ipv6/conf/default/disable_ipv6"] = "1"
    if namespace.forward:
        # ECMP looks at ports, so that flows spread; routes over links without a carrier give way to others.
        wanted |= {
            "ipv4/fib_multipath_hash_policy": "1",
            "ipv6/fib_multipath_hash_policy": "1",
            "ipv4/conf/default/ignore_routes_with_linkdown": "1",
            "ipv6/conf/default/ignore_routes_with_linkdown": "1",
        }
    if namespace.local_segments:
        for name in ("all", "default", *interfaces):
            wanted[f"ipv6/conf/{name}/seg6_enabled"] = "1"
    return wanted


def write(wanted: Mapping[str, str]) -> None:
    """What this kernel does not have is left out; what is so already is not written, as that can take a lock."""
    for name, value in wanted.items():
        try:
            descriptor = os.open(f"/proc/sys/net/{name}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if os.read(descriptor, 16).strip() != value.encode():
                os.pwrite(descriptor, value.encode(), 0)
        finally:
            os.close(descriptor)
