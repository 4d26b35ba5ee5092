"""Identifiers: container ids, Kubernetes uids, name suffixes, and short names for kernel objects."""

import hashlib
import os
import secrets
import uuid

# The alphabet of Kubernetes' generated names: no vowels, no look-alikes (apimachinery, util/rand).
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


# The kernel's random bytes, asked for in blocks: each call takes as long as the rest of a small write.
_spare: list[bytes] = []
os.register_at_fork(after_in_child=_spare.clear)


def _random() -> bytes:
    """Sixteen bytes that nobody had before."""
    while True:
        try:
            return _spare.pop()
        except IndexError:
            block = os.urandom(4096)
            _spare.extend(block[start : start + 16] for start in range(0, len(block), 16))


def hex_id() -> str:
    """A new id of 64 hexadecimal digits, as Docker's containers and images bear."""
    return secrets.token_hex(32)


def uid() -> str:
    """A new random UUID, as `metadata.uid`."""
    return str(uuid.UUID(bytes=_random(), version=4))


def name_suffix(length: int = 5) -> str:
    """A random suffix for `metadata.generateName`."""
    suffix = ""
    while len(suffix) < length:
        # Bytes from 243 on are left out, so that all 27 characters are as likely.
        suffix += "".join(_SUFFIX_ALPHABET[byte % 27] for byte in _random() if byte < 243)
    return suffix[:length]


def short_hash(text: str, length: int = 8) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `text`: stable names for kernel objects."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
