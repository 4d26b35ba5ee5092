"""Runs a lab's schedule in virtual time and says what each event did.

In: a topology with its schedule, a seed, how many flows to watch. Out: a `Result`: when the lab was up, for each event
how many flows it interrupted and for how long, when forwarding came to rest, what it cost in packets, and whether all
packets arrive in the end that can. Who is next: `weft lab simulate`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from weft.core.errors import WeftError
from weft.network.dataplane.simulation.flows import Flow, FlowWatch, Outage, choose_flows
from weft.network.dataplane.simulation.network import SimulatedNetwork
from weft.network.routing.daemon.announced import Objects
from weft.network.topology.model import Link, ScheduledEvent, Topology

# Longer than what any protocol waits for by default: RIP's timeout (180 s) and a round of updates after it.
_MOST_SECONDS = 240.0
_QUIET_SECONDS = 5.0
_GLANCE_SECONDS = 0.5
_MOST_EVENTS = 50_000_000


@dataclass(frozen=True, slots=True)
class Effect:
    """What one event did; times in seconds. `interrupted` flows had no packets for a time although there was a way for
    them (from a `restore` on, that is until routes used it again); `lasting` of them never had again; `cut_off` flows
    had no way left; `looped` went in circles meanwhile. `settled`: from the event to the last change of forwarding
    before the next."""

    at: float
    event: str
    interrupted: int
    median_outage: float
    longest_outage: float
    lasting: int
    cut_off: int
    looped: int
    longest_loop: float
    settled: float
    packets: dict[str, int]


@dataclass(slots=True)
class _Moment:
    at: float
    text: str
    possible: set[Flow]
    before: dict[str, int]
    end: float = 0.0
    last_change: float = 0.0
    after: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """`start` is the time from nothing to where all packets arrive that can; None: that was not reached."""

    lab: str
    seed: int
    flows: int
    start: float | None
    seconds: float
    events: int
    effects: tuple[Effect, ...]
    delivered: int
    possible: int
    failing: tuple[str, ...]
    packets: dict[str, int] = field(default_factory=dict)
    octets: dict[str, int] = field(default_factory=dict)


class SimulatedLab:
    """One run. `schedule` None is that of the topology."""

    def __init__(
        self,
        topology: Topology,
        *,
        seed: int = 1,
        flows: int = 200,
        schedule: Iterable[ScheduledEvent] | None = None,
        seconds: float | None = None,
        policies: Objects | None = None,
    ) -> None:
        """`seconds` after the lab is up it ends; None: when nothing moves any more after the last event. `policies`
        are RoutingPolicy objects by name."""
        self.topology = topology
        self.network = SimulatedNetwork(topology, seed=seed, changed=self._changed, policies=policies)
        self._seed = seed
        self._seconds = seconds
        self._watch: FlowWatch | None = None
        self._looking = False
        self._flows = choose_flows(self.network, flows, seed)
        self._parted: set[str] = set()
        self._steps = sorted(_steps(topology.schedule if schedule is None else schedule), key=lambda step: step[0])

    def run(self) -> Result:
        network = self.network
        start = self._settle(_MOST_SECONDS)
        self._watch = FlowWatch(network, self._flows)
        zero = network.agenda.now
        possible = self._possible()
        moments: list[_Moment] = []
        for at, event in self._steps:
            if self._seconds is not None and at > self._seconds:
                break
            self._go(zero + at)
            self._end(moments)
            self._do(event)
            before, possible = possible, self._possible()
            self._watch.begin_anew(sorted(possible - before, key=lambda flow: flow.key))
            moments.append(_Moment(network.agenda.now, describe(event), possible, dict(network.counts.packets)))
        if self._seconds is not None:
            self._go(zero + self._seconds)
        else:
            self._rest()
        self._watch.look()
        self._end(moments)
        self._watch.close()
        effects = [_effect(self._watch.outages, zero, moment) for moment in moments]
        failing = [(flow, reason) for flow, reason in self._watch.failing if flow in possible]
        return Result(
            self.topology.name,
            self._seed,
            len(self._flows),
            start,
            network.agenda.now - zero,
            network.agenda.done,
            tuple(effects),
            len(possible) - len(failing),
            len(possible),
            tuple(f"{flow.source} to {flow.target}: {reason}" for flow, reason in failing),
            dict(network.counts.packets),
            dict(network.counts.octets),
        )

    def _end(self, moments: list[_Moment]) -> None:
        if moments:
            last, network = moments[-1], self.network
            last.end, last.last_change, last.after = (
                network.agenda.now,
                network.last_change,
                dict(network.counts.packets),
            )

    def _changed(self, name: str) -> None:
        if self._watch is None:
            return
        self._watch.note(name)
        if not self._looking:  # once an instant, after all that belongs to it
            self._looking = True
            self.network.agenda.at(self.network.agenda.now, self._look)

    def _look(self) -> None:
        self._looking = False
        if self._watch is not None:
            self._watch.look()

    def _go(self, until: float) -> None:
        self.network.agenda.run(until, _MOST_EVENTS)

    def _settle(self, most: float) -> float | None:
        """Runs until all packets arrive that can and forwarding is at rest; when it came to that."""
        end = self.network.agenda.now + most
        possible = self._possible()
        while self.network.agenda.now < end:
            self._go(self.network.agenda.now + _GLANCE_SECONDS)
            if self.network.agenda.now - self.network.last_change < _QUIET_SECONDS:
                continue
            watch = FlowWatch(self.network, self._flows)
            if all(flow not in possible for flow, _ in watch.failing):
                return self.network.last_change
        return None

    def _rest(self) -> None:
        """Runs until nothing changes any more and all packets arrive that can."""
        assert self._watch is not None
        end = self.network.agenda.now + _MOST_SECONDS
        possible = self._possible()
        while self.network.agenda.now < end:
            self._go(self.network.agenda.now + _GLANCE_SECONDS)
            quiet = self.network.agenda.now - self.network.last_change >= _QUIET_SECONDS
            if quiet and all(flow not in possible for flow, _ in self._watch.failing):
                return

    def _possible(self) -> set[Flow]:
        """The flows between whose nodes there is a way over links and routers that work, whatever routes say."""
        network, topology = self.network, self.topology
        usable = frozenset(name for name, wire in network.wires.wires.items() if wire.up and wire.loss < 1)
        beside: dict[str, set[str]] = {}
        for segment in topology.segments(up=usable):
            names = {end.node for _, end in segment.ends}
            for name in names:
                beside.setdefault(name, set()).update(names)
        forwarding = topology.forwarding_names
        reached: dict[str, set[str]] = {}
        found = set()
        for flow in self._flows:
            if not network.nodes[flow.source].alive:
                continue
            if flow.source not in reached:
                seen, todo = {flow.source}, [flow.source]
                while todo:
                    for name in beside.get(todo.pop(), ()):
                        if name not in seen and network.nodes[name].alive:
                            seen.add(name)
                            if name in forwarding:
                                todo.append(name)
                reached[flow.source] = seen
            if flow.target in reached[flow.source]:
                found.add(flow)
        return found

    def _do(self, event: ScheduledEvent) -> None:
        network = self.network
        match event.action:
            case "cut" | "restore":
                for name in event.links:
                    network.set_link(name, event.action == "restore")
            case "loss":
                for name in event.links:
                    network.set_loss(name, event.share)
            case "reorder":
                for name in event.links:
                    network.set_reorder(name, event.share)
            case "partition":
                for link in self._between(event.groups):
                    self._parted.add(link.name)
                    network.set_link(link.name, False)
            case "heal":
                for name in sorted(self._parted):
                    network.set_link(name, True)
                self._parted.clear()
            case "kill":
                for name in event.nodes:
                    network.kill(name)
            case "start":
                for name in event.nodes:
                    network.start(name)
            case "flap":
                raise WeftError("a flap must be taken apart before")  # by `_steps`

    def _between(self, groups: tuple[tuple[str, ...], ...]) -> list[Link]:
        of = {name: index for index, group in enumerate(groups) for name in group}
        return [
            link
            for link in self.topology.links
            if of.get(link.a.node) is not None
            and of.get(link.b.node) is not None
            and of[link.a.node] != of[link.b.node]
            and self.network.wires.wires[link.name].up
        ]


def _steps(schedule: Iterable[ScheduledEvent]) -> Iterable[tuple[float, ScheduledEvent]]:
    """A flap is cuts and restores."""
    for event in schedule:
        if event.action != "flap":
            yield event.at, event
            continue
        for number in range(event.count):
            down = event.at + number * event.period
            yield down, ScheduledEvent(down, "cut", event.links)
            yield down + event.period / 2, ScheduledEvent(down + event.period / 2, "restore", event.links)


def describe(event: ScheduledEvent) -> str:
    """`cut r1-r2`, `partition r1 r2 | r3 r4`."""
    words = [event.action, *event.links, *event.nodes]
    if event.groups:
        words.append(" | ".join(" ".join(group) for group in event.groups))
    if event.action in ("loss", "reorder"):
        words.append(f"{event.share:.4g}")
    return " ".join(words)


def every_link(topology: Topology, down: float = 10.0) -> list[ScheduledEvent]:
    """Each link between routers or switches cut for `down` seconds, one after another."""
    events = []
    inner = topology.router_names | topology.switch_names
    links = [link for link in topology.links if link.a.node in inner and link.b.node in inner and link.state == "up"]
    for number, link in enumerate(links):
        events.append(ScheduledEvent(2 * number * down, "cut", (link.name,)))
        events.append(ScheduledEvent((2 * number + 1) * down, "restore", (link.name,)))
    return events


def _effect(outages: list[Outage], zero: float, moment: _Moment) -> Effect:
    own = [each for each in outages if moment.at <= each.begin and (each.begin < moment.end or moment.at == moment.end)]
    interrupted = [each for each in own if each.flow in moment.possible]
    ended = [each.end - each.begin for each in interrupted if each.end is not None]
    loops = [each.looped for each in own if each.looped > 0]
    return Effect(
        moment.at - zero,
        moment.text,
        len(interrupted),
        median(ended) if ended else 0.0,
        max(ended, default=0.0),
        len(interrupted) - len(ended),
        len(own) - len(interrupted),
        len(loops),
        max(loops, default=0.0),
        max(moment.last_change - moment.at, 0.0),
        {name: n - moment.before.get(name, 0) for name, n in moment.after.items() if n > moment.before.get(name, 0)},
    )
