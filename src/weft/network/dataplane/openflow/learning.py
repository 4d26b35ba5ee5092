"""Learns ports, links and hosts, and keeps the fabric's flows to what it has learnt.

In: what an OpenFlowDataplane hears. Out: LLDP probes, forwarded first packets, and the states that `fabric.decide`
finds. Paths to a host are set up when its first packet comes in. Nothing is decided until all is quiet for `settle`
seconds: after a restart, hosts are known again from our own flows and links from the first round of probes, and
acting on half of them would take good flows away. A switch that is out of reach keeps its links: it still forwards.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from weft.network.dataplane.openflow.dataplane import OpenFlowDataplane
from weft.network.dataplane.openflow.fabric import LOCAL_HOST, End, Fabric, Link, decide
from weft.network.dataplane.openflow.packets import LLDP, Frame, Probe, who_has
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.actions import PORT_MAX, ApplyActions, Output

log = logging.getLogger(__name__)
_SILENT_ROUNDS = 8.5


class FabricController:
    """Give it to nobody else: it is the listener of its data plane."""

    def __init__(
        self, plane: OpenFlowDataplane, *, settle: float = 1.0, probe_every: float = 1.0, spread_udp: bool = False
    ) -> None:
        """`spread_udp`: all switches are Open vSwitch (see `fabric.Fabric`)."""
        self.plane = plane
        self.spread_udp = spread_udp
        self.settle, self.probe_every = settle, probe_every
        self.ports: dict[End, m.Port] = {}
        self.links: dict[Link, float] = {}  # when each direction was last probed well
        self.hosts: dict[int, End] = {}
        self.addresses: dict[IPv4Address, int] = {}
        self.applied = 0  # rounds; for those who wait for one
        self.changed: Callable[[], None] = lambda: None  # called when any of this has
        self.lost: Callable[[int], None] = lambda _: None  # called with a datapath that is out of reach
        self._datapaths: set[int] = set()
        self._changed = asyncio.Event()
        self._first_change = self._last_change = 0.0
        self._urgent = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        # Where hosts answer us: no flow has it, so the answer comes here.
        self._mac = b"\x02W" + (plane.owner.cookie >> 32).to_bytes(4)
        plane.listener = self

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._probe()), loop.create_task(self._decide())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def fabric(self) -> Fabric:
        """Links that were seen in both directions, between ports that are up, and hosts on other ports."""
        good = frozenset(each for each in self.links if (each[1], each[0]) in self.links and self._is_up(each))
        inner = {each[0] for each in self.links}
        hosts = {mac: end for mac, end in self.hosts.items() if end not in inner}
        return Fabric(frozenset(self._datapaths), good, hosts, self.spread_udp)

    def _is_up(self, link: Link) -> bool:
        return all(end in self.ports and self.ports[end].is_up for end in link)

    def recheck(self) -> None:
        """Decides and sets up again soon, though nothing has changed: somebody may have, in a switch."""
        self._change()

    def forget(self, datapaths: Iterable[int]) -> None:
        """Switches that are no more, not just out of reach."""
        gone = set(datapaths)
        self._datapaths -= gone
        self.ports = {end: port for end, port in self.ports.items() if end.datapath not in gone}
        self.links = {link: at for link, at in self.links.items() if not gone & {each.datapath for each in link}}
        self.hosts = {mac: end for mac, end in self.hosts.items() if end.datapath not in gone}
        self._change()

    def _change(self, *, urgent: bool = False) -> None:
        self._last_change = asyncio.get_running_loop().time()
        if not self._changed.is_set():
            self._first_change = self._last_change
        if urgent:
            self._urgent.set()
        self._changed.set()

    # What the data plane tells.

    def joined(self, datapath: int, ports: list[m.Port], flows: list[m.FlowStats]) -> None:
        self._datapaths.add(datapath)
        for end in [each for each in self.ports if each.datapath == datapath]:
            del self.ports[end]
        self.ports |= {End(datapath, each.number): each for each in ports if each.number < PORT_MAX}
        for flow in flows:
            mac = flow.match.get("eth_dst")
            if flow.priority != LOCAL_HOST or mac is None:
                continue
            match flow.instructions:
                case (ApplyActions((Output(port),)),) if End(datapath, port) in self.ports:
                    self.hosts.setdefault(mac, End(datapath, port))
        self._send_probes(datapath)
        self._change()

    def left(self, datapath: int) -> None:
        """Its links stay: what is out of our reach still forwards."""
        self.lost(datapath)

    def received(self, datapath: int, message: m.Message) -> None:
        match message:
            case m.PacketIn():
                self._packet(datapath, message)
            case m.PortStatus():
                self._port(End(datapath, message.port.number), message)

    def _port(self, end: End, status: m.PortStatus) -> None:
        if end.port >= PORT_MAX:
            return
        was_up = end in self.ports and self.ports[end].is_up
        if status.reason == m.PortReason.DELETE:
            self.ports.pop(end, None)
            self.hosts = {mac: at for mac, at in self.hosts.items() if at != end}
        else:
            self.ports[end] = status.port
        if was_up and not (end in self.ports and self.ports[end].is_up):
            for link in [each for each in self.links if end in each]:
                del self.links[link]
            self._change(urgent=True)
        elif not was_up:
            self._send_probes(end.datapath)
        self.changed()

    def _packet(self, datapath: int, message: m.PacketIn) -> None:
        port = message.match.get("in_port")
        frame = Frame.decode(message.data)
        if port is None or frame is None:
            return
        end = End(datapath, port)
        if frame.ethertype == LLDP:
            self._probed(message.data, end)
        elif all(end != link[0] for link in self.links):
            self._from_host(end, frame, message.data)
        elif (target := self.hosts.get(int.from_bytes(frame.destination))) is not None:
            self._forward(message.data, end, [target])  # its switch had the flow already, the next one not yet

    def _probed(self, data: bytes, end: End) -> None:
        probe = Probe.decode(data)
        if probe is None or probe.cookie != self.plane.owner.cookie:
            return
        link = (End(probe.datapath, probe.port), end)
        is_new = link not in self.links
        self.links[link] = asyncio.get_running_loop().time()
        if is_new:
            for mac in [each for each, at in self.hosts.items() if at in link]:
                del self.hosts[mac]  # what came in here was from beyond the link
            self._change()

    def _from_host(self, end: End, frame: Frame, data: bytes) -> None:
        mac = int.from_bytes(frame.source)
        if frame.sender is not None and int(frame.sender):
            self.addresses[frame.sender] = mac
        if self.hosts.get(mac) != end:
            self.hosts[mac] = end
            self._change(urgent=True)
        if frame.destination == self._mac:
            return
        known = None if frame.target is None else self.addresses.get(frame.target)
        if not frame.is_group:
            known = int.from_bytes(frame.destination)
        target = None if known is None else self.hosts.get(known)
        inner = {each[0] for each in self.links}
        outs = [target] if target else [each for each in self.ports if each not in inner and self.ports[each].is_up]
        self._forward(data, end, outs)
        if target is None and frame.target is not None:
            # Its answer to a host that we know would take the flow to there, and we would never hear of it.
            self._forward(who_has(frame.target, self._mac), end, outs)

    def _forward(self, data: bytes, came: End, outs: Iterable[End]) -> None:
        for out in outs:
            if out != came and out.datapath in self.plane.switches:
                self.plane.switches[out.datapath].send(m.PacketOut(data, (Output(out.port),)))

    # What runs on.

    def _send_probes(self, datapath: int) -> None:
        switch = self.plane.switches.get(datapath)
        if switch is None:
            return
        for end, port in self.ports.items():
            if end.datapath == datapath and port.is_up:
                data = Probe(self.plane.owner.cookie, datapath, end.port).encode(port.mac)
                switch.send(m.PacketOut(data, (Output(end.port),)))

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for datapath in list(self.plane.switches):
                self._send_probes(datapath)
            await asyncio.sleep(self.probe_every)
            # Silent for long though both switches are with us: gone. One that is just busy must not lose its links,
            # and what ports say of their carriers never waits for this.
            late = loop.time() - _SILENT_ROUNDS * self.probe_every
            for link, seen in list(self.links.items()):
                if seen < late and all(end.datapath in self.plane.switches for end in link):
                    del self.links[link]
                    self._change()

    @property
    def _due(self) -> float:
        """Quiet is waited for, but not for ever."""
        return min(self._last_change + self.settle, self._first_change + 5 * self.settle)

    async def _decide(self) -> None:
        loop = asyncio.get_running_loop()
        settled = False
        while True:
            await self._changed.wait()
            # What a host or a port says must not wait, once the whole is known.
            while (rest := self._due - loop.time()) > 0:
                if not settled:
                    await asyncio.sleep(rest)
                    continue
                try:
                    await asyncio.wait_for(self._urgent.wait(), rest)
                    break
                except TimeoutError:
                    pass
            settled = True
            self._urgent.clear()
            self._changed.clear()
            report = await self.plane.apply(decide(self.fabric, self.plane.owner))
            self.applied += 1
            self.changed()
            if report.errors:
                log.warning("cannot set up all switches", extra={"errors": report.errors})
                self._change()
