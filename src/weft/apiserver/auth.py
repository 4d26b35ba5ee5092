"""Who calls: client certificates (CN user, O groups).

In: a connection's verified certificate. Out: a `User`, or 401; 403 in Kubernetes's words for those who may not, which
`authorization` decides.
"""

import asyncio
from typing import Any

from weft.api.status import ApiError
from weft.apiserver.request import User

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


def authenticate(transport: asyncio.BaseTransport | None) -> User:
    """The user of a connection; raises ApiError 401."""
    certificate: dict[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
    if not certificate:
        raise ApiError("Unauthorized", "Unauthorized")
    name, groups = "", []
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        raise ApiError("Unauthorized", "Unauthorized")
    return User(name, (*groups, "system:authenticated"))


def forbidden(user: User, verb: str, group: str, resource: str, namespace: str | None, name: str) -> ApiError:
    """`pods "x" is forbidden: User "u" cannot get resource "pods" in API group "" in the namespace "default"`."""
    full = f"{resource.partition('/')[0]}.{group}" if group else resource.partition("/")[0]
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    quoted = f' "{name}"' if name else ""
    return ApiError(
        "Forbidden",
        f'{full}{quoted} is forbidden: User "{user.name}" cannot {verb} resource "{resource}" '
        f'in API group "{group}" {where}',
        kind=resource.partition("/")[0],
        group=group,
        name=name,
    )
