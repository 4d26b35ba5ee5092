"""Sandboxes: a network namespace for each pod or container, on the node's bridge, with published ports.

What is made is recorded under the run directory before it is used, so that a later process finds it again and nothing
is lost or leaked after a kill. A published port is held by a bound socket of ours that never accepts: the packets are
forwarded by the kernel, and nobody else can take the port.
"""

import asyncio
import errno
import ipaddress
import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from pathlib import Path

from weft.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
    WeftError,
)
from weft.core.files import write_atomic
from weft.core.ids import short_hash
from weft.core.sandbox import PortBinding, Sandbox
from weft.core.settings import Settings
from weft.network.cluster import firewalls, host, ruleset
from weft.network.cluster.nftables import Nftables, NftablesError
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink

logger = logging.getLogger(__name__)
_INTERFACE = "eth0"
_TRIES = 64
_FIRST_ADDRESS = 2  # after the network's own and the gateway's
_LONGEST_ID = 200
_CARRIER_TRIES, _CARRIER_SECONDS = 500, 0.002


class Sandboxes:
    """Implements `weft.core.sandbox.Networking`; `nftables` is shared with the services' table."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._subnet = ipaddress.IPv4Network(settings.pod_subnet)
        self._records = settings.paths.run / "sandboxes"
        self._pins = settings.paths.run / "netns"
        self._sandboxes: dict[str, Sandbox] = {}
        self._held: dict[str, list[socket.socket]] = {}
        self._lock = threading.Lock()
        self._mtu = 1500
        self._bridge = 0
        self.nftables = Nftables()
        self._netlink = Netlink()

    @property
    def nameserver(self) -> str:
        return self._settings.gateway

    async def open(self) -> None:
        """Makes or adopts the bridge and the table, and takes over the sandboxes of an earlier process."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Lets go of sockets; sandboxes and rules stay for the next process."""
        for sockets in self._held.values():
            for each in sockets:
                each.close()
        self._held.clear()
        self._netlink.close()

    async def create(self, sandbox_id: str, ports: Sequence[PortBinding] = ()) -> Sandbox:
        return await asyncio.to_thread(self._create, sandbox_id, tuple(ports))

    async def remove(self, sandbox_id: str) -> None:
        await asyncio.to_thread(self._remove, sandbox_id)

    def get(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.get(sandbox_id)

    def list(self) -> Sequence[Sandbox]:
        return tuple(self._sandboxes.values())

    # What follows runs in threads, one at a time.

    def _open(self) -> None:
        with host.one_at_a_time():  # else two could find the same subnet free
            self._check_subnets()
            self._make_bridge()
        host.enable_forwarding(self._settings)
        host.prepare_bridge(self._settings.bridge)
        self._adopt()
        self.nftables.run(self._rules())
        firewalls.admit(self._settings, self.nftables)

    def _make_bridge(self) -> None:
        settings = self._settings
        self._mtu = host.mtu()
        if settings.bridge not in self._netlink.links():
            self._netlink.request(rt.add_bridge(settings.bridge, mtu=self._mtu, mac=_mac(settings.gateway)))
        self._bridge = self._netlink.link(settings.bridge).index
        services = ipaddress.ip_network(settings.service_subnet)
        self._netlink.request(
            rt.add_address(self._bridge, ipaddress.ip_interface(f"{settings.gateway}/{self._subnet.prefixlen}")),
            rt.set_link(self._bridge, settings.bridge, up=True, mtu=self._mtu),
            # So that the host finds a way to a ClusterIP even where it has no default route.
            rt.replace_route(rt.Route(services, (rt.NextHop(self._bridge),))),
        )

    def _check_subnets(self) -> None:
        """Raises ConflictError where another link of the machine leads to our addresses."""
        names = {link.index: name for name, link in self._netlink.links().items()}
        subnets = {"pod_subnet": self._subnet, "service_subnet": ipaddress.IPv4Network(self._settings.service_subnet)}
        for route in self._netlink.routes():
            name = names.get(route.next_hops[0].index, "") if route.next_hops else ""
            if route.destination.prefixlen == 0 or name == self._settings.bridge:
                continue
            for setting, subnet in subnets.items():
                if isinstance(route.destination, ipaddress.IPv4Network) and route.destination.overlaps(subnet):
                    raise ConflictError(
                        f"cannot use {setting} {subnet}: {route.destination} is routed to {name or 'nowhere'} already"
                    )

    def _rules(self, *more: Sandbox) -> str:
        """The table as it should be, but for services, which stay as they are."""
        name = self._settings.instance
        published = [each for each in (*self._sandboxes.values(), *more) if each.ports]
        text = ruleset.base(self._settings) + ruleset.clear_ports(name)
        return text + "".join(ruleset.publish(name, each.address, each.ports) for each in published)

    def _adopt(self) -> None:
        links = self._netlink.links()
        for file in sorted(self._records.glob("*.json")):
            try:
                values = json.loads(file.read_text())
                values["ports"] = tuple(PortBinding(**port) for port in values["ports"])
                sandbox = Sandbox(**values)
            except (ValueError, TypeError, KeyError) as error:
                logger.warning("cannot read a sandbox's record, dropped", extra={"file": file, "error": error})
                file.unlink()
                continue
            if not netns.exists(Path(sandbox.netns_path)):
                self._discard(sandbox)
                continue
            self._sandboxes[sandbox.id] = sandbox
            self._readopt(sandbox, links.get(self._veth(sandbox.id)))
        for pin in self._pins.glob("*"):
            if pin.name not in self._sandboxes:
                netns.delete(pin)

    def _readopt(self, sandbox: Sandbox, link: rt.Link | None) -> None:
        """Takes over what still works, and repairs what does not: somebody may have been here while we were not."""
        try:
            if link is None:
                self._plug(sandbox)
            elif link.master != self._bridge or not link.up:
                self._netlink.request(rt.set_link(link.index, link.name, up=True, master=self._bridge))
            self._held[sandbox.id] = _hold(sandbox.ports)
        except WeftError as error:
            logger.warning("cannot wholly take over a sandbox", extra={"sandbox": sandbox.id, "error": error})

    def _create(self, sandbox_id: str, ports: tuple[PortBinding, ...]) -> Sandbox:
        if not sandbox_id or "/" in sandbox_id or sandbox_id.startswith(".") or len(sandbox_id) > _LONGEST_ID:
            raise InvalidError(f"cannot make a sandbox: {sandbox_id!r} is no id")
        for port in ports:
            _check(port)
        with self._lock:
            present = self._sandboxes.get(sandbox_id)
            if present is not None:
                if not _same(present.ports, ports):
                    raise ConflictError(f"cannot make sandbox {sandbox_id}: it exists with other ports")
                return present
            address = free_address(self._subnet, {each.address for each in self._sandboxes.values()})
            held = _hold(ports)
            sandbox = Sandbox(
                id=sandbox_id,
                netns_path=str(self._pins / sandbox_id),
                address=address,
                prefix_length=self._subnet.prefixlen,
                gateway=self._settings.gateway,
                mac=_mac(address),
                ports=tuple(
                    replace(port, host_port=each.getsockname()[1]) for port, each in zip(ports, held, strict=True)
                ),
            )
            self._held[sandbox_id] = held
            try:
                self._build(sandbox)
            except BaseException:
                self._discard(sandbox)
                raise
            self._sandboxes[sandbox_id] = sandbox
            return sandbox

    def _build(self, sandbox: Sandbox) -> None:
        write_atomic(self._record(sandbox.id), json.dumps(asdict(sandbox)).encode(), sync=False)
        path = Path(sandbox.netns_path)
        path.unlink(missing_ok=True)
        netns.create(path)
        self._plug(sandbox)
        if sandbox.ports:
            name = self._settings.instance
            self._change_rules(ruleset.publish(name, sandbox.address, sandbox.ports), sandbox)

    def _plug(self, sandbox: Sandbox) -> None:
        """Links the namespace to the bridge. All goes through the gateway: a pod has no neighbour but that."""
        path = Path(sandbox.netns_path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._netlink.request(
                rt.add_veth(
                    self._veth(sandbox.id), _INTERFACE, peer_netns=descriptor, master=self._bridge,
                    mtu=self._mtu, up=True, peer_mac=sandbox.mac,
                ),
                # A pod may reach itself through a service, and a bridge that asks netfilter (br_netfilter) switches
                # what is translated to one of its own ports instead of handing it up.
                rt.set_hairpin(self._veth(sandbox.id)),
            )  # fmt: skip
        finally:
            os.close(descriptor)
        with Netlink(path) as inner:
            loopback, link = inner.link("lo").index, inner.link(_INTERFACE).index
            gateway = ipaddress.ip_address(sandbox.gateway)
            inner.request(
                rt.set_link(loopback, "lo", up=True),
                rt.set_link(link, _INTERFACE, up=True),
                rt.add_address(link, ipaddress.ip_interface(f"{sandbox.address}/32")),
                rt.replace_route(rt.Route(ipaddress.ip_network(f"{gateway}/32"), (rt.NextHop(link),))),
                rt.replace_route(rt.Route(ipaddress.ip_network("0.0.0.0/0"), (rt.NextHop(link, gateway),))),
            )
        self._await_carrier(self._veth(sandbox.id))

    def _await_carrier(self, veth: str) -> None:
        """The kernel notes a carrier a little later, and until then the bridge drops what is for the port: a first
        datagram would be lost, a first connection a second late. Asking makes a newer kernel note it at once."""
        for _ in range(_CARRIER_TRIES):
            if self._netlink.link(veth).operational:
                return
            time.sleep(_CARRIER_SECONDS)

    def _change_rules(self, text: str, *more: Sandbox) -> None:
        """Changes the table; where it is not as we left it (somebody flushed it), makes it so again."""
        try:
            self.nftables.run(text)
        except NftablesError as error:
            logger.warning("packet rules were changed by somebody else, made anew", extra={"error": error})
            self.nftables.run(self._rules(*more))

    def _remove(self, sandbox_id: str) -> None:
        with self._lock:
            sandbox = self._sandboxes.pop(sandbox_id, None)
            if sandbox is None:
                return
            try:
                if sandbox.ports:
                    self._change_rules(ruleset.withdraw(self._settings.instance, sandbox.address, sandbox.ports))
            finally:
                self._discard(sandbox)

    def _discard(self, sandbox: Sandbox) -> None:
        """Removes all that may be there of a sandbox, but for its rules."""
        for each in self._held.pop(sandbox.id, []):
            each.close()
        self._netlink.request(rt.delete_link(self._veth(sandbox.id)), ignore=(NotFoundError,))
        netns.delete(Path(sandbox.netns_path))
        self._record(sandbox.id).unlink(missing_ok=True)

    def _record(self, sandbox_id: str) -> Path:
        return self._records / f"{sandbox_id}.json"

    def _veth(self, sandbox_id: str) -> str:
        return self._settings.instance + short_hash(sandbox_id)


def free_address(subnet: ipaddress.IPv4Network, taken: AbstractSet[str]) -> str:
    """A random address, so that one is not given out again soon after it was freed; never the gateway's.

    Raises UnavailableError where none is left.
    """
    last = subnet.num_addresses - 1  # the broadcast address
    for _ in range(_TRIES):
        address = str(subnet[random.randrange(_FIRST_ADDRESS, last)])
        if address not in taken:
            return address
    for index in range(_FIRST_ADDRESS, last):
        if (address := str(subnet[index])) not in taken:
            return address
    raise UnavailableError(f"cannot make a sandbox: no address is left in {subnet}")


def _check(port: PortBinding) -> None:
    """Raises InvalidError, UnsupportedError."""
    for number, least in ((port.container_port, 1), (port.host_port, 0)):
        if not least <= number <= 65535:
            raise InvalidError(f"cannot publish port {number}: not between {least} and 65535")
    if port.protocol not in ("tcp", "udp"):
        raise UnsupportedError(f"cannot publish port {port.container_port}: protocol {port.protocol} is not supported")
    try:
        version = ipaddress.ip_address(port.host_ip or "0.0.0.0").version
    except ValueError:
        raise InvalidError(f"cannot publish port {port.container_port}: {port.host_ip!r} is no address") from None
    if version != 4:
        raise UnsupportedError(f"cannot publish port {port.container_port} at {port.host_ip}: sandboxes have no IPv6")


def _same(bound: Sequence[PortBinding], asked: Sequence[PortBinding]) -> bool:
    """Whether these are the ports asked for; of one asked for as 0, any number is right."""
    return len(bound) == len(asked) and all(
        have == (want if want.host_port else replace(want, host_port=have.host_port))
        for have, want in zip(bound, asked, strict=True)
    )


def _hold(ports: Sequence[PortBinding]) -> list[socket.socket]:
    """A bound socket for each port, all or none; a port of 0 becomes one that the kernel chooses."""
    held: list[socket.socket] = []
    try:
        for port in ports:
            held.append(_bind(port))
    except BaseException:
        for each in held:
            each.close()
        raise
    return held


def _bind(port: PortBinding) -> socket.socket:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    address = port.host_ip or "0.0.0.0"
    opened = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:  # connections of the last holder that still end are no hindrance
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address, port.host_port))
        if kind == socket.SOCK_STREAM:
            opened.listen(1)
    except OSError as error:
        opened.close()
        where = f"Bind for {address}:{port.host_port} failed"
        if error.errno == errno.EACCES:
            raise ForbiddenError(f"{where}: {error.strerror}") from error
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"{where}: port is already allocated") from error
        raise InvalidError(f"{where}: {error.strerror}") from error
    return opened


def _mac(address: str) -> str:
    """A locally administered MAC made of the IPv4 address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)
