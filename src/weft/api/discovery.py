"""Discovery documents."""

from typing import Any

from weft.api.kinds import Kinds


def api_versions(server_address: str = "") -> dict[str, Any]:
    """`GET /api`."""
    raise NotImplementedError


def api_group_list(kinds: Kinds) -> dict[str, Any]:
    """`GET /apis`."""
    raise NotImplementedError


def api_group(kinds: Kinds, group: str) -> dict[str, Any] | None:
    """`GET /apis/G`; None where there is no such group."""
    raise NotImplementedError


def api_resource_list(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    """`GET /apis/G/V`, or `/api/v1` with group ""; None where there is none."""
    raise NotImplementedError


def aggregated(kinds: Kinds, *, core: bool) -> dict[str, Any]:
    """APIGroupDiscoveryList (apidiscovery.k8s.io/v2): of `/api` with `core`, else of `/apis`."""
    raise NotImplementedError
