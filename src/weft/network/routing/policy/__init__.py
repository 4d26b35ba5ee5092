"""Which routes pass between protocols, and how they look afterwards."""

from weft.network.routing.policy.policy import Match, Policy, Settings, Statement
from weft.network.routing.policy.prefix_list import PrefixList, PrefixRule
from weft.network.routing.policy.reader import read_policy, validate_policy
from weft.network.routing.policy.redistribution import change_policy, origin_tag, redistribute

__all__ = [
    "Match",
    "Policy",
    "PrefixList",
    "PrefixRule",
    "Settings",
    "Statement",
    "change_policy",
    "origin_tag",
    "read_policy",
    "redistribute",
    "validate_policy",
]
