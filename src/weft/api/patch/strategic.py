"""Strategic merge patch."""

from typing import Any

from weft.api.schema import Schema


def strategic_merge(doc: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    raise NotImplementedError
