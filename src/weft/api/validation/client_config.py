"""How a webhook is reached: a URL, or a service, and the authority that vouches for it.

In: a clientConfig of a webhook configuration or of a CRD's conversion. Out: errors.
Source: apiserver `pkg/util/webhook/validation.go`.
"""

import binascii
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from weft.api.validation.errors import Errors


def check_client_config(config: dict[str, Any], path: str, errors: Errors) -> None:
    if ("url" in config) == ("service" in config):
        errors.required(path, "exactly one of url or service is required")
        return
    if "url" in config:
        _check_url(config["url"], f"{path}.url", errors)
    else:
        service = config["service"]
        for key in ("name", "namespace"):
            if not service.get(key):
                errors.required(f"{path}.service.{key}", f"service {key} is required")
        if "port" in service:
            errors.port(f"{path}.service.port", service["port"])
        if service.get("path") and not service["path"].startswith("/"):
            errors.invalid(f"{path}.service.path", service["path"], "must start with a '/'")
    if config.get("caBundle"):
        try:
            text = b64decode(config["caBundle"], validate=True)
        except binascii.Error:
            text = b""
        if b"-----BEGIN CERTIFICATE-----" not in text:
            errors.invalid(
                f"{path}.caBundle", "", "unable to load root certificates: unable to parse bytes as PEM block"
            )


def _check_url(url: str, path: str, errors: Errors) -> None:
    form = "desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError as error:
        errors.required(path, f"url must be a valid URL: {error}; {form}")
        return
    if parts.scheme != "https":
        errors.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme; {form}")
    if not parts.hostname:
        errors.invalid(path, parts.netloc, f"host must be specified; {form}")
    if parts.username is not None:
        errors.invalid(path, parts.username, "user information is not permitted in the URL")
    if parts.fragment:
        errors.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        errors.invalid(path, parts.query, "query parameters are not permitted in the URL")
