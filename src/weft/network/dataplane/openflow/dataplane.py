"""The OpenFlow data plane: takes a desired state per datapath and keeps the switches at it.

In: `apply`, and switches that come and go on an OpenFlowServer. Out: one bundle a datapath with the difference to
what the switch says that it holds. Nothing is ever flushed: a switch that returns keeps forwarding by what it has,
is read, and gets only what is missing. Messages of switches go on to a `Listener` such as `learning.FabricController`.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from weft.core.errors import UnavailableError, WeftError
from weft.network.dataplane.openflow.state import COOKIE_MASK, DatapathState, Owner, changes
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.server import OpenFlowServer, Switch

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who decides: told of ports, packets and own flows as a switch comes, and of what it sends later."""

    def joined(self, datapath: int, ports: list[m.Port], flows: list[m.FlowStats]) -> None: ...
    def left(self, datapath: int) -> None: ...
    def received(self, datapath: int, message: m.Message) -> None: ...


@dataclass(slots=True)
class Report:
    """Messages that were needed, by datapath; `errors` name those that stay as they were."""

    changed: dict[int, int] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


class OpenFlowDataplane:
    """`instance` marks what is ours on switches that others use too."""

    def __init__(self, instance: str, listener: Listener | None = None) -> None:
        self.owner = Owner.of(instance)
        self.listener = listener
        self.server = OpenFlowServer(self)
        self.switches: dict[int, Switch] = {}
        self.held: dict[int, tuple[int, int]] = {}  # our flows and groups in each switch, as last read and set up
        self._desired: dict[int, DatapathState] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, where: Path | tuple[str, int] = ("127.0.0.1", 6653)) -> None:
        await self.server.listen(where)

    async def close(self) -> None:
        """Lets go of the switches; they go on with the flows that they have."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.close()

    async def apply(self, states: Mapping[int, DatapathState]) -> Report:
        """Sets the desired state of these datapaths; one that is away gets it when it comes."""
        self._desired.update(states)
        report = Report()

        async def one(datapath: int) -> None:
            try:
                report.changed[datapath] = await self.reconcile(datapath)
            except WeftError as error:
                report.errors[datapath] = str(error)

        await asyncio.gather(*(one(each) for each in states if each in self.switches))
        return report

    async def reconcile(self, datapath: int) -> int:
        """Reads what the switch holds and sends the difference; returns its number of messages."""
        async with self._locks.setdefault(datapath, asyncio.Lock()):
            switch, desired = self.switches.get(datapath), self._desired.get(datapath)
            if switch is None:
                raise UnavailableError(f"cannot reach datapath {datapath:#x}: it is away")
            if desired is None:
                return 0
            flows, groups = await asyncio.gather(self.flows(switch), switch.read(m.GroupDescRequest(), m.GroupDesc))
            mods = changes(desired, flows, groups, self.owner)
            if mods:
                done = await switch.bundle(mods)
                if done.failures:
                    first = done.failures[0]
                    raise WeftError(f"cannot set up datapath {datapath:#x}: message {first.index}: {first.error}")
            self.held[datapath] = len(desired.flows), len(desired.groups)
            return len(mods)

    async def flows(self, switch: Switch) -> list[m.FlowStats]:
        """Our own flows there."""
        request = m.FlowStatsRequest(cookie=self.owner.cookie & COOKIE_MASK, cookie_mask=COOKIE_MASK)
        return await switch.read(request, m.FlowStats)

    # What the server tells.

    def connected(self, switch: Switch) -> None:
        old = self.switches.get(switch.datapath)
        self.switches[switch.datapath] = switch
        if old is not None:
            old.close()  # a switch that lost its channel is back before we noticed
        task = asyncio.get_running_loop().create_task(self._join(switch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, switch: Switch) -> None:
        try:
            ports, flows = await asyncio.gather(switch.read(m.PortDescRequest(), m.Port), self.flows(switch))
            if self.listener is not None:
                self.listener.joined(switch.datapath, ports, flows)
            await self.reconcile(switch.datapath)
        except WeftError as error:
            log.warning("cannot take in a switch", extra={"cause": str(error)})
            switch.close()  # it calls again

    def received(self, switch: Switch, message: m.Message) -> None:
        if isinstance(message, m.Error):
            log.warning("a switch refused a message", extra={"datapath": switch.datapath, "error": str(message)})
        if self.listener is not None:
            self.listener.received(switch.datapath, message)

    def disconnected(self, switch: Switch, cause: str) -> None:
        if self.switches.get(switch.datapath) is switch:
            del self.switches[switch.datapath]
            self.held.pop(switch.datapath, None)
            if self.listener is not None:
                self.listener.left(switch.datapath)
