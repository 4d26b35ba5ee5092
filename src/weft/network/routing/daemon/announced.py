"""What a protocol announces of other sources: the `redistribute` of a router, with its RoutingPolicies, as one policy.

In: redistributions and the RoutingPolicy objects that they name. Out: a `Policy`; NotFoundError where one is not there,
InvalidError where one is wrong. Who is next: `plan`, and from there the router itself or a configuration file of FRR
or BIRD.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weft.core.errors import InvalidError, NotFoundError
from weft.network.routing.policy import Match, Policy, Settings, Statement, read_policy
from weft.network.topology.settings import Redistribution

Objects = Mapping[str, Mapping[str, Any]]


def announced(redistributed: Sequence[Redistribution], policies: Objects, metric: int) -> Policy | None:
    """`metric` is for what says none. Redistributions are tried in order; None where there are none."""
    if not redistributed:
        return None
    return Policy("redistribute", tuple(each for one in redistributed for each in _statements(one, policies, metric)))


def _statements(one: Redistribution, policies: Objects, metric: int) -> Iterator[Statement]:
    """A policy's statements, for the routes of one source where it is named, and its default for the rest."""
    usual = Settings(one.metric if one.metric is not None else metric, one.metric_type)
    everything = Match((one.source,) if one.source is not None else ())
    if one.policy is None:
        yield Statement("permit", everything, usual)
        return
    policy = _policy(one.policy, policies)
    for statement in policy.statements:
        sources = statement.match.sources
        if one.source is not None:
            if sources and one.source not in sources:
                continue
            sources = (one.source,)
        settings = _filled(statement.set, usual) if statement.action == "permit" else Settings()
        yield Statement(statement.action, replace(statement.match, sources=sources), settings)
    if one.source is not None or policy.default == "permit":
        yield Statement(policy.default, everything, usual if policy.default == "permit" else Settings())


def _filled(settings: Settings, usual: Settings) -> Settings:
    return replace(
        settings,
        metric=settings.metric if settings.metric is not None else usual.metric,
        metric_type=settings.metric_type if settings.metric_type is not None else usual.metric_type,
    )


def _policy(name: str, policies: Objects) -> Policy:
    if name not in policies:
        raise NotFoundError(f"cannot redistribute by RoutingPolicy {name}: there is none of that name")
    try:
        return read_policy(policies[name])
    except InvalidError as error:
        raise InvalidError(f"cannot redistribute by RoutingPolicy {name}: {error}") from error
