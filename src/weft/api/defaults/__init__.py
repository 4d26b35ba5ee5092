"""The values that Kubernetes fills in where the user said nothing."""

from typing import Any

from weft.api.kinds import ResourceType


def apply_defaults(obj: dict[str, Any], rtype: ResourceType) -> None:
    """Fills in `obj`, in place; idempotent."""
    raise NotImplementedError
