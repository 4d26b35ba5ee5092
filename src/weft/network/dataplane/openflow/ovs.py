"""A private Open vSwitch: its own database, daemons and sockets in one directory, forwarding in user space.

In: a directory, and bridges with their ports. Out: ovs-vsctl(8) batches on the private database with what differs;
`stop` ends the two daemons by the ids in their files and nothing else. The daemons live on when whoever started them
ends, and are found again. User space needs no kernel module; hosts behind it must turn transmit checksum offload off
(`southbound.offload`), or their TCP hangs.
"""

import asyncio
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.core.errors import UnavailableError, UnsupportedError

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A datapath; `ports` are interfaces by name with their OpenFlow numbers. `controller` as ovs-vsctl(8) names it."""

    name: str
    datapath: int
    ports: Mapping[str, int] = field(default_factory=dict)
    controller: str = ""


async def _run(directory: Path, *command: str) -> str:
    # Not by the loop: uvloop lets children inherit its ends of their pipes, and a daemon would keep them open for ever.
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OVS_RUNDIR": str(directory)},  # where the switch puts the sockets of its bridges
            check=False,
        )
    except FileNotFoundError:
        raise UnsupportedError(f"cannot run Open vSwitch: {command[0]} is not installed (Debian: openvswitch-switch)")
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise UnavailableError(f"cannot {' '.join(command[:2])}: {text.strip()}")
    return text


class OpenVSwitch:
    """`start` and `stop` may be called again; `stop_switch` and `start_switch` are for a restart of the one daemon.

    `namespace` is where a network namespace is pinned that has the ports; None: that of the caller.
    """

    def __init__(self, directory: Path, namespace: Path | None = None) -> None:
        self.directory = directory
        self.namespace = namespace
        self._database = f"unix:{directory}/db.sock"

    def _daemon(self, name: str) -> tuple[str, ...]:
        return (
            f"--pidfile={self.directory}/{name}.pid", f"--log-file={self.directory}/{name}.log",
            f"--unixctl={self.directory}/{name}.ctl", "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off",
        )  # fmt: skip

    async def start(self) -> bool:
        """Starts what does not run; returns whether anything was."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "conf.db"
        if started := self._pid("ovsdb-server") is None:
            if not file.exists():
                await _run(self.directory, "ovsdb-tool", "create", str(file), _SCHEMA)
            await _run(
                self.directory, "ovsdb-server", str(file), f"--remote=p{self._database}", *self._daemon("ovsdb-server")
            )
            await self.vsctl(["init"], wait=False)
        if (pid := self._pid("ovs-vswitchd")) is not None and not self._is_inside(pid):
            await self.stop_switch()  # its namespace was lost, and there is another of that name
            pid = None
        if pid is None:
            await self.start_switch()
        return started or pid is None

    async def start_switch(self) -> None:
        enter = () if self.namespace is None else ("nsenter", f"--net={self.namespace}")
        await _run(self.directory, *enter, "ovs-vswitchd", self._database, *self._daemon("ovs-vswitchd"))

    def _is_inside(self, pid: int) -> bool:
        try:
            return self.namespace is None or self.namespace.samefile(f"/proc/{pid}/ns/net")
        except FileNotFoundError:
            return False

    def _pid(self, name: str) -> int | None:
        """Of a daemon of ours that runs: the id in its file may be another's by now."""
        try:
            pid = int((self.directory / f"{name}.pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid if f"--pidfile={self.directory}/{name}.pid".encode() in words else None

    async def stop_switch(self) -> None:
        await self._stop("ovs-vswitchd")

    async def _stop(self, name: str) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self._pid(name) == pid:  # still the same, now that it is held
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                await asyncio.to_thread(_wait_for_end, handle)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    async def vsctl(self, *orders: Sequence[str], wait: bool = True, form: str = "table") -> str:
        """Many orders in one transaction; `form` is that of tables."""
        words = [word for order in orders for word in ("--", *order)]
        options = ["--timeout=20", f"--db={self._database}", f"--format={form}", *([] if wait else ["--no-wait"])]
        return await _run(self.directory, "ovs-vsctl", *options, *words)

    async def appctl(self, *words: str) -> str:
        """An order to the switch itself, ovs-appctl(8)."""
        return await _run(self.directory, "ovs-appctl", "-t", f"{self.directory}/ovs-vswitchd.ctl", *words)

    def management(self, bridge: str) -> str:
        """Where ovs-ofctl(8) reaches a bridge."""
        return f"unix:{self.directory}/{bridge}.mgmt"

    async def bridges(self) -> dict[str, Bridge]:
        """What the database has, by name."""
        orders = [
            ["--columns=name,other_config,ports,controller", "list", "bridge"],
            ["--columns=_uuid,interfaces", "list", "port"],
            ["--columns=_uuid,name,ofport_request", "list", "interface"],
            ["--columns=_uuid,target", "list", "controller"],
        ]
        out = await self.vsctl(*orders, wait=False, form="json")
        tables = [json.loads(line)["data"] for line in out.splitlines() if line.startswith("{")]
        bridges, ports, interfaces, controllers = tables
        first = {port[1]: _uuids(each)[0] for port, each in ports}
        wires = {uuid[1]: (name, number) for uuid, name, number in interfaces if isinstance(number, int)}
        targets = {uuid[1]: target for uuid, target in controllers}
        found = {}
        for name, config, its_ports, its_controllers in bridges:
            datapath = dict(config[1]).get("datapath-id", "0")
            its = dict(wires[first[port]] for port in _uuids(its_ports) if first[port] in wires)
            target = next((targets[each] for each in _uuids(its_controllers)), "")
            found[name] = Bridge(name, int(datapath, 16), its, target)
        return found

    async def apply(self, bridges: Iterable[Bridge]) -> int:
        """Makes these the only bridges; returns how many orders it took. All forward on without a controller."""
        has, wanted = await self.bridges(), {each.name: each for each in bridges}
        orders: list[list[str]] = [["del-br", name] for name in has.keys() - wanted.keys()]
        for name, bridge in wanted.items():
            orders += _bridge_orders(bridge, has.get(name))
        if orders:
            await self.vsctl(*orders)
        return len(orders)

    async def stop(self) -> None:
        """Removes all bridges, then ends both daemons."""
        if (self.directory / "db.sock").exists():
            try:
                bridges = (await self.vsctl(["list-br"], wait=False)).split()
                if bridges:
                    await self.vsctl(
                        *[["del-br", each] for each in bridges], wait=self._pid("ovs-vswitchd") is not None
                    )
            except UnavailableError:
                pass  # the database is gone: its bridges are too, once the switch ends
        await self._stop("ovs-vswitchd")
        await self._stop("ovsdb-server")


def _uuids(value: Any) -> list[str]:
    """A set of rows as JSON: one alone stands without its set (RFC 7047, 5.1)."""
    kind, found = value
    return [found] if kind == "uuid" else [each[1] for each in found]


def _bridge_orders(bridge: Bridge, has: Bridge | None) -> list[list[str]]:
    name, orders = bridge.name, []
    if has is None or has.datapath != bridge.datapath:
        orders += [
            ["--may-exist", "add-br", name],
            ["set", "bridge", name, "datapath_type=netdev", "protocols=OpenFlow13", "fail-mode=secure",
             f"other-config:datapath-id={bridge.datapath:016x}", "other-config:disable-in-band=true"],
        ]  # fmt: skip
    ports = {} if has is None else has.ports
    orders += [["--if-exists", "del-port", name, port] for port in ports.keys() - bridge.ports.keys()]
    for port, number in bridge.ports.items():
        if ports.get(port) != number:
            orders.append(["--may-exist", "add-port", name, port])
            orders.append(["set", "interface", port, f"ofport_request={number}"])
    if bridge.controller and (has is None or has.controller != bridge.controller):
        # A short back-off, so that a controller that returns is found within a second.
        orders += [
            [
                f"--id=@c{bridge.datapath:x}",
                "create",
                "controller",
                f'target="{bridge.controller}"',
                "max_backoff=1000",
            ],
            ["set", "bridge", name, f"controller=@c{bridge.datapath:x}"],
        ]
    return orders


def _wait_for_end(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(10_000):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll.poll(5_000)
