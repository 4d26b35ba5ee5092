"""Kubernetes' protobuf envelope and messages, decoded into JSON objects."""

from typing import Any


def decode(data: bytes) -> dict[str, Any]:
    """Raises ApiError BadRequest."""
    raise NotImplementedError
