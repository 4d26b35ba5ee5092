"""Errors as the distribution spec defines them: a code, a message, a detail (spec.md, "Error Codes")."""

import json
from typing import Any

from aiohttp import web

_STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "RANGE_INVALID": 416,
    "UNSUPPORTED": 405,
    # Not of the spec, but the reference implementation's.
    "PAGINATION_NUMBER_INVALID": 400,
}


class RegistryError(Exception):
    """`code` is one of the spec's; `headers` go with the answer, `status` replaces the code's usual one."""

    def __init__(
        self, code: str, message: str, *, detail: Any = None, headers: dict[str, str] | None = None, status: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers or {}
        self.status = status or _STATUS.get(code, 400)

    def response(self) -> web.Response:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return web.Response(
            status=self.status, body=json.dumps({"errors": [error]}).encode() + b"\n",
            content_type="application/json", headers=self.headers,
        )  # fmt: skip
