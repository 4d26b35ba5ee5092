"""The one table from Weft's errors to Docker's HTTP statuses, and the shape of an error: `{"message": TEXT}`.

Docker Engine API reference, "Errors": 304 not modified, 400 bad parameter, 404 no such object, 409 conflict, 500, 503.
"""

import json

from aiohttp import web

from weft.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
    WeftError,
)

_STATUS: tuple[tuple[type[WeftError], int], ...] = (
    (InvalidError, 400),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnsupportedError, 501),
    (UnavailableError, 503),
    (WeftError, 500),
)


def status_of(error: WeftError) -> int:
    """The HTTP status for an engine's error."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def error_body(message: str) -> bytes:
    return json.dumps({"message": message}).encode() + b"\n"


def error_response(status: int, message: str) -> web.Response:
    return web.Response(status=status, body=error_body(message), content_type="application/json")
