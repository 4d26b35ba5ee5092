"""Which next-hop objects a namespace should have, so that many routes move at once. Pure.

Each distinct (interface, neighbour, segments) is one object. Each distinct pair of next hops and backup is a *plan* k
of up to three groups: ACTIVE+k, which the routes refer to; PLANNED+k, what it should hold when all is well; BACKUP+k,
which the second routes, of a higher metric, refer to. PLANNED and BACKUP stand in the kernel so that any process can
move ACTIVE when a neighbour falls silent, without asking anybody (`reroute`): it marks the neighbour's object as failed
by its protocol number. When a link loses its carrier, the kernel takes its objects out of all groups by itself, and
with an empty ACTIVE+k its routes, so that those of BACKUP+k take over.

In: routes with hops that can be used, and the objects that there are. Out: the objects that there should be.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from weft.network.southbound.nexthops import NextHopGroup, NextHopObject, Object
from weft.network.southbound.rtnetlink import PROTOCOL, NextHop
from weft.network.southbound.wire import AF_INET, AF_INET6

FAILED = PROTOCOL + 1  # the protocol number of an object whose neighbour does not answer
# Ranges of ids; what else runs in a namespace (FRR) counts from 1.
LEAF, ACTIVE, PLANNED, BACKUP = 0x57000000, 0x58000000, 0x59000000, 0x5A000000
_RANGE = 0x01000000

Members = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the routes of one plan ask of the objects. `key` names it; `current` counts which plans they have now."""

    key: object
    hops: tuple[NextHop, ...]
    backup: tuple[NextHop, ...]
    version: int
    current: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Plans:
    """`objects` by id, and for each key the ids of (active, backup), 0 for none. `assigned` is to be given again."""

    objects: dict[int, Object] = field(default_factory=dict)
    ids: dict[object, tuple[int, int]] = field(default_factory=dict)
    assigned: dict[object, int] = field(default_factory=dict)


def ours(value: Object) -> bool:
    return LEAF <= value.id < BACKUP + _RANGE and value.protocol in (PROTOCOL, FAILED)


def effective(planned: Members, backup: Members, failed: frozenset[int]) -> Members:
    """What ACTIVE holds: what is left of the planned hops, else of the backup; where nothing is left, no change."""
    for members in (planned, backup):
        if alive := frozenset(member for member in members if member[0] not in failed):
            return alive
    return planned or backup


def failed_leaves(objects: Mapping[int, Object]) -> frozenset[int]:
    return frozenset(id for id, each in objects.items() if each.protocol == FAILED and isinstance(each, NextHopObject))


def plan(wishes: Iterable[Wish], present: Mapping[int, Object], assigned: Mapping[object, int]) -> Plans:
    """Ids stay where they can: the same hops keep their object, the same key its plan; and a new key takes over the
    plan that most of its routes have, if nobody else wants that, so that one replaced group moves all of these routes.
    """
    found = Plans()
    leaves = _Leaves(present)
    members: dict[object, tuple[Members, Members]] = {
        wish.key: (leaves.members(wish.hops, wish.version), leaves.members(wish.backup, wish.version))
        for wish in wishes
    }
    votes = {wish.key: wish.current for wish in wishes}
    # A plan that somebody took away is forgotten: another process may have put another in its place.
    found.assigned = {
        key: k
        for key in members
        if (k := assigned.get(key, -1)) >= 0 and (ACTIVE + k in present or BACKUP + k in present)
    }
    _assign(members, votes, present, found.assigned)
    failed = failed_leaves(present)
    for key, (planned, backup) in members.items():
        k = found.assigned[key]
        found.ids[key] = (ACTIVE + k if planned or backup else 0, BACKUP + k if backup else 0)
        if planned or backup:
            _put(found, NextHopGroup(ACTIVE + k, effective(planned, backup, failed)))
        if planned and (backup or len(planned) > 1):
            _put(found, NextHopGroup(PLANNED + k, planned))
        if backup:
            _put(found, NextHopGroup(BACKUP + k, backup))
    for leaf in leaves.wanted.values():
        _put(found, leaf)
    return found


