"""The config of an image, as far as others rely on it. Source: OCI image spec, config.md."""

import json
from collections.abc import Mapping
from typing import Any

from weft.core.errors import InvalidError
from weft.oci import digest as digests


def parse(raw: bytes) -> Mapping[str, Any]:
    """An image's config, checked as far as we rely on it; raises InvalidError."""
    try:
        value = json.loads(raw)
        diff_ids = value["rootfs"]["diff_ids"]
        if not isinstance(value.get("config") or {}, dict) or not isinstance(diff_ids, list):
            raise TypeError
        for diff_id in diff_ids:
            digests.check(diff_id)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidError("image config invalid: it is no config of a container image") from None
    found: Mapping[str, Any] = value
    if value.get("os", "linux") != "linux":
        raise InvalidError(f"image operating system {value['os']!r} cannot be used on this platform")
    return found
