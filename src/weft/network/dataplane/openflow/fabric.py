"""From links and hosts to the flows and groups of every datapath: a pure decision.

Where several first hops are equally short, a SELECT group spreads over them, and each bucket lives with its port.
Where there is one, a FAST_FAILOVER group has a second bucket for when its port goes down; the switch itself takes it.
So that the packet on its detour is not sent back, flows for packets that come in by an unusual port infer which links
must have failed and avoid them: failure inferencing, S. Nelakuditi et al., "Fast local rerouting for handling
transient link failures", IEEE/ACM ToN 15(2), 2007. One failure at a time is covered wherever a way around exists.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from weft.network.dataplane.openflow.packets import ARP, LLDP
from weft.network.dataplane.openflow.state import DatapathState, Flow, Group, Owner
from weft.network.routing.spf import Edge, shortest_paths
from weft.network.southbound.openflow.actions import (
    CONTROLLER,
    IN_PORT,
    WHOLE_PACKET,
    ApplyActions,
    Bucket,
    Output,
    Spread,
    ToGroup,
)
from weft.network.southbound.openflow.messages import GroupType
from weft.network.southbound.openflow.oxm import match

PROBE, DETOUR, LOCAL_HOST, HOST_UDP, HOST, TO_CONTROLLER = 60000, 2000, 1500, 1001, 1000, 100
_UDP = 17


@dataclass(frozen=True, slots=True, order=True)
class End:
    """A port of a datapath."""

    datapath: int
    port: int


Link = tuple[End, End]  # one direction: leaves by the first end


@dataclass(frozen=True, slots=True)
class Fabric:
    """What is known: links by direction, and where each host's address is attached. With `spread_udp` all switches are
    Open vSwitch, and where ways are equal they look at the ports of UDP too.
    """

    datapaths: frozenset[int]
    links: frozenset[Link]
    hosts: Mapping[int, End]
    spread_udp: bool = False


class _Paths:
    """First hops toward one datapath from all others, in the whole graph and without some links."""

    def __init__(self, links: frozenset[Link], target: int) -> None:
        self.links, self.target = links, target

    def first_hops(self, without: frozenset[Link] = frozenset()) -> dict[int, frozenset[Link]]:
        # Shortest paths toward the target are those from it over reversed links; a first hop then is any link that
        # comes one closer.
        back: dict[int, list[Edge[int, Link]]] = defaultdict(list)
        for link in self.links - without:
            back[link[1].datapath].append(Edge(link[0].datapath, 1, link))
        reach = shortest_paths(back, self.target)
        hops: dict[int, set[Link]] = defaultdict(set)
        for link in self.links - without:
            here, there = reach.get(link[0].datapath), reach.get(link[1].datapath)
            if here is not None and there is not None and there.cost + 1 == here.cost:
                hops[link[0].datapath].add(link)
        return {node: frozenset(each) for node, each in hops.items()}


def _both(link: Link) -> frozenset[Link]:
    return frozenset((link, (link[1], link[0])))


class _Builder:
    """The groups of one datapath, each set of buckets once."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._numbers: dict[tuple[GroupType, tuple[Bucket, ...]], int] = {}
        self.flows: list[Flow] = []

    def group(self, kind: GroupType, buckets: tuple[Bucket, ...]) -> ToGroup:
        first = self._owner.first_group
        return ToGroup(self._numbers.setdefault((kind, buckets), first + len(self._numbers)))

    def add(self, mac: int, action: ToGroup | Output, in_port: int | None = None) -> None:
        found = match(eth_dst=mac) if in_port is None else match(in_port=in_port, eth_dst=mac)
        self.flows.append(Flow(HOST if in_port is None else DETOUR, found, (ApplyActions((action,)),)))

    def spread(self, mac: int, hops: frozenset[Link]) -> None:
        """UDP to one host over several links: by the addresses and ports that a select group does not look at."""
        ways = sorted(hops)
        over = ApplyActions((Spread(tuple(each[0].port for each in ways), ways[0][0].datapath & 0xFFFF),))
        for family in (0x0800, 0x86DD):
            self.flows.append(Flow(HOST_UDP, match(eth_dst=mac, eth_type=family, ip_proto=_UDP), (over,)))

    def state(self) -> DatapathState:
        groups = tuple(Group(number, kind, buckets) for (kind, buckets), number in self._numbers.items())
        return DatapathState(tuple(self.flows), groups)


