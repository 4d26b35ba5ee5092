"""JSON merge patch (RFC 7386)."""

from typing import Any


def merge_patch(doc: Any, patch: Any) -> Any:
    raise NotImplementedError
