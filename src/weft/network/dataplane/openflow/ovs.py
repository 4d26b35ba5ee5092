"""A private Open vSwitch: its own database, daemons and sockets in one directory, forwarding in user space.

In: a directory and orders for bridges and ports. Out: ovs-vsctl(8) batches on the private database; `stop` ends the
two daemons by the ids in their files and nothing else. User space needs no kernel module; hosts behind it must turn
transmit checksum offload off (`ethtool -K DEV tx off`), or their TCP hangs.
"""

import asyncio
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

from weft.core.errors import UnavailableError, UnsupportedError


async def _run(directory: Path, *command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"OVS_RUNDIR": str(directory)},  # where the switch puts the sockets of its bridges
        )
    except FileNotFoundError:
        raise UnsupportedError(f"cannot run Open vSwitch: {command[0]} is not installed")
    out, _ = await process.communicate()
    text = out.decode(errors="replace")
    if process.returncode:
        raise UnavailableError(f"cannot {' '.join(command[:2])}: {text.strip()}")
    return text


class OpenVSwitch:
    """`start` and `stop` may be called again; `stop_switch` and `start_switch` are for a restart of the one daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._database = f"unix:{directory}/db.sock"

    def _daemon(self, name: str) -> tuple[str, ...]:
        return (
            f"--pidfile={self.directory}/{name}.pid", f"--log-file={self.directory}/{name}.log",
            f"--unixctl={self.directory}/{name}.ctl", "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off",
        )  # fmt: skip

    async def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "conf.db"
        if not file.exists():
            await _run(self.directory, "ovsdb-tool", "create", str(file), "/usr/share/openvswitch/vswitch.ovsschema")
        await _run(
            self.directory, "ovsdb-server", str(file), f"--remote=p{self._database}", *self._daemon("ovsdb-server")
        )
        await self.vsctl(["init"], wait=False)
        await self.start_switch()

    async def start_switch(self) -> None:
        await _run(self.directory, "ovs-vswitchd", self._database, *self._daemon("ovs-vswitchd"))

    async def stop_switch(self) -> None:
        await self._stop("ovs-vswitchd")

    async def _stop(self, name: str) -> None:
        try:
            pid = int((self.directory / f"{name}.pid").read_text())
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        try:
            # The id may be another's by now: only a process of that name is ours to end.
            if Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                await asyncio.to_thread(_wait_for_end, handle)
        except (ProcessLookupError, FileNotFoundError):
            pass
        finally:
            os.close(handle)

    async def vsctl(self, *orders: Sequence[str], wait: bool = True) -> str:
        """Many orders in one transaction."""
        words = [word for order in orders for word in ("--", *order)]
        options = ["--timeout=20", f"--db={self._database}", *([] if wait else ["--no-wait"])]
        return await _run(self.directory, "ovs-vsctl", *options, *words)

    async def appctl(self, *words: str) -> str:
        """An order to the switch itself, ovs-appctl(8)."""
        return await _run(self.directory, "ovs-appctl", "-t", f"{self.directory}/ovs-vswitchd.ctl", *words)

    def management(self, bridge: str) -> str:
        """Where ovs-ofctl(8) reaches a bridge."""
        return f"unix:{self.directory}/{bridge}.mgmt"

    async def add_bridge(self, name: str, datapath: int, controller: str = "", ports: Sequence[str] = ()) -> None:
        """`controller` as ovs-vsctl(8) names it; a Unix socket must be DIRECTORY/NAME.controller.

        The bridge forwards on without one: fail-mode is secure.
        """
        orders: list[list[str]] = [
            ["--may-exist", "add-br", name],
            ["set", "bridge", name, "datapath_type=netdev", "protocols=OpenFlow13", "fail-mode=secure",
             f"other-config:datapath-id={datapath:016x}", "other-config:disable-in-band=true"],
            *[["--may-exist", "add-port", name, port] for port in ports],
        ]  # fmt: skip
        if controller:
            # A short back-off, so that a controller that returns is found within a second.
            orders += [
                ["--id=@c", "create", "controller", f'target="{controller}"', "max_backoff=1000"],
                ["set", "bridge", name, "controller=@c"],
            ]
        await self.vsctl(*orders)

    async def remove_bridge(self, name: str) -> None:
        await self.vsctl(["--if-exists", "del-br", name])

    async def stop(self) -> None:
        """Removes all bridges, then ends both daemons."""
        if (self.directory / "db.sock").exists():
            try:
                bridges = (await self.vsctl(["list-br"], wait=False)).split()
                if bridges:
                    alive = (self.directory / "ovs-vswitchd.pid").exists()
                    await self.vsctl(*[["del-br", each] for each in bridges], wait=alive)
            except UnavailableError:
                pass  # the database is gone: its bridges are too, once the switch ends
        await self._stop("ovs-vswitchd")
        await self._stop("ovsdb-server")


def _wait_for_end(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(10_000):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll.poll(5_000)
