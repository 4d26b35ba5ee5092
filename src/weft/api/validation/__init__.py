"""Is an object well formed? Types and unknown fields (400), then the rules that Kubernetes has for each kind (422)."""

from dataclasses import dataclass
from typing import Any

from weft.api.decoding import check_types, prune, strict_decoding_error, unknown_fields
from weft.api.kinds import ResourceType
from weft.api.status import ApiError, Cause

__all__ = [
    "FieldError",
    "check_types",
    "invalid",
    "prune",
    "strict_decoding_error",
    "unknown_fields",
    "validate",
    "validate_update",
]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong: `str(error)` is `spec.replicas: Invalid value: -1: must be greater than or equal to 0`."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    @property
    def cause(self) -> Cause:
        return Cause(self.reason, self.message, self.field)


def validate(obj: Object, rtype: ResourceType) -> list[FieldError]:
    raise NotImplementedError


def validate_update(new: Object, old: Object, rtype: ResourceType) -> list[FieldError]:
    """What may not change, and what `validate` says of `new`."""
    raise NotImplementedError


def invalid(errors: list[FieldError], rtype: ResourceType, name: str) -> ApiError:
    """The 422 for a list of errors: `Deployment.apps "x" is invalid: [...]`."""
    raise NotImplementedError
