"""Keys with which neighbours prove who they are, as OSPF (RFC 2328 D, RFC 5709) and RIP (RFC 2453, RFC 4822) have them.

In: a keyed message. Out: its digest. Protocols place it in their own packets.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from weft.core.errors import InvalidError

Algorithm = Literal["none", "simple", "md5", "hmac-sha-1", "hmac-sha-256", "hmac-sha-384", "hmac-sha-512"]
_HASHES = {
    "hmac-sha-1": hashlib.sha1,
    "hmac-sha-256": hashlib.sha256,
    "hmac-sha-384": hashlib.sha384,
    "hmac-sha-512": hashlib.sha512,
}
DIGEST_LENGTHS = {"md5": 16, "hmac-sha-1": 20, "hmac-sha-256": 32, "hmac-sha-384": 48, "hmac-sha-512": 64}
# RFC 5709, 3.3: what stands in place of the digest while it is computed.
_APAD = bytes.fromhex("878FE1F3")


@dataclass(frozen=True, slots=True)
class Authentication:
    """`key_id` 1 to 255 for the algorithms with a digest."""

    algorithm: Algorithm = "none"
    key: bytes = b""
    key_id: int = 1

    def __post_init__(self) -> None:
        if self.algorithm != "none" and not self.key:
            raise InvalidError(f"cannot use authentication {self.algorithm} without a key")
        if self.algorithm == "simple" and len(self.key) > 16:
            raise InvalidError("cannot use a password of more than 16 bytes")
        if self.algorithm == "md5" and len(self.key) > 16:
            raise InvalidError("cannot use an MD5 key of more than 16 bytes")
        if not 0 <= self.key_id <= 255:
            raise InvalidError(f"cannot use key ID {self.key_id}: it must be 0 to 255")

    @property
    def digest_length(self) -> int:
        return DIGEST_LENGTHS.get(self.algorithm, 0)

    def digest(self, message: bytes) -> bytes:
        """The digest of `message`, which ends where the digest will stand.

        MD5: RFC 2328 D.4.3. HMAC: RFC 5709, 3.3, with Apad after the message.
        """
        if self.algorithm == "md5":
            return hashlib.md5(message + self.key.ljust(16, b"\0"), usedforsecurity=False).digest()
        make = _HASHES[self.algorithm]
        length = self.digest_length
        # A key longer than the hash's output is hashed first (not its block, unlike RFC 2104: RFC 5709, 3.3).
        key = make(self.key).digest() if len(self.key) > length else self.key
        apad = (_APAD * (length // 4))[:length]
        return hmac.new(key.ljust(length, b"\0"), message + apad, make).digest()

    def verify(self, message: bytes, digest: bytes) -> bool:
        return hmac.compare_digest(self.digest(message), digest)