def _way(builder: _Builder, hops: frozenset[Link], backup: Link | None, in_port: int | None) -> ToGroup | Output:
    """By the hops, and by the backup when they are down; to where a packet came from only if told so (7.2.5.1)."""

    def out(link: Link) -> Output:
        return Output(IN_PORT if link[0].port == in_port else link[0].port)

    ways = sorted(hops)
    if len(ways) > 1:
        buckets = tuple(Bucket((out(each),), weight=1, watch_port=each[0].port) for each in ways)
        return builder.group(GroupType.SELECT, buckets)
    if backup is None:
        return out(ways[0])
    buckets = tuple(Bucket((out(each),), watch_port=each[0].port) for each in (ways[0], backup))
    return builder.group(GroupType.FAST_FAILOVER, buckets)


def _decide(
    links: frozenset[Link], target: int, macs: list[int], builders: Mapping[int, _Builder], *, spread_udp: bool
) -> None:
    """Flows of all datapaths for the hosts behind one."""
    paths = _Paths(links, target)
    normal = paths.first_hops()
    backups: dict[int, Link] = {}
    inferred: dict[Link, set[Link]] = defaultdict(set)
    for node, hops in normal.items():
        if len(hops) != 1:
            continue
        (primary,) = hops
        around = paths.first_hops(_both(primary))
        if node not in around:
            continue
        step = backups[node] = min(around[node])
        here = step[1].datapath
        while here != target:  # the detour, as far as those on it would not go that way on their own
            inferred[step] |= _both(primary)
            step = min(around[here])
            here = step[1].datapath
    for node, hops in normal.items():
        builder = builders[node]
        backup = backups.get(node)
        for mac in macs:
            builder.add(mac, _way(builder, hops, backup, None))
            if spread_udp and len(hops) > 1:
                builder.spread(mac, hops)
        if backup is not None:
            came = backup[0].port
            if (backup[1], backup[0]) not in inferred:
                for mac in macs:
                    builder.add(mac, _way(builder, hops, backup, came), came)
    for step, failed in inferred.items():
        node, came = step[1].datapath, step[1].port
        around = paths.first_hops(frozenset(failed))
        if node in around and around[node] != normal[node]:
            for mac in macs:
                builders[node].add(mac, _way(builders[node], around[node], None, came), came)
        elif node in backups and backups[node][0].port == came:
            for mac in macs:
                builders[node].add(mac, _way(builders[node], normal[node], backups[node], came), came)


def base_flows() -> tuple[Flow, ...]:
    """Probes go to the controller, and so does all that no other flow takes."""
    up = (ApplyActions((Output(CONTROLLER, WHOLE_PACKET),)),)
    return (
        Flow(PROBE, match(eth_type=LLDP), up),
        Flow(TO_CONTROLLER, match(eth_type=ARP), up),
        Flow(0, match(), up),
    )


def decide(fabric: Fabric, owner: Owner) -> dict[int, DatapathState]:
    """The whole state of every datapath."""
    builders = {each: _Builder(owner) for each in fabric.datapaths}
    links = frozenset(each for each in fabric.links if {each[0].datapath, each[1].datapath} <= fabric.datapaths)
    behind: dict[int, list[int]] = defaultdict(list)
    for mac, end in sorted(fabric.hosts.items()):
        if end.datapath in builders:
            behind[end.datapath].append(mac)
            out = ApplyActions((Output(end.port),))
            builders[end.datapath].flows.append(Flow(LOCAL_HOST, match(eth_dst=mac), (out,)))
    for builder in builders.values():
        builder.flows += base_flows()
    for target, macs in behind.items():
        _decide(links, target, macs, builders, spread_udp=fabric.spread_udp)
    return {datapath: builder.state() for datapath, builder in builders.items()}
