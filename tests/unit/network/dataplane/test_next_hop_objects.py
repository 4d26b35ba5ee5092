"""Which objects a namespace should have: as few as there are next hops and sets of them, with ids that stay."""

from collections import Counter
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from weft.network.dataplane.linux import objects
from weft.network.dataplane.linux.objects import ACTIVE, BACKUP, FAILED, LEAF, PLANNED, Wish, plan
from weft.network.southbound.nexthops import NextHopGroup, NextHopObject, Object
from weft.network.southbound.rtnetlink import NextHop

HOPS = [NextHop(index, ip_address(f"10.0.{index}.1")) for index in range(1, 6)]
hop_sets = st.lists(st.sampled_from(HOPS), max_size=3, unique=True).map(tuple)


@st.composite
def wish_lists(draw: st.DrawFn) -> list[Wish]:
    pairs = draw(st.lists(st.tuples(hop_sets, hop_sets), max_size=6, unique=True))
    return [Wish(pair, *pair, 4) for pair in pairs]


def leaf(objects_: dict[int, Object], hop: NextHop) -> int:
    (found,) = [
        each.id for each in objects_.values() if isinstance(each, NextHopObject) and each.gateway == hop.gateway
    ]
    return found


def held(present: dict[int, Object], id: int) -> set[int]:
    """The links of a group's members."""
    group = present.get(id)
    if not isinstance(group, NextHopGroup):
        return set()
    leaves = [present[member] for member, _ in group.members]
    return {each.index for each in leaves if isinstance(each, NextHopObject)}


@given(wish_lists())
def test_each_hop_is_one_object_and_each_set_one_plan(wishes: list[Wish]) -> None:
    found = plan(wishes, {}, {})
    hops = {hop for wish in wishes for hop in (*wish.hops, *wish.backup)}
    assert sum(isinstance(each, NextHopObject) for each in found.objects.values()) == len(hops)
    assert len(set(found.assigned.values())) == len({wish.key for wish in wishes})
    for wish in wishes:
        active, backup = found.ids[wish.key]
        planned, spare = {hop.index for hop in wish.hops}, {hop.index for hop in wish.backup}
        assert held(found.objects, active) == (planned or spare)
        assert held(found.objects, backup) == spare
        assert bool(active) == bool(planned or spare)
    assert all(member in found.objects for each in found.objects.values()
               if isinstance(each, NextHopGroup) for member, _ in each.members)  # fmt: skip


@given(wish_lists())
def test_a_second_time_nothing_changes_even_after_a_restart(wishes: list[Wish]) -> None:
    first = plan(wishes, {}, {})
    assert plan(wishes, first.objects, first.assigned) == first
    again = plan(wishes, first.objects, {})
    assert again.objects == first.objects


@given(wish_lists(), wish_lists())
def test_new_wishes_never_share_a_plan(before: list[Wish], after: list[Wish]) -> None:
    first = plan(before, {}, {})
    second = plan(after, first.objects, first.assigned)
    assert len(set(second.assigned.values())) == len(second.assigned)
    for wish in after:
        active, backup = second.ids[wish.key]
        assert held(second.objects, active) == {hop.index for hop in wish.hops or wish.backup}
        assert held(second.objects, backup) == {hop.index for hop in wish.backup}


@given(wish_lists(), st.sampled_from(HOPS))
def test_a_failure_moves_what_can_move_and_recovery_undoes_it(wishes: list[Wish], lost: NextHop) -> None:
    made = plan(wishes, {}, {})
    broken = dict(made.objects)
    broken.update((each.id, each) for each in objects.fail(broken, lost.index))
    for wish in wishes:
        active, _ = made.ids[wish.key]
        left = {hop.index for hop in wish.hops if hop != lost} or {hop.index for hop in wish.backup if hop != lost}
        if left:
            assert held(broken, active) == left
        else:
            assert held(broken, active) == held(made.objects, active)
    assert objects.fail(broken, lost.index) == []
    # Who plans again with the mark in sight wants just this.
    again = plan(wishes, broken, made.assigned).objects
    assert {id: each for id, each in again.items() if isinstance(each, NextHopGroup)} == {
        id: each for id, each in broken.items() if isinstance(each, NextHopGroup)
    }
    healed = {**broken, **{each.id: each for each in objects.recover(broken, lost.index)}}
    assert healed == made.objects


def test_only_the_neighbour_that_is_named() -> None:
    near, far = NextHop(1, ip_address("10.0.1.1")), NextHop(1, ip_address("10.0.1.2"))
    made = plan([Wish("a", (near, far), (), 4)], {}, {}).objects
    (group, mark) = objects.fail(made, 1, far.gateway)
    assert isinstance(group, NextHopGroup)
    assert group.members == {(leaf(made, near), 1)}
    assert mark.id == leaf(made, far)
    assert mark.protocol == FAILED


def test_routes_that_move_together_keep_their_plan() -> None:
    first = plan([Wish("old", (HOPS[0],), (), 4)], {}, {})
    k = first.assigned["old"]
    wishes = [Wish("new", (HOPS[1],), (), 4, Counter({k: 3}))]
    second = plan(wishes, first.objects, first.assigned)
    assert second.assigned == {"new": k}
    stays = [*wishes, Wish("old", (HOPS[0],), (), 4, Counter({k: 1}))]
    third = plan(stays, first.objects, first.assigned)
    assert third.assigned["old"] == k
    assert third.assigned["new"] != k


def test_the_ids_of_others_are_left_alone() -> None:
    others: dict[int, Object] = {
        id: NextHopObject(id, 0, 0, protocol=0) for id in (LEAF, ACTIVE, PLANNED + 1, BACKUP + 2)
    }
    made = plan([Wish("a", (HOPS[0],), (HOPS[1],), 4)], others, {})
    assert not made.objects.keys() & others.keys()
    assert made.assigned["a"] == 3


def test_weights_add_up() -> None:
    twice = (HOPS[0], NextHop(HOPS[0].index, HOPS[0].gateway, 255), NextHop(2, ip_address("10.0.2.1"), 9))
    made = plan([Wish("a", twice, (), 4)], {}, {}).objects
    group = made[ACTIVE]
    assert isinstance(group, NextHopGroup)
    assert sorted(weight for _, weight in group.members) == [9, 256]
