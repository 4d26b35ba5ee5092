"""Objects as a meta.k8s.io/v1 Table, as `kubectl get` prints them."""

from collections.abc import Sequence
from typing import Any, Literal

from weft.api.kinds import ResourceType

Object = dict[str, Any]


def to_table(
    rtype: ResourceType,
    objects: Sequence[Object],
    resource_version: str = "",
    include_object: Literal["None", "Metadata", "Object"] = "Metadata",
    now: float = 0.0,
    *,
    continue_token: str = "",
    remaining: int | None = None,
    with_columns: bool = True,
) -> Object:
    """`with_columns=False` leaves columnDefinitions empty, as in all watch events after the first."""
    raise NotImplementedError


def partial_metadata(obj: Object) -> Object:
    """The PartialObjectMetadata of an object."""
    raise NotImplementedError
