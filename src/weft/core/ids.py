"""Identifiers: container ids, Kubernetes uids, name suffixes, and short names for kernel objects."""

import hashlib
import secrets
import uuid

# The alphabet of Kubernetes' generated names: no vowels, no look-alikes (apimachinery, util/rand).
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def hex_id() -> str:
    """A new id of 64 hexadecimal digits, as Docker's containers and images bear."""
    return secrets.token_hex(32)


def uid() -> str:
    """A new random UUID, as `metadata.uid`."""
    return str(uuid.uuid4())


def name_suffix(length: int = 5) -> str:
    """A random suffix for `metadata.generateName`."""
    return "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(length))


def short_hash(text: str, length: int = 8) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `text`: stable names for kernel objects."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
