"""Makes namespaces, veth pairs, bridges, addresses and routes agree with a NetworkState, and removes what it no longer
names.

It remembers what it read of each namespace (`view`), hears of what changes there by whomever (`Monitor`), reads that
part again, computes the difference, and applies it in batches, one netlink socket a namespace. It can be run again at
any time, and repairs what somebody else changed. Namespaces are pinned as `/run/netns/PREFIX-NODE`, so that `ip netns
exec` works; a namespace's end takes its links with it.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path

from weft.core.errors import NotFoundError, UnsupportedError, WeftError
from weft.network.dataplane.linux.forwarding import ensure_routes
from weft.network.dataplane.linux.reroute import FastReroute
from weft.network.dataplane.linux.settings import settings, write
from weft.network.dataplane.linux.state import DataLink, End, Interface, Namespace, NetworkState, Report
from weft.network.dataplane.linux.view import View
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.monitor import Monitor, Part
from weft.network.southbound.netlink import Netlink

NETNS = netns.SHOWN
BRIDGE = "br_0"  # no link's interface has an underscore (`topology.names`)
_LIMITER = "tbf"
_FIRST_PORT = 1 << 30  # beyond all process ids, and not among those that the kernel gives
_LOOPBACK: frozenset[Interface] = frozenset((ip_interface("127.0.0.1/8"), ip_interface("::1/128")))
_SETTLE_SECONDS = 1.0
_ROUNDS = 3  # how often routes are looked at again within one `apply` if somebody changes them meanwhile


class LinuxDataplane:
    """The data plane of one lab; `prefix` (`INSTANCE-LAB`) starts the name of each of its namespaces."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._port = _FIRST_PORT + secrets.randbelow(_FIRST_PORT)  # no two planes shall have the same
        self._views: dict[str, View] = {}
        self._rates: dict[tuple[str, str], int] = {}
        self._monitor: Monitor | None = None
        self._has_objects: bool | None = None
        self._news = False
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

    async def changed(self) -> None:
        """Returns when something in the namespaces is not as the last `apply` left it, by whomever; wait only between
        those. What `apply` could not do is no news."""
        if self._monitor is None:
            await asyncio.Event().wait()
            return
        loop, seen, descriptor = asyncio.get_running_loop(), asyncio.Event(), self._monitor.fileno()
        loop.add_reader(descriptor, seen.set)
        try:
            while not self._news:
                await seen.wait()
                seen.clear()
                async with self._lock:
                    self._hear()
        finally:
            loop.remove_reader(descriptor)

    def reroute(self, namespace: str) -> FastReroute:
        """For a neighbour that falls silent: `fail` and `recover`. The caller closes it."""
        return FastReroute(self.path(namespace))

    def close(self) -> None:
        """Lets go of the sockets; the data plane goes on."""
        for view in self._views.values():
            view.netlink.close()
        self._views.clear()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    # What follows runs in one thread at a time.

    def _apply(self, desired: NetworkState) -> Report:
        errors: dict[str, str] = {}
        changes = self._remove_namespaces(namespace.name for namespace in desired.namespaces)
        changes += self._open_namespaces(desired.namespaces, errors)
        self._hear()
        bridges = {namespace.name for namespace in desired.namespaces if namespace.bridge}
        for namespace in desired.namespaces:
            if namespace.name in self._views:
                with _kept(errors, namespace.name):
                    changes += self._ensure_namespace(namespace)
        self._reread()
        changes += self._remove_links(desired, errors)
        for link in desired.links:
            with _kept(errors, link.name):
                changes += self._ensure_veth(link, bridges)
        self._hear()
        unlimited: list[str] = []
        changes += self._ensure_ends(desired, bridges, errors, unlimited)
        self._settle(desired)
        for _ in range(_ROUNDS):
            self._hear()
            changes += self._ensure_routes(desired, errors)
            self._news = False
            self._hear()
            if not any(view.stale & Part.ROUTES for view in self._views.values()):
                break
        return Report(errors, tuple(dict.fromkeys(unlimited)), changes)

    def _hear(self) -> None:
        if self._monitor is None:
            return
        for name, part in self._monitor.changes().items():
            self._views[name].heard(part)
            self._news = True

    def _remove_namespaces(self, keep: Iterable[str]) -> int:
        start = f"{self._prefix}-"
        kept = {start + name for name in keep}
        try:
            there = [name for name in os.listdir(NETNS) if name.startswith(start)]
        except FileNotFoundError:
            return 0
        gone = [pinned for pinned in there if pinned not in kept]
        try:
            for pinned in gone:
                netns.delete(NETNS / pinned)
        finally:
            # Our sockets go last: the namespaces end with them, all at once, and the kernel is slow while it ends some.
            for pinned in gone:
                self._forget(pinned.removeprefix(start))
        return len(gone)

    def _forget(self, name: str) -> None:
        if view := self._views.pop(name, None):
            view.netlink.close()
        if self._monitor is not None:
            self._monitor.discard(name)
        self._rates = {at: rate for at, rate in self._rates.items() if at[0] != name}

    def _open_namespaces(self, namespaces: Iterable[Namespace], errors: dict[str, str]) -> int:
        """Makes those that are not there, and gets to know those that are."""
        new, known = [], []
        for namespace in namespaces:
            path = self.path(namespace.name)
            if not netns.exists(path):
                self._forget(namespace.name)
                path.unlink(missing_ok=True)
                new.append(namespace)
            elif namespace.name not in self._views:
                known.append(namespace)
        if not new and not known:
            return 0
        if self._monitor is None:
            self._monitor = Monitor(self._port)
        wanted = {self.path(namespace.name): settings(namespace, ()) for namespace in (*new, *known)}

        def enter(path: Path) -> View:
            write(wanted[path])
            name = path.name.removeprefix(f"{self._prefix}-")
            return View(name, path, Netlink(port=self._port), settings=wanted[path])

        def begin(path: Path) -> View:
            """A new one has its loopback and nothing else, so there is nothing to read."""
            view = enter(path)
            view.netlink.request(rt.set_link(1, "lo", up=True))
            view.links = {"lo": rt.Link(1, "lo", up=True)}
            view.addresses = {1: set(_LOOPBACK)}
            view.stale = Part(0) if self._has_objects else Part.ROUTES
            return view

        if self._has_objects is None:
            self._has_objects = _has_objects()
        made = netns.create_each([self.path(namespace.name) for namespace in new], begin)
        found = netns.inside_each([self.path(namespace.name) for namespace in known], enter)
        changes = 0
        for namespace, view in zip((*new, *known), (*made, *found), strict=True):
            if isinstance(view, View):
                self._views[namespace.name] = view
                self._monitor.add(namespace.name, view.path)
            else:
                errors[namespace.name] = str(view)
        return changes + sum(isinstance(view, View) for view in made)

    def _ensure_namespace(self, namespace: Namespace) -> int:
        view = self._views[namespace.name]
        view.read_links()
        view.read_addresses()
        wanted = settings(namespace, (name for name in view.links if name != "lo"))
        if view.settings != wanted:
            netns.inside(view.path, lambda: write(wanted))
            view.settings = wanted
        requests = []
        loopback = view.links["lo"]
        if not loopback.up:
            requests.append(rt.set_link(loopback.index, "lo", up=True))
        requests += _address_changes(view, loopback, {*namespace.loopback, *_LOOPBACK})
        if namespace.bridge:
            bridge = view.links.get(BRIDGE)
            if bridge is None:
                requests.append(rt.add_bridge(BRIDGE, up=True))
            elif not bridge.up:
                requests.append(rt.set_link(bridge.index, BRIDGE, up=True))
        if not requests:
            return 0
        view.netlink.request(*requests)
        return len(requests)

    def _remove_links(self, desired: NetworkState, errors: dict[str, str]) -> int:
        wanted = {(end.namespace, end.interface) for link in desired.links for end in link.ends}
        removed = 0
        for name, view in self._views.items():
            for link in list(view.links.values()):
                if link.kind != "veth" or (name, link.name) in wanted:
                    continue
                try:
                    # It may go by itself just now, with the namespace of its other end.
                    view.netlink.request(rt.delete_link(link.name), ignore=(NotFoundError,))
                    del view.links[link.name]
                    removed += 1
                except WeftError as error:
                    errors.setdefault(name, str(error))
        if removed:
            self._reread()
        return removed

    def _reread(self) -> None:
        """The links of all namespaces where they changed."""
        self._hear()
        for view in self._views.values():
            view.read_links()

    def _ensure_veth(self, link: DataLink, bridges: set[str]) -> int:
        first, second = link.ends
        if second.namespace in bridges:
            first, second = second, first  # one request makes a link and its first end a port
        for end in link.ends:
            if end.namespace not in self._views:
                raise WeftError(f"cannot set up link {link.name}: its node {end.namespace} is not there")
        here, there = self._views[first.namespace], self._views[second.namespace]
        present = [end.interface in view.links for end, view in ((first, here), (second, there))]
        if all(present):
            return 0
        for end, view, is_there in zip((first, second), (here, there), present, strict=True):
            if is_there:  # half a link: its other end was lost with its namespace
                view.netlink.request(rt.delete_link(end.interface), ignore=(NotFoundError,))
        master = here.links[BRIDGE].index if first.namespace in bridges and BRIDGE in here.links else 0
        descriptor = os.open(there.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            here.netlink.request(
                rt.add_veth(
                    first.interface,
                    second.interface,
                    peer_netns=descriptor,
                    master=master,
                    mtu=link.mtu,
                    up=link.up,
                )
            )
        finally:
            os.close(descriptor)
        return 1

    def _ensure_ends(
        self, desired: NetworkState, bridges: set[str], errors: dict[str, str], unlimited: list[str]
    ) -> int:
        """Both ends of all links, in one batch a namespace."""
        requests: dict[str, list[tuple[str, rt.Message]]] = {}
        touched: set[str] = set()
        changes = 0
        for view in self._views.values():
            view.read_links()
            view.read_addresses()
        for link in desired.links:
            for end in link.ends:
                if end.namespace not in self._views:
                    continue
                view = self._views[end.namespace]
                if (present := view.links.get(end.interface)) is None:
                    continue
                master = view.links[BRIDGE].index if end.namespace in bridges and BRIDGE in view.links else 0
                wanted = _end_changes(view, present, link, end, master)
                if wanted:
                    requests.setdefault(end.namespace, []).extend((link.name, each) for each in wanted)
                    # Either end has a carrier when both are up, and the kernel tells of it later than it is so.
                    touched.update(each.namespace for each in link.ends)
                changes += self._ensure_rate(link, end, view, present, errors, unlimited)
        for name, wanted_here in requests.items():
            view = self._views[name]
            for (link_name, _), error in zip(
                wanted_here, view.netlink.results([message for _, message in wanted_here]), strict=True
            ):
                if error is not None:
                    errors.setdefault(link_name, str(error))
            changes += len(wanted_here)
        for name in touched & self._views.keys():
            self._views[name].stale |= Part.LINKS
        return changes

    def _ensure_rate(
        self, link: DataLink, end: End, view: View, present: rt.Link, errors: dict[str, str], unlimited: list[str]
    ) -> int:
        """The kernel shows that a link is limited but, in a link's own facts, not to what: that we remember."""
        at = (end.namespace, end.interface)
        limited = present.discipline == _LIMITER
        try:
            if not link.rate:
                self._rates.pop(at, None)
                if limited:
                    view.netlink.request(rt.delete_qdisc(present.index, end.interface))
                return int(limited)
            if limited and self._rates.get(at) == link.rate:
                return 0
            view.netlink.request(rt.add_tbf(present.index, end.interface, link.rate))
        except (UnsupportedError, NotFoundError):  # ENOENT: a kernel without the discipline
            unlimited.append(link.name)
            return 0
        except WeftError as error:
            errors.setdefault(link.name, str(error))
            return 0
        self._rates[at] = link.rate
        return 1

    def _settle(self, desired: NetworkState) -> None:
        """Waits for links with a carrier to be operational: the kernel refuses IPv6 neighbours until it has noticed the
        carrier itself, some milliseconds later."""
        views = [
            self._views[each.name]
            for each in desired.namespaces
            if each.name in self._views and any(route.destination.version == 6 for route in each.routes)
        ]
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self._monitor is not None and (left := deadline - time.monotonic()) > 0:
            self._hear()
            for view in views:
                view.read_links()
            views = [view for view in views if any(link.awaited for link in view.links.values())]
            if not views:
                return
            self._monitor.wait(left)

    def _ensure_routes(self, desired: NetworkState, errors: dict[str, str]) -> int:
        up: dict[str, list[str]] = {}
        for link in desired.links:
            if link.up:
                for end in link.ends:
                    up.setdefault(end.namespace, []).append(end.interface)
        changes = 0
        for namespace in desired.namespaces:
            view = self._views.get(namespace.name)
            if view is None or namespace.name in errors or not _has_routes(view, namespace):
                continue
            try:
                view.read_links()
                usable = {
                    name: present.index
                    for name in up.get(namespace.name, ())
                    if (present := view.links.get(name)) is not None and present.carrier
                }
                done, problem = ensure_routes(view, namespace, usable)
            except WeftError as error:
                done, problem = 0, str(error)
            changes += done
            if problem:
                errors[namespace.name] = problem
        return changes


def _has_objects() -> bool:
    """Whether the kernel knows next-hop objects."""
    try:
        with Netlink() as opened:
            opened.objects()
    except UnsupportedError:
        return False
    return True


def _has_routes(view: View, namespace: Namespace) -> bool:
    """Whether there are any, or should be; a host on a switch often has none."""
    wanted = namespace.routes or namespace.local_segments
    return bool(wanted or view.routes or view.objects or view.stale & Part.ROUTES)


@contextmanager
def _kept(errors: dict[str, str], name: str) -> Iterator[None]:
    """One object's error does not keep the others."""
    try:
        yield
    except WeftError as error:
        errors.setdefault(name, str(error))


def _address_changes(view: View, link: rt.Link, wanted: set[Interface]) -> list[rt.Message]:
    present = view.addresses.get(link.index, set())
    removed = [rt.delete_address(link.index, each) for each in present - wanted]
    return removed + [rt.add_address(link.index, each) for each in wanted - present]


def _end_changes(view: View, present: rt.Link, link: DataLink, end: End, master: int) -> list[rt.Message]:
    requests = []
    if present.up != link.up or present.mtu != link.mtu or (master and present.master != master):
        moved = master if master and present.master != master else None
        requests.append(rt.set_link(present.index, end.interface, up=link.up, master=moved, mtu=link.mtu))
    return requests + _address_changes(view, present, set(end.addresses))
