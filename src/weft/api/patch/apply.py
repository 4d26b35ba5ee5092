"""Server-side apply."""

from typing import Any

from weft.api.schema import Schema

Object = dict[str, Any]


def apply(
    live: Object | None,
    applied: Object,
    manager: str,
    force: bool,
    schema: Schema,
    subresource: str = "",
    *,
    now: float | None = None,
) -> Object:
    """The object after `manager` applied `applied`, with its managedFields; raises ApiError Conflict, BadRequest."""
    raise NotImplementedError


def update_managed_fields(
    old: Object | None,
    new: Object,
    manager: str,
    schema: Schema,
    *,
    operation: str = "Update",
    subresource: str = "",
    now: float | None = None,
) -> list[dict[str, Any]]:
    """The managedFields of `new` after `manager` made `new` of `old` by create, update or patch."""
    raise NotImplementedError
