"""What a datapath shall hold, who owns it there, and the pure difference to what it holds.

In: desired flows and groups, and what the switch tells. Out: messages for one bundle, in an order in which no flow
ever refers to a group that is not there: groups first, then flows, then what is too much, flows before groups.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from weft.network.southbound.openflow.actions import Bucket, Instruction
from weft.network.southbound.openflow.messages import (
    FlowCommand,
    FlowMod,
    FlowStats,
    GroupCommand,
    GroupDesc,
    GroupMod,
    GroupType,
)
from weft.network.southbound.openflow.oxm import Match

COOKIE_MASK = 0xFFFFFFFF00000000


@dataclass(frozen=True, slots=True)
class Owner:
    """An instance's marks on a switch that others may use too: a cookie for its flows, a range for its groups."""

    cookie: int
    first_group: int
    groups: int = 1 << 20

    @classmethod
    def of(cls, instance: str) -> "Owner":
        digest = hashlib.sha256(instance.encode()).digest()
        return cls(int.from_bytes(digest[:4]) << 32 | 1, int.from_bytes(digest[4:8]) % 4094 + 1 << 20)

    def has_group(self, group: int) -> bool:
        return self.first_group <= group < self.first_group + self.groups


@dataclass(frozen=True, slots=True)
class Flow:
    priority: int
    match: Match
    instructions: tuple[Instruction, ...] = ()
    table: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    group: int
    kind: GroupType
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class DatapathState:
    """All of one datapath that is ours."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()


def changes(
    desired: DatapathState, flows: Iterable[FlowStats], groups: Iterable[GroupDesc], owner: Owner
) -> tuple[FlowMod | GroupMod, ...]:
    """What turns what is there into what shall be; flows and groups of others are not touched."""
    has = {
        (each.table, each.priority, each.match): each.instructions
        for each in flows
        if each.cookie & COOKIE_MASK == owner.cookie & COOKIE_MASK
    }
    has_groups = {each.group: (each.kind, each.buckets) for each in groups if owner.has_group(each.group)}
    wanted = {(each.table, each.priority, each.match) for each in desired.flows}
    mods: list[FlowMod | GroupMod] = []
    for group in desired.groups:
        known = has_groups.get(group.group)
        if known != (group.kind, group.buckets):
            command = GroupCommand.ADD if known is None else GroupCommand.MODIFY
            mods.append(GroupMod(group.group, group.buckets, command, group.kind))
    for flow in desired.flows:
        if has.get((flow.table, flow.priority, flow.match)) != flow.instructions:
            # ADD takes the place of an equal flow in one step (6.4), so nothing is dropped between.
            mods.append(
                FlowMod(flow.match, flow.instructions, FlowCommand.ADD, flow.priority, flow.table, owner.cookie)
            )
    for table, priority, match in has.keys() - wanted:
        mods.append(FlowMod(match, (), FlowCommand.DELETE_STRICT, priority, table, owner.cookie, COOKIE_MASK))
    for number in sorted(has_groups.keys() - {each.group for each in desired.groups}):
        mods.append(GroupMod(number, (), GroupCommand.DELETE, has_groups[number][0]))
    return tuple(mods)