def _put(found: Plans, value: Object) -> None:
    found.objects[value.id] = value


def _assign(
    members: Mapping[object, tuple[Members, Members]],
    votes: Mapping[object, Counter[int]],
    present: Mapping[int, Object],
    assigned: dict[object, int],
) -> None:
    taken = set(assigned.values())
    content: dict[tuple[Members, Members], list[int]] = {}
    for k in sorted((id - ACTIVE for id in present if ACTIVE <= id < ACTIVE + _RANGE), reverse=True):
        if k not in taken:
            content.setdefault(_held(present, k), []).append(k)
    for key, wanted in members.items():  # first those that are there as they should be: after a restart, all
        if key not in assigned and (same := content.get(wanted)):
            assigned[key] = same.pop()
            taken.add(assigned[key])
    fresh = 0
    for key in members:
        if key in assigned:
            continue
        free = [(count, k) for k, count in votes[key].items() if k not in taken]
        if free:
            k = max(free)[1]
        else:
            while fresh in taken or any(start + fresh in present for start in (ACTIVE, PLANNED, BACKUP)):
                fresh += 1
            k = fresh
        assigned[key] = k
        taken.add(k)


def _held(present: Mapping[int, Object], k: int) -> tuple[Members, Members]:
    """(planned, backup) of plan k."""

    def of(id: int) -> Members:
        group = present.get(id)
        return group.members if isinstance(group, NextHopGroup) else frozenset()

    backup = of(BACKUP + k)
    return of(PLANNED + k) or (frozenset() if backup else of(ACTIVE + k)), backup


class _Leaves:
    """Finds or gives the id of each next hop."""

    def __init__(self, present: Mapping[int, Object]) -> None:
        self._present = present
        self._known = {
            (each.family, each.index, each.gateway, each.segments): each
            for each in present.values()
            if isinstance(each, NextHopObject) and ours(each)
        }
        self._next = LEAF
        self.wanted: dict[int, NextHopObject] = {}

    def id(self, hop: NextHop, version: int) -> int:
        family = AF_INET if (hop.gateway.version if hop.gateway is not None else version) == 4 else AF_INET6
        key = (family, hop.index, hop.gateway, hop.segments)
        leaf = self._known.get(key)
        if leaf is None:
            while self._next in self._present or self._next in self.wanted:
                self._next += 1
            leaf = self._known[key] = NextHopObject(self._next, *key)
        self.wanted[leaf.id] = leaf
        return leaf.id

    def members(self, hops: tuple[NextHop, ...], version: int) -> Members:
        weights: Counter[int] = Counter()
        for hop in hops:
            weights[self.id(hop, version)] += hop.weight
        return frozenset((id, min(weight, 256)) for id, weight in weights.items())


def fail(present: Mapping[int, Object], index: int, gateway: object = None) -> list[Object]:
    """What to replace when the neighbour `gateway` (or all) on a link falls silent."""
    return _marked(present, index, gateway, FAILED)


def recover(present: Mapping[int, Object], index: int, gateway: object = None) -> list[Object]:
    """What to replace when it answers again."""
    return _marked(present, index, gateway, PROTOCOL)


def _marked(present: Mapping[int, Object], index: int, gateway: object, protocol: int) -> list[Object]:
    """Groups first, as they carry the packets."""
    marks: list[NextHopObject] = [
        replace(each, protocol=protocol)
        for each in present.values()
        if isinstance(each, NextHopObject) and ours(each) and each.protocol != protocol
        and each.index == index and (gateway is None or each.gateway == gateway)
    ]  # fmt: skip
    after = {**present, **{mark.id: mark for mark in marks}}
    return [*_moved(after), *marks]


def _moved(objects: Mapping[int, Object]) -> Iterable[NextHopGroup]:
    failed = failed_leaves(objects)
    for group in objects.values():
        if isinstance(group, NextHopGroup) and ours(group) and ACTIVE <= group.id < ACTIVE + _RANGE:
            members = effective(*_held(objects, group.id - ACTIVE), failed)
            if members and members != group.members:
                yield replace(group, members=members)
