"""Sandboxes: a network namespace for each pod or container, on the node's bridge, with published ports.

What is made is recorded under the run directory before it is used, so that a later process finds it again and nothing
is lost or leaked after a kill. A published port is held by a bound socket of ours that never accepts: the packets are
forwarded by the kernel, and nobody else can take the port.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import random
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from weft.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError, WeftError
from weft.core.files import write_atomic
from weft.core.ids import short_hash
from weft.core.sandbox import PortBinding, Sandbox
from weft.core.settings import Settings
from weft.network.cluster import host, ruleset
from weft.network.cluster.nftables import Nftables
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink

T = TypeVar("T")
_INTERFACE = "eth0"
_TRIES = 64


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
        settings = self._settings
        self._mtu = host.mtu()
        host.enable_forwarding(settings)
        links = self._netlink.links()
        if settings.bridge not in links:
            self._netlink.request(rt.add_bridge(settings.bridge, mtu=self._mtu, mac=_mac(settings.gateway)))
        link = self._netlink.link(settings.bridge)
        interface = ipaddress.ip_interface(f"{settings.gateway}/{self._subnet.prefixlen}")
        self._netlink.request(
            rt.add_address(link.index, interface), rt.set_link(link.index, settings.bridge, up=True, mtu=self._mtu)
        )
        self._bridge = link.index
        host.prepare_bridge(settings.bridge)
        self.nftables.run(ruleset.base(settings) + ruleset.clear_ports(settings.instance))
        self._adopt()

    def _adopt(self) -> None:
        for file in sorted(self._records.glob("*.json")):
            try:
                values = json.loads(file.read_text())
                values["ports"] = tuple(PortBinding(**port) for port in values["ports"])
                sandbox = Sandbox(**values)
            except (ValueError, TypeError, KeyError):
                file.unlink()
                continue
            if not netns.exists(Path(sandbox.netns_path)):
                self._discard(sandbox)
                continue
            self._sandboxes[sandbox.id] = sandbox
            with contextlib.suppress(ConflictError):  # somebody took the port while we were away
                self._hold(sandbox.id, sandbox.ports)
            if sandbox.ports:
                self.nftables.run(ruleset.publish(self._settings.instance, sandbox.address, sandbox.ports))
        for pin in self._pins.glob("*") if self._pins.is_dir() else ():
            if pin.name not in self._sandboxes:
                netns.delete(pin)

    def _create(self, sandbox_id: str, ports: tuple[PortBinding, ...]) -> Sandbox:
        if not sandbox_id or "/" in sandbox_id or sandbox_id.startswith("."):
            raise InvalidError(f"cannot make a sandbox: {sandbox_id!r} is no id")
        with self._lock:
            present = self._sandboxes.get(sandbox_id)
            if present is not None:
                if len(present.ports) != len(ports):
                    raise ConflictError(f"cannot make sandbox {sandbox_id}: it exists with other ports")
                return present
            bound = self._hold(sandbox_id, ports)
            sandbox = Sandbox(
                id=sandbox_id,
                netns_path=str(self._pins / sandbox_id),
                address=(address := self._free_address()),
                prefix_length=self._subnet.prefixlen,
                gateway=self._settings.gateway,
                mac=_mac(address),
                ports=bound,
            )
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
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._netlink.request(
                rt.add_veth(
                    self._veth(sandbox.id), _INTERFACE, peer_netns=descriptor, master=self._bridge,
                    mtu=self._mtu, up=True, peer_mac=sandbox.mac,
                )
            )  # fmt: skip
        finally:
            os.close(descriptor)
        host.allow_hairpin(self._veth(sandbox.id))
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
        if sandbox.ports:
            self.nftables.run(ruleset.publish(self._settings.instance, sandbox.address, sandbox.ports))

    def _remove(self, sandbox_id: str) -> None:
        with self._lock:
            sandbox = self._sandboxes.pop(sandbox_id, None)
            if sandbox is not None:
                if sandbox.ports:
                    self.nftables.run(ruleset.withdraw(self._settings.instance, sandbox.ports))
                self._discard(sandbox)

    def _discard(self, sandbox: Sandbox) -> None:
        """Removes all that may be there of a sandbox, but for its rules."""
        for each in self._held.pop(sandbox.id, []):
            each.close()
        with contextlib.suppress(NotFoundError):
            self._netlink.request(rt.delete_link(self._veth(sandbox.id)))
        netns.delete(Path(sandbox.netns_path))
        self._record(sandbox.id).unlink(missing_ok=True)

    def _record(self, sandbox_id: str) -> Path:
        return self._records / f"{sandbox_id}.json"

    def _veth(self, sandbox_id: str) -> str:
        return self._settings.instance + short_hash(sandbox_id)

    def _free_address(self) -> str:
        """A random one, so that an address is not given out again soon after it was freed."""
        taken = {sandbox.address for sandbox in self._sandboxes.values()} | {self._settings.gateway}
        size = self._subnet.num_addresses
        if len(taken) >= size - 2:
            raise UnavailableError(f"cannot make a sandbox: no address is left in {self._subnet}")
        for _ in range(_TRIES):
            address = str(self._subnet[random.randrange(2, size - 1)])
            if address not in taken:
                return address
        return next(str(each) for each in self._subnet.hosts() if str(each) not in taken)

    def _hold(self, sandbox_id: str, ports: Sequence[PortBinding]) -> tuple[PortBinding, ...]:
        """Binds a socket for each port; a port of 0 becomes the one that the kernel chose."""
        held: list[socket.socket] = []
        bound: list[PortBinding] = []
        try:
            for port in ports:
                opened = _bind(port)
                held.append(opened)
                number = opened.getsockname()[1]
                bound.append(PortBinding(port.container_port, port.protocol, port.host_ip, number))
        except BaseException:
            for each in held:
                each.close()
            raise
        if held:
            self._held[sandbox_id] = held
        return tuple(bound)


def _bind(port: PortBinding) -> socket.socket:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    address = port.host_ip or "0.0.0.0"
    opened = socket.socket(socket.AF_INET, kind)
    try:
        opened.bind((address, port.host_port))
        if kind == socket.SOCK_STREAM:
            opened.listen(1)
    except OSError as error:
        opened.close()
        where = f"Bind for {address}:{port.host_port} failed"
        if isinstance(error, PermissionError):
            raise ForbiddenError(f"{where}: {error.strerror}") from error
        if error.errno == 98:
            raise ConflictError(f"{where}: port is already allocated") from error
        raise WeftError(f"{where}: {error.strerror or error}") from error
    return opened


def _mac(address: str) -> str:
    """A locally administered MAC made of the IPv4 address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)
