"""What a user says of a RIP router. Times in seconds, with the defaults of RFC 2453, 3.8."""

from dataclasses import dataclass, field
from typing import Literal

from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication

SplitHorizon = Literal["poisoned-reverse", "simple", "off"]
NO_AUTHENTICATION = Authentication()


@dataclass(frozen=True, slots=True)
class RipInterfaceConfig:
    """`cost` is added to the metrics of what comes in; `passive` listens and announces, and says nothing."""

    name: str
    cost: int = 1
    passive: bool = False
    split_horizon: SplitHorizon = "poisoned-reverse"
    authentication: Authentication = NO_AUTHENTICATION

    def __post_init__(self) -> None:
        if not 1 <= self.cost <= 15:
            raise InvalidError(f"cannot use cost {self.cost} on {self.name}: RIP takes 1 to 15")


@dataclass(frozen=True, slots=True)
class RipConfig:
    """`suppression` is how long further triggered updates wait after one (3.10.1: 1 to 5 s, at random).

    `sequence_origin` is where sequence numbers of authentication start.
    """

    interfaces: tuple[RipInterfaceConfig, ...] = ()
    update_interval: float = 30.0
    timeout_interval: float = 180.0
    garbage_interval: float = 120.0
    suppression: tuple[float, float] = (1.0, 5.0)
    max_paths: int = 16
    sequence_origin: int = 0
    interface_by_name: dict[str, RipInterfaceConfig] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.update_interval < self.timeout_interval or self.garbage_interval <= 0:
            raise InvalidError("cannot use RIP intervals unless the timeout is above the update, and all are positive")
        if not 0 <= self.suppression[0] <= self.suppression[1]:
            raise InvalidError("cannot use a suppression time that ends before it starts")
        object.__setattr__(self, "interface_by_name", {each.name: each for each in self.interfaces})
