"""Makes namespaces, veth pairs, addresses and routes agree with a NetworkState, and removes what it no longer names.

It reads what is there, computes the difference, and applies it in batches, one netlink socket a namespace. It can be
run again at any time, and repairs what somebody else changed. Namespaces are pinned as `/run/netns/PREFIX-NODE`, so
that `ip netns exec` works; a namespace's end takes its links with it.
"""

import asyncio
import os
from collections.abc import Iterable
from ipaddress import ip_interface
from pathlib import Path

from weft.core.errors import NotFoundError, UnsupportedError, WeftError
from weft.network.dataplane.linux.state import DataLink, End, Hop, Interface, Namespace, NetworkState, NodeRoute, Report
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink

NETNS = netns.SHOWN
_LIMITER = "tbf"


class LinuxDataplane:
    """The data plane of one lab; `prefix` (`INSTANCE-LAB`) starts the name of each of its namespaces."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._sockets: dict[str, Netlink] = {}
        self._rates: dict[tuple[str, str], int] = {}
        self._forwarding: dict[str, bool] = {}
        self._lock = asyncio.Lock()

    def path(self, namespace: str) -> Path:
        """Where a node's namespace is pinned."""
        return NETNS / f"{self._prefix}-{namespace}"

    async def apply(self, desired: NetworkState) -> Report:
        """Makes the kernel agree; errors of one node or link do not keep the others."""
        async with self._lock:
            return await asyncio.to_thread(self._apply, desired)

    async def remove(self) -> None:
        """Removes all that was made under this prefix."""
        async with self._lock:
            await asyncio.to_thread(self._remove_namespaces, ())

    def close(self) -> None:
        """Lets go of the sockets; the data plane goes on."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()

    # What follows runs in one thread at a time.

    def _apply(self, desired: NetworkState) -> Report:
        errors: dict[str, str] = {}
        changes = self._remove_namespaces(namespace.name for namespace in desired.namespaces)
        for namespace in desired.namespaces:
            try:
                changes += self._ensure_namespace(namespace)
            except WeftError as error:
                errors[namespace.name] = str(error)
        links = {name: opened.links() for name, opened in self._sockets.items()}
        changes += self._remove_links(desired, links, errors)
        for link in desired.links:
            try:
                changes += self._ensure_veth(link, links)
            except WeftError as error:
                errors[link.name] = str(error)
        unlimited: list[str] = []
        links = {name: opened.links() for name, opened in self._sockets.items()}
        for link in desired.links:
            for end in link.ends:
                try:
                    changes += self._ensure_end(link, end, links, unlimited)
                except WeftError as error:
                    errors.setdefault(link.name, str(error))
        up = {(end.namespace, end.interface) for link in desired.links if link.up for end in link.ends}
        for namespace in desired.namespaces:
            if namespace.name in errors or namespace.name not in self._sockets:
                continue
            usable = {name: link for name, link in links[namespace.name].items() if (namespace.name, name) in up}
            try:
                changes += self._ensure_routes(namespace, usable)
            except WeftError as error:
                errors[namespace.name] = str(error)
        return Report(errors, tuple(dict.fromkeys(unlimited)), changes)

    def _remove_namespaces(self, keep: Iterable[str]) -> int:
        kept = {self.path(name) for name in keep}
        removed = 0
        if not NETNS.is_dir():
            return 0
        for path in NETNS.glob(f"{self._prefix}-*"):
            if path in kept:
                continue
            name = path.name.removeprefix(f"{self._prefix}-")
            if opened := self._sockets.pop(name, None):
                opened.close()
            self._rates = {key: rate for key, rate in self._rates.items() if key[0] != name}
            netns.delete(path)
            removed += 1
        return removed

    def _ensure_namespace(self, namespace: Namespace) -> int:
        path = self.path(namespace.name)
        changes = 0
        if not netns.exists(path):
            if opened := self._sockets.pop(namespace.name, None):
                opened.close()
            path.unlink(missing_ok=True)
            netns.create(path)
            changes += 1
        if namespace.name not in self._sockets:
            self._sockets[namespace.name] = Netlink(path)
            self._forwarding.pop(namespace.name, None)
        if self._forwarding.get(namespace.name) != namespace.forward:
            netns.inside(path, lambda: _set_forwarding(namespace.forward))
            self._forwarding[namespace.name] = namespace.forward
        opened = self._sockets[namespace.name]
        loopback = opened.link("lo")
        wanted: set[Interface] = {*namespace.loopback, ip_interface("127.0.0.1/8"), ip_interface("::1/128")}
        requests = [] if loopback.up else [rt.set_link(loopback.index, "lo", up=True)]
        requests += _address_changes(opened, loopback, wanted)
        opened.request(*requests)
        return changes + len(requests)

    def _remove_links(self, desired: NetworkState, links: dict[str, dict[str, rt.Link]], errors: dict[str, str]) -> int:
        wanted = {(end.namespace, end.interface) for link in desired.links for end in link.ends}
        removed = 0
        for namespace, present in links.items():
            for name, link in list(present.items()):
                if link.kind != "veth" or (namespace, name) in wanted:
                    continue
                try:
                    # It may go by itself just now, with the namespace of its other end.
                    self._sockets[namespace].request(rt.delete_link(name), ignore=(NotFoundError,))
                    removed += 1
                except WeftError as error:
                    errors.setdefault(namespace, str(error))
        if removed:
            for namespace, opened in self._sockets.items():
                links[namespace] = opened.links()
        return removed

    def _ensure_veth(self, link: DataLink, links: dict[str, dict[str, rt.Link]]) -> int:
        first, second = link.ends
        for end in link.ends:
            if end.namespace not in links:
                raise WeftError(f"cannot set up link {link.name}: its node {end.namespace} is not there")
        present = [end.interface in links[end.namespace] for end in link.ends]
        if all(present):
            return 0
        for end, there in zip(link.ends, present, strict=True):
            if there:  # half a link: its other end was lost with its namespace
                self._sockets[end.namespace].request(rt.delete_link(end.interface), ignore=(NotFoundError,))
        descriptor = os.open(self.path(second.namespace), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sockets[first.namespace].request(
                rt.add_veth(first.interface, second.interface, peer_netns=descriptor, mtu=link.mtu)
            )
        finally:
            os.close(descriptor)
        return 1

    def _ensure_end(self, link: DataLink, end: End, links: dict[str, dict[str, rt.Link]], unlimited: list[str]) -> int:
        opened = self._sockets.get(end.namespace)
        present = links.get(end.namespace, {}).get(end.interface)
        if opened is None or present is None:
            return 0
        requests = []
        if present.up != link.up or present.mtu != link.mtu:
            requests.append(rt.set_link(present.index, end.interface, up=link.up, mtu=link.mtu))
        requests += _address_changes(opened, present, set(end.addresses))
        opened.request(*requests)
        return len(requests) + self._ensure_rate(link, end, opened, present, unlimited)

    def _ensure_rate(self, link: DataLink, end: End, opened: Netlink, present: rt.Link, unlimited: list[str]) -> int:
        """The kernel shows that a link is limited but, in a link's own facts, not to what: that we remember."""
        key = (end.namespace, end.interface)
        limited = present.discipline == _LIMITER
        if not link.rate:
            self._rates.pop(key, None)
            if limited:
                opened.request(rt.delete_qdisc(present.index, end.interface))
            return int(limited)
        if limited and self._rates.get(key) == link.rate:
            return 0
        try:
            opened.request(rt.add_tbf(present.index, end.interface, link.rate))
        except (UnsupportedError, NotFoundError):  # ENOENT: a kernel without the discipline
            unlimited.append(link.name)
            return 0
        self._rates[key] = link.rate
        return 1

    def _ensure_routes(self, namespace: Namespace, links: dict[str, rt.Link]) -> int:
        opened = self._sockets[namespace.name]
        wanted = {}
        for route in namespace.routes:
            hops = [hop for hop in route.hops if hop.interface in links]
            if route.hops and not hops:
                continue  # no way out at this moment: the routes are computed anew when a link changes
            made = _kernel_route(route, hops, links)
            wanted[(made.destination, made.metric)] = made
        present = {
            (route.destination, route.metric): route for route in opened.routes() if route.protocol == rt.PROTOCOL
        }
        requests = [rt.delete_route(route) for key, route in present.items() if key not in wanted]
        requests += [rt.replace_route(route) for key, route in wanted.items() if present.get(key) != route]
        opened.request(*requests)
        return len(requests)


