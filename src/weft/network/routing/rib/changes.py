"""How the set of best routes became another: what a data plane has to do, and what `policy` redistributes."""

from dataclasses import dataclass

from weft.network.routing.rib.routes import Route


@dataclass(frozen=True, slots=True)
class Replacement:
    """Another route for the same prefix."""

    old: Route
    new: Route


@dataclass(frozen=True, slots=True)
class Changes:
    """The smallest difference of two sets of best routes: no prefix twice, and nothing that stayed equal."""

    added: tuple[Route, ...] = ()
    replaced: tuple[Replacement, ...] = ()
    removed: tuple[Route, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.replaced or self.removed)
