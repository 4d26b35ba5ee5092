"""What a user says of BFD. Times in seconds."""

from dataclasses import dataclass

from weft.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class BfdConfig:
    """`transmit` is how often we want to send, `receive` how often we can take packets; `multiplier` of them may be
    missed (RFC 5880, 6.8.1: DesiredMinTxInterval, RequiredMinRxInterval, DetectMult)."""

    transmit: float = 0.3
    receive: float = 0.3
    multiplier: int = 3

    def __post_init__(self) -> None:
        if not 0.001 <= self.transmit <= 4000 or not 0.001 <= self.receive <= 4000:
            raise InvalidError("cannot use BFD intervals outside of 1 ms to 4000 s")
        if not 1 <= self.multiplier <= 255:
            raise InvalidError(f"cannot use BFD multiplier {self.multiplier}: it must be 1 to 255")
