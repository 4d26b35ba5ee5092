"""Prefix lists, as in FRR: rules tried in order, each a prefix with a range of lengths within it.

In: a prefix. Out: whether the list permits it; what no rule speaks of is denied. Who is next: `policy`.
"""

from dataclasses import dataclass
from typing import Literal

from weft.core.errors import InvalidError
from weft.network.routing.rib.table import Prefix

Action = Literal["permit", "deny"]


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """Without `ge` and `le` exactly `prefix`; with them what lies within it and is that long (`ge` alone: or more)."""

    prefix: Prefix
    ge: int | None = None
    le: int | None = None
    action: Action = "permit"

    def __post_init__(self) -> None:
        low, high = self.lengths
        if not self.prefix.prefixlen <= low <= high <= self.prefix.max_prefixlen:
            raise InvalidError(
                f"cannot match lengths {low} to {high} within {self.prefix}: "
                f"it must be {self.prefix.prefixlen} <= ge <= le <= {self.prefix.max_prefixlen}"
            )

    @property
    def lengths(self) -> tuple[int, int]:
        own = self.prefix.prefixlen
        if self.ge is None and self.le is None:
            return own, own
        return (own if self.ge is None else self.ge), (self.prefix.max_prefixlen if self.le is None else self.le)

    def covers(self, prefix: Prefix) -> bool:
        low, high = self.lengths
        if prefix.version != self.prefix.version or not low <= prefix.prefixlen <= high:
            return False
        shift = prefix.max_prefixlen - self.prefix.prefixlen
        return int(prefix.network_address) >> shift == int(self.prefix.network_address) >> shift


@dataclass(frozen=True, slots=True)
class PrefixList:
    rules: tuple[PrefixRule, ...]

    def permits(self, prefix: Prefix) -> bool:
        """What the first rule that covers a prefix says."""
        for rule in self.rules:
            if rule.covers(prefix):
                return rule.action == "permit"
        return False
