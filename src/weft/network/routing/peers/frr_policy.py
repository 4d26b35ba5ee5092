"""Policies as FRR has them: for each source a route-map, with prefix lists, and the line that redistributes by it.

In: what a protocol announces. Out: lines of configuration, or UnsupportedError for what a route-map cannot say.
Source: docs.frrouting.org, Route Maps and Filtering. FRR gives routes no tag of their origin.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Literal

from weft.core.errors import UnsupportedError
from weft.network.routing.policy import Match, Policy, PrefixList, Settings, Statement
from weft.network.routing.rib.routes import MAX_NUMBER, Source

Into = Literal["ospf", "rip"]
_SOURCES: tuple[Source, ...] = ("connected", "static", "ospf", "rip")


def redistribution(into: Into, policy: Policy | None) -> tuple[list[str], list[str]]:
    """Lines that stand by themselves, and lines for the section of the protocol."""
    outside: list[str] = []
    inside: list[str] = []
    for source in _SOURCES if policy is not None else ():
        assert policy is not None
        statements = policy.statements_for(source)
        if source == into or all(each.action == "deny" for each in statements):
            continue
        name = f"{into}-from-{source}"
        inside.append(f" redistribute {source} route-map {name}")
        sequence = 0
        for number, statement in enumerate(statements, 1):
            prefixes = f"{name}-{number}"
            if statement.match.prefixes is not None:
                outside += _prefix_list(prefixes, statement.match.prefixes)
            for tag in statement.match.tags or (None,):
                sequence += 1
                outside.append(f"route-map {name} {statement.action} {sequence}")
                if statement.match.prefixes is not None:
                    outside.append(f" match ip address prefix-list {prefixes}")
                outside += [*_match(statement.match, tag), *_set(statement, into), "exit"]
    return outside, inside


def _match(match: Match, tag: int | None) -> list[str]:
    lines = []
    low, high = match.metrics
    if low == high:
        lines.append(f" match metric {low}")
    elif (low, high) != (0, MAX_NUMBER):
        raise UnsupportedError(f"cannot tell FRR of metrics {low} to {high}: its route-maps match one metric")
    if tag is not None:
        if tag == 0:
            raise UnsupportedError("cannot tell FRR of routes without a tag: its route-maps match tags from 1")
        lines.append(f" match tag {tag}")
    return lines


def _set(statement: Statement, into: Into) -> list[str]:
    settings: Settings = statement.set
    lines = []
    if settings.metric is not None:
        lines.append(f" set metric {settings.metric}")
    if settings.metric_type is not None and into == "ospf":
        lines.append(f" set metric-type type-{settings.metric_type}")
    if settings.tag:
        lines.append(f" set tag {settings.tag}")
    return lines


def _prefix_list(name: str, prefixes: PrefixList) -> list[str]:
    """Rules for IPv4; without one a list that permits nothing, for a list that is not there permits all."""
    rules = [rule for rule in prefixes.rules if isinstance(rule.prefix, IPv4Network)]
    lines = []
    for number, rule in enumerate(rules, 1):
        own, (low, high) = rule.prefix.prefixlen, rule.lengths
        lengths = (f" ge {low}" if low > own else "") + (f" le {high}" if high > own else "")
        lines.append(f"ip prefix-list {name} seq {number * 5} {rule.action} {rule.prefix}{lengths}")
    return lines or [f"ip prefix-list {name} seq 5 deny any"]


def policy_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str] | None:
    """The commands from one configuration (by daemon) to another that differs in policies alone; None for others."""
    commands: list[str] = []
    if old.keys() != new.keys():
        return None
    for daemon in sorted(old):
        before, after = old[daemon].splitlines(), new[daemon].splitlines()
        if before == after:
            continue
        section = next((line for line in before if line in ("router ospf", "router rip")), None)
        if section is None or _rest(before) != _rest(after):
            return None
        named = {tuple(line.split()[:3]) for line in before if line.startswith("ip prefix-list ")}
        named |= {tuple(line.split()[:2]) for line in before if line.startswith("route-map ")}
        said = {line.split()[1] for line in before if line.startswith(" redistribute ")}
        wanted = [line for line in after if line.startswith(" redistribute ")]
        gone = said - {line.split()[1] for line in wanted}
        commands += [section, *(f"no redistribute {source}" for source in sorted(gone)), "exit"]
        commands += ["no " + " ".join(each) for each in sorted(named, reverse=True)]  # maps, then lists
        commands += [line.strip() for line in _policies(after)]
        commands += [section, *(line.strip() for line in wanted), "exit"]
    return commands


def _policies(lines: list[str]) -> list[str]:
    """Prefix lists and route-maps, with what stands in these up to their exit."""
    found = []
    inside = False
    for line in lines:
        if line.startswith(("ip prefix-list ", "route-map ")):
            inside = line.startswith("route-map ")
            found.append(line)
        elif inside:
            found.append(line)
            inside = line != "exit"
    return found


def _rest(lines: list[str]) -> list[str]:
    policies = set(_policies(lines)) - {"exit"}
    return [line for line in lines if line not in policies and line != "exit" and not line.startswith(" redistribute ")]


__all__ = ["policy_changes", "redistribution"]
