"""Kubernetes' `Status` object as an exception: what every call of the API may fail with.

The API server turns it into the response's body and code; the HTTP client turns the body back into it, so both
clients raise the same errors. Reasons and codes: apimachinery `meta/v1/types.go`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weft.core.errors import WeftError

_CODES = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "RequestEntityTooLarge": 413,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `details.causes`; `reason` is such as FieldValueInvalid, FieldValueRequired."""

    reason: str
    message: str
    field: str = ""

    def to_json(self) -> dict[str, str]:
        return {key: value for key in ("reason", "message", "field") if (value := getattr(self, key))}


class ApiError(WeftError):
    """A failed call: `reason` is Kubernetes' StatusReason, `code` the HTTP status."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        code: int | None = None,
        kind: str = "",
        group: str = "",
        name: str = "",
        causes: Sequence[Cause] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = code if code is not None else _CODES.get(reason, 500)
        self.kind = kind
        self.group = group
        self.name = name
        self.causes = tuple(causes)

    def to_json(self) -> dict[str, Any]:
        """The Status object."""
        details: dict[str, Any] = {
            key: value for key, value in (("name", self.name), ("group", self.group), ("kind", self.kind)) if value
        }
        if self.causes:
            details["causes"] = [cause.to_json() for cause in self.causes]
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if details:
            status["details"] = details
        return status

    @classmethod
    def from_json(cls, status: dict[str, Any]) -> "ApiError":
        details = status.get("details") or {}
        causes = [
            Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in details.get("causes") or []
        ]
        return cls(
            status.get("reason") or "InternalError",
            status.get("message") or "",
            code=status.get("code"),
            kind=details.get("kind", ""),
            group=details.get("group", ""),
            name=details.get("name", ""),
            causes=causes,
        )


def not_found(resource: str, name: str, group: str = "") -> ApiError:
    full = f"{resource}.{group}" if group else resource
    return ApiError("NotFound", f'{full} "{name}" not found', kind=resource, group=group, name=name)


def already_exists(resource: str, name: str, group: str = "") -> ApiError:
    full = f"{resource}.{group}" if group else resource
    return ApiError("AlreadyExists", f'{full} "{name}" already exists', kind=resource, group=group, name=name)


def conflict(resource: str, name: str, group: str = "", why: str = "") -> ApiError:
    full = f"{resource}.{group}" if group else resource
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        "Conflict",
        f'Operation cannot be fulfilled on {full} "{name}": {why}',
        kind=resource,
        group=group,
        name=name,
    )


def bad_request(message: str) -> ApiError:
    return ApiError("BadRequest", message)
