"""Content digests: `sha256:` and 64 hexadecimal digits (OCI image spec, descriptor.md, "Digests")."""

import hashlib
import re
from collections.abc import Sequence

from weft.core.errors import InvalidError

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


def of(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check(text: object) -> str:
    """`text` if it is a digest that we support; raises InvalidError."""
    if not isinstance(text, str) or not _PATTERN.fullmatch(text):
        raise InvalidError(f"invalid checksum digest format: {text!r}")
    return text


def is_digest(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def chain_id(diff_ids: Sequence[str]) -> str:
    """The ChainID of a stack of layers (OCI image spec, config.md, "Layer ChainID")."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = of(f"{chain} {diff_id}".encode())
    return chain