def _address_changes(opened: Netlink, link: rt.Link, wanted: set[Interface]) -> list[rt.Message]:
    """Link-local IPv6 addresses are the kernel's own and stay."""
    present = {
        ip_interface(f"{each.address}/{each.prefix_length}")
        for each in opened.addresses()
        if each.index == link.index and not (each.address.version == 6 and each.address.is_link_local)
    }
    removed = [rt.delete_address(link.index, each) for each in present - wanted]
    return removed + [rt.add_address(link.index, each) for each in wanted - present]


def _kernel_route(route: NodeRoute, hops: list[Hop], links: dict[str, rt.Link]) -> rt.Route:
    next_hops = tuple(rt.NextHop(links[hop.interface].index, hop.via, hop.weight) for hop in hops)
    if len(next_hops) == 1:
        next_hops = (rt.NextHop(next_hops[0].index, next_hops[0].gateway),)
    return rt.Route(route.destination, next_hops, route.metric)


def _set_forwarding(on: bool) -> None:
    """Whether the calling thread's namespace forwards; a new one does as the host does (devconf_inherit_init_net).

    ECMP looks at ports, so that flows spread (ip-sysctl.rst).
    """
    for name, value in (
        ("ipv4/ip_forward", int(on)),
        ("ipv6/conf/all/forwarding", int(on)),
        ("ipv4/fib_multipath_hash_policy", 1),
    ):
        target = Path("/proc/sys/net") / name
        if target.exists():
            target.write_text(str(value))
