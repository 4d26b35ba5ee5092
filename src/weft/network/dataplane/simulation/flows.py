"""What hosts would notice of flows between pairs of nodes: when packets stop to arrive, why, when they come again.

In: a `SimulatedNetwork`, and the names of nodes whose forwarding has changed. Out: `Outage`s. A flow is walked anew, by
the tables as they are at that instant, only where it had passed one of those nodes; so times are exact, and not
rounded to the interval of some probe.
"""

import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from weft.network.dataplane.simulation.network import SimulatedNetwork

MAX_HOPS = 64  # as the TTL of Linux


@dataclass(frozen=True, slots=True)
class Flow:
    source: str
    target: str
    address: IPv4Address
    key: int


@dataclass(slots=True)
class Outage:
    """A time without packets; `end` None: it lasts. `reasons` are those that were seen, in their order."""

    flow: Flow
    begin: float
    end: float | None = None
    reasons: list[str] = field(default_factory=list)
    looped: float = 0.0  # seconds of it in a loop


@dataclass(slots=True)
class _State:
    passed: tuple[str, ...] = ()
    reason: str = ""  # empty: packets arrive
    since: float = 0.0
    outage: Outage | None = None


def walk(network: SimulatedNetwork, flow: Flow) -> tuple[tuple[str, ...], str]:
    """The nodes that a packet passes now, and why it does not arrive (empty: it does)."""
    name = flow.source
    passed = [name]
    if not network.nodes[name].alive:
        return (name,), "dead router"
    for _ in range(MAX_HOPS):
        if flow.address in network.nodes[name].owned:
            return tuple(passed), ""
        step = network.step(name, flow.address, zlib.crc32(name.encode(), flow.key))
        if isinstance(step, str):
            return tuple(passed), step
        name = step.node
        passed.append(name)
    return tuple(dict.fromkeys(passed)), "loop"


def choose_flows(network: SimulatedNetwork, most: int, seed: int) -> list[Flow]:
    """Between all pairs of hosts, or of routers that have routes where there are no hosts; `most` of them by chance."""
    topology = network.topology
    names = [host.name for host in topology.hosts if network.addresses.of_node(topology, host.name) is not None]
    if len(names) < 2:
        names = [router.name for router in topology.routers if router.routing != "none"]
    count = len(names) * (len(names) - 1)
    if count <= most:
        pairs: Iterable[int] = range(count)
    else:
        pairs = sorted(random.Random(f"{seed} flows").sample(range(count), most))
    flows = []
    for pair in pairs:
        first, second = divmod(pair, len(names) - 1)
        source, target = names[first], names[second + (second >= first)]
        address = network.addresses.of_node(topology, target)
        assert address is not None
        flows.append(Flow(source, target, address, zlib.crc32(f"{source} {target}".encode())))
    return flows


class FlowWatch:
    """Keeps the outages of flows; `note` is for the network's `changed`, `look` for the end of an instant."""

    def __init__(self, network: SimulatedNetwork, flows: Sequence[Flow]) -> None:
        self._network = network
        self._states = {flow: _State() for flow in flows}
        self._passing: dict[str, set[Flow]] = {}
        self._noted: set[str] = set()
        self.outages: list[Outage] = []
        for flow in flows:
            self._walk(flow)

    @property
    def delivered(self) -> int:
        return sum(not state.reason for state in self._states.values())

    @property
    def failing(self) -> list[tuple[Flow, str]]:
        return [(flow, state.reason) for flow, state in self._states.items() if state.reason]

    def note(self, name: str) -> None:
        self._noted.add(name)

    def look(self) -> None:
        """Walks the flows that pass nodes noted since."""
        if not self._noted:
            return
        flows: set[Flow] = set()
        for name in self._noted:
            flows |= self._passing.get(name, set())
        self._noted.clear()
        for flow in sorted(flows, key=lambda flow: flow.key):
            self._walk(flow)

    def _walk(self, flow: Flow) -> None:
        state = self._states[flow]
        now = self._network.agenda.now
        passed, reason = walk(self._network, flow)
        if passed != state.passed:
            for name in state.passed:
                self._passing[name].discard(flow)
            for name in passed:
                self._passing.setdefault(name, set()).add(flow)
            state.passed = passed
        if reason == state.reason:
            return
        if state.outage is not None and state.reason == "loop":
            state.outage.looped += now - state.since
        state.reason, state.since = reason, now
        if not reason:
            if state.outage is not None:
                state.outage.end = now
                state.outage = None
            return
        if state.outage is None:
            state.outage = Outage(flow, now)
            self.outages.append(state.outage)
        if reason not in state.outage.reasons:
            state.outage.reasons.append(reason)

    def begin_anew(self, flows: Iterable[Flow]) -> None:
        """What these flows go without from now on is another outage than before: there is a way for them again."""
        now = self._network.agenda.now
        for flow in flows:
            state = self._states[flow]
            if state.outage is not None:
                if state.reason == "loop":
                    state.outage.looped += now - state.since
                state.outage.end = state.since = now
                state.outage = Outage(flow, now, reasons=[state.reason])
                self.outages.append(state.outage)

    def close(self) -> None:
        """Counts the loops that still last."""
        for state in self._states.values():
            if state.outage is not None and state.reason == "loop":
                state.outage.looped += self._network.agenda.now - state.since
                state.since = self._network.agenda.now
