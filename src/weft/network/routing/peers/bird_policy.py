"""Policies as BIRD has them: the text of a filter for what a protocol exports.

In: what a protocol announces. Out: statements of BIRD's filter language, or UnsupportedError for what it cannot say of
a route. Source: bird.network.cz, User's Guide, Filters and Protocols. BIRD gives routes no tag of their origin.
"""

from ipaddress import IPv4Network
from typing import Literal

from weft.core.errors import UnsupportedError
from weft.network.routing.policy import Match, Policy, PrefixList, Settings, Statement
from weft.network.routing.rib.routes import MAX_NUMBER, Source

Into = Literal["ospf", "rip"]
_SOURCES: dict[Source, str] = {
    "connected": "source = RTS_DEVICE",
    "static": "source = RTS_STATIC",
    "ospf": "source ~ [ RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]",
    "rip": "source = RTS_RIP",
}
_TAGS: dict[Source, str] = {"ospf": "ospf_tag", "rip": "rip_tag"}


def redistribution(into: Into, policy: Policy | None) -> str:
    """Accepts what the policy permits; what it denies or does not speak of goes on to what stands next."""
    found = []
    for source, test in _SOURCES.items() if policy is not None else ():
        assert policy is not None
        statements = policy.statements_for(source)
        if source == into or all(each.action == "deny" for each in statements):
            continue
        inner = " ".join(_statement(each, source, into) for each in statements)
        found.append(f"if {test} then {{ {inner} reject; }}")
    return " ".join(found)


def _statement(statement: Statement, source: Source, into: Into) -> str:
    verdict = f"{_set(statement.set, into)}accept;" if statement.action == "permit" else "reject;"
    conditions = _match(statement.match, source)
    return f"if {' && '.join(conditions)} then {{ {verdict} }}" if conditions else verdict


def _match(match: Match, source: Source) -> list[str]:
    low, high = match.metrics
    if (low, high) != (0, MAX_NUMBER):
        raise UnsupportedError(f"cannot tell BIRD of metrics {low} to {high}: each protocol of it has its own")
    conditions = []
    if match.prefixes is not None:
        conditions.append(_prefixes(match.prefixes))
    if match.tags:
        tags = f"[ {', '.join(map(str, match.tags))} ]"
        without = "true" if 0 in match.tags else "false"
        name = _TAGS.get(source)
        conditions.append(
            without if name is None else f"((defined({name}) && {name} ~ {tags}) || (! defined({name}) && {without}))"
        )
    return conditions


def _prefixes(prefixes: PrefixList) -> str:
    """The first rule that covers a prefix decides: nested from the last to the first."""
    text = "false"
    for rule in reversed(prefixes.rules):
        if isinstance(rule.prefix, IPv4Network):
            low, high = rule.lengths
            covers = f"net ~ [ {rule.prefix}{{{low},{high}}} ]"
            text = f"({covers} || {text})" if rule.action == "permit" else f"(! ({covers}) && {text})"
    return text


def _set(settings: Settings, into: Into) -> str:
    text = ""
    if settings.metric is not None:
        name = f"ospf_metric{settings.metric_type or 2}" if into == "ospf" else "rip_metric"
        text += f"{name} = {settings.metric}; "
    if settings.tag is not None:
        text += f"{into}_tag = {settings.tag}; "
    return text


__all__ = ["redistribution"]
