"""The election of a Designated Router and its Backup on a broadcast network (RFC 2328, 9.4).

In: the candidates as their hellos have it, ourselves among them. Out: the addresses of both. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """All as numbers; `designated` and `backup` are whom the candidate itself holds for them."""

    address: int
    router: int
    priority: int
    designated: int
    backup: int

    @property
    def rank(self) -> tuple[int, int]:
        return self.priority, self.router


def elect(me: Candidate, others: Sequence[Candidate]) -> tuple[int, int]:
    """(DR, BDR); 0 where there is none. Who has priority 0 is never elected."""
    designated, backup = _once(me, others)
    was = (me.address == me.designated, me.address == me.backup)
    now = (me.address == designated, me.address == backup)
    if was != now:  # step 4: once more, with our own new role
        me = Candidate(me.address, me.router, me.priority, designated if now[0] else 0, backup if now[1] else 0)
        designated, backup = _once(me, others)
    return designated, backup


def _once(me: Candidate, others: Sequence[Candidate]) -> tuple[int, int]:
    eligible = [each for each in (me, *others) if each.priority > 0]
    # Step 2: no router that declares itself DR may become Backup; those that declare themselves Backup go first.
    modest = [each for each in eligible if each.designated != each.address]
    declared = [each for each in modest if each.backup == each.address]
    backup = max(declared or modest, key=lambda each: each.rank, default=None)
    # Step 3
    claims = [each for each in eligible if each.designated == each.address]
    designated = max(claims, key=lambda each: each.rank, default=backup)
    return (designated.address if designated else 0), (backup.address if backup else 0)
