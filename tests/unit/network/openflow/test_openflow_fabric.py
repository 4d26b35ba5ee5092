"""Decisions walked packet by packet: any host reaches any other, also with any one link down where a way is left."""

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.network.dataplane.openflow.fabric import End, Fabric, Link, decide
from weft.network.dataplane.openflow.packets import Frame, Probe, who_has
from weft.network.dataplane.openflow.state import DatapathState, Flow, Owner, changes
from weft.network.southbound.openflow.actions import IN_PORT, ApplyActions, Output, Spread, ToGroup
from weft.network.southbound.openflow.messages import FlowCommand, FlowMod, FlowStats, GroupDesc, GroupMod, GroupType
from weft.network.southbound.openflow.oxm import match

OWNER = Owner.of("test")
HOST_PORT = 99


def fabric(pairs: set[tuple[int, int]]) -> Fabric:
    links: set[Link] = set()
    for a, b in pairs:
        links |= {(End(a, b + 1), End(b, a + 1)), (End(b, a + 1), End(a, b + 1))}
    nodes = frozenset(each for pair in pairs for each in pair)
    return Fabric(nodes, frozenset(links), {node + 0x100: End(node, HOST_PORT) for node in nodes})


def reached(nodes: set[int], pairs: set[tuple[int, int]], start: int) -> set[int]:
    seen, todo = {start}, [start]
    while todo:
        here = todo.pop()
        more = {b if a == here else a for a, b in pairs if here in (a, b)} - seen
        seen |= more
        todo += more
    return seen & nodes


def walk(states: dict[int, DatapathState], links: dict[End, End], down: set[End], source: int, mac: int) -> int | None:
    """Where a packet arrives, by a switch's rules: buckets are live with their ports, no way back but IN_PORT."""
    node, port = source, HOST_PORT - 1
    for _ in range(40):
        state = states[node]
        mine = [
            each for each in state.flows
            if each.match.get("eth_dst") == mac and each.match.get("in_port") in (None, port)
        ]  # fmt: skip
        if not mine:
            return None
        (instruction,) = max(mine, key=lambda each: each.priority).instructions
        assert isinstance(instruction, ApplyActions)
        (action,) = instruction.actions
        if isinstance(action, ToGroup):
            (group,) = [each for each in state.groups if each.group == action.group]
            live = [each for each in group.buckets if End(node, each.watch_port) not in down]
            if not live:
                return None
            (action,) = live[0].actions
        assert isinstance(action, Output)
        if action.port == port:
            return None
        out = End(node, port if action.port == IN_PORT else action.port)
        if out.port == HOST_PORT:
            return node
        if out in down:
            return None
        node, port = links[out].datapath, links[out].port
    return None


graphs = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda p: p[0] < p[1]), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(graphs)
def test_all_reach_all_as_long_as_nothing_is_down(pairs: set[tuple[int, int]]) -> None:
    it = fabric(pairs)
    states = decide(it, OWNER)
    for source in it.datapaths:
        for target in it.datapaths:
            expected = target if target in reached(set(it.datapaths), pairs, source) else None
            assert walk(states, dict(it.links), set(), source, target + 0x100) == expected


@settings(max_examples=25, deadline=None)
@given(graphs)
def test_any_one_link_down_is_survived_wherever_a_way_is_left(pairs: set[tuple[int, int]]) -> None:
    it = fabric(pairs)
    states = decide(it, OWNER)
    for a, b in pairs:
        down = {End(a, b + 1), End(b, a + 1)}
        for source in it.datapaths:
            for target in reached(set(it.datapaths), pairs - {(a, b)}, source):
                assert walk(states, dict(it.links), down, source, target + 0x100) == target


def test_one_link_down_in_a_square_is_survived_by_the_switches_alone() -> None:
    for pairs in ({(0, 1), (1, 2), (2, 3), (0, 3)}, {(0, 1), (1, 2), (0, 2)}):
        it = fabric(pairs)
        states = decide(it, OWNER)
        for a, b in pairs:
            down = {End(a, b + 1), End(b, a + 1)}
            for source in it.datapaths:
                for target in it.datapaths:
                    assert walk(states, dict(it.links), down, source, target + 0x100) == target


def test_equal_ways_make_a_select_group() -> None:
    state = decide(fabric({(0, 1), (1, 2), (2, 3), (0, 3)}), OWNER)[0]
    assert {each.kind for each in state.groups} == {GroupType.SELECT, GroupType.FAST_FAILOVER}


def test_udp_is_spread_over_equal_ways_where_switches_can() -> None:
    it = replace(fabric({(0, 1), (1, 2), (2, 3), (0, 3)}), spread_udp=True)
    plain, spread = decide(replace(it, spread_udp=False), OWNER)[0], decide(it, OWNER)[0]
    more = set(spread.flows) - set(plain.flows)
    assert spread.groups == plain.groups
    assert {each.match for each in more} == {
        match(eth_dst=0x102, eth_type=family, ip_proto=17) for family in (0x0800, 0x86DD)
    }
    assert {each.instructions for each in more} == {(ApplyActions((Spread((2, 4), 0),)),)}
    (host,) = [each for each in plain.flows if each.match == match(eth_dst=0x102)]
    assert all(each.priority > host.priority for each in more)


def told(state: DatapathState) -> tuple[list[FlowStats], list[GroupDesc]]:
    flows = [FlowStats(e.match, e.instructions, e.priority, e.table, OWNER.cookie) for e in state.flows]
    return flows, [GroupDesc(each.group, each.kind, each.buckets) for each in state.groups]


def test_the_difference_is_what_is_missing_and_what_is_ours_and_too_much() -> None:
    state = decide(fabric({(0, 1), (1, 2), (2, 3), (0, 3)}), OWNER)[0]
    flows, groups = told(state)
    assert not changes(state, flows, groups, OWNER)
    everything = changes(state, [], [], OWNER)
    kinds = [type(each) for each in everything]
    assert kinds == sorted(kinds, key=lambda each: each is FlowMod)  # groups come before flows
    foreign = FlowStats(match(in_port=5), (), 1, 0, 77)
    mods = changes(DatapathState((Flow(0, match()),)), [*flows, foreign], [*groups, GroupDesc(3, 0, ())], OWNER)
    gone = [each for each in mods if isinstance(each, FlowMod) and each.command == FlowCommand.DELETE_STRICT]
    assert len(gone) == len(flows) - 1
    assert {each.group for each in mods if isinstance(each, GroupMod)} == {each.group for each in groups}
    assert isinstance(mods[-1], GroupMod)


def test_a_question_for_an_address_is_arp_of_nobody() -> None:
    asked = Frame.decode(who_has(IPv4Address("10.0.0.9"), b"\x02abcde"))
    assert asked == Frame(b"\xff" * 6, b"\x02abcde", 0x0806, IPv4Address("0.0.0.0"), IPv4Address("10.0.0.9"))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=80))
def test_probes_are_read_back_and_no_bytes_break_them(cookie: int, datapath: int, port: int, junk: bytes) -> None:
    probe = Probe(cookie, datapath, port)
    assert Probe.decode(probe.encode(bytes(6))) == probe
    Probe.decode(junk)
