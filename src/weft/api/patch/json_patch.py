"""JSON patch (RFC 6902)."""

from typing import Any


def json_patch(doc: Any, ops: Any) -> Any:
    raise NotImplementedError
