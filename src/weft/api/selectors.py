"""Label and field selectors; parse errors raise ApiError BadRequest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from weft.api.kinds import ResourceType


@dataclass(frozen=True, slots=True)
class LabelSelector:
    @classmethod
    def parse(cls, text: str) -> Self:
        raise NotImplementedError

    @classmethod
    def from_json(cls, selector: Mapping[str, Any] | None) -> Self:
        raise NotImplementedError

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FieldSelector:
    @classmethod
    def parse(cls, text: str, rtype: ResourceType | None = None) -> Self:
        """With `rtype`, a field that the kind does not support is refused: `field label not supported: x`."""
        raise NotImplementedError

    def matches(self, obj: Mapping[str, Any]) -> bool:
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        raise NotImplementedError
