"""Routing policies: statements in order; the first that matches a route permits it, perhaps changed, or denies it.

In: a route. Out: the route as it goes on, or None. Who is next: `redistribution`, or whoever filters routes.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from weft.core.errors import InvalidError
from weft.network.routing.policy.prefix_list import Action, PrefixList
from weft.network.routing.rib.routes import MAX_NUMBER, MAX_PREFERENCE, Route, Source


@dataclass(frozen=True, slots=True)
class Match:
    """A route matches when all that is named does; nothing named matches every route."""

    sources: tuple[Source, ...] = ()
    prefixes: PrefixList | None = None
    metrics: tuple[int, int] = (0, MAX_NUMBER)
    tags: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.metrics
        if not 0 <= low <= high <= MAX_NUMBER:
            raise InvalidError(f"cannot match metrics {low} to {high}: they must rise, within 0 to {MAX_NUMBER}")

    def matches(self, route: Route) -> bool:
        low, high = self.metrics
        return (
            (not self.sources or route.source in self.sources)
            and low <= route.metric <= high
            and (not self.tags or route.tag in self.tags)
            and (self.prefixes is None or self.prefixes.permits(route.prefix))
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a permitted route gets; None leaves what it has."""

    metric: int | None = None
    metric_type: Literal[1, 2] | None = None
    tag: int | None = None
    preference: int | None = None

    def __post_init__(self) -> None:
        for what, value, most in (
            ("metric", self.metric, MAX_NUMBER),
            ("tag", self.tag, MAX_NUMBER),
            ("preference", self.preference, MAX_PREFERENCE),
        ):
            if value is not None and not 0 <= value <= most:
                raise InvalidError(f"cannot set {what} {value}: it must be 0 to {most}")

    def apply(self, route: Route) -> Route:
        fields: dict[str, Any] = {
            "metric": self.metric,
            "metric_type": self.metric_type,
            "tag": self.tag,
            "preference": self.preference,
        }
        wanted = {name: value for name, value in fields.items() if value is not None}
        return replace(route, **wanted) if wanted else route


@dataclass(frozen=True, slots=True)
class Statement:
    action: Action = "permit"
    match: Match = Match()
    set: Settings = Settings()


@dataclass(frozen=True, slots=True)
class Policy:
    """`default` is for routes that no statement matches."""

    name: str
    statements: tuple[Statement, ...] = ()
    default: Action = "deny"

    def statements_for(self, source: Source) -> tuple[Statement, ...]:
        """What can match routes of a source, with the default as the last of them where it permits."""
        found = [each for each in self.statements if not each.match.sources or source in each.match.sources]
        return (*found, Statement("permit")) if self.default == "permit" else tuple(found)

    def apply(self, route: Route) -> Route | None:
        for statement in self.statements:
            if statement.match.matches(route):
                return statement.set.apply(route) if statement.action == "permit" else None
        return route if self.default == "permit" else None
