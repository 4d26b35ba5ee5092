"""OpenAPI documents for kubectl apply, explain and diff."""

from typing import Any

from weft.api.kinds import Kinds


def openapi_v3_index(kinds: Kinds) -> dict[str, Any]:
    raise NotImplementedError


def openapi_v3(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    raise NotImplementedError


def openapi_v2(kinds: Kinds) -> dict[str, Any]:
    raise NotImplementedError
