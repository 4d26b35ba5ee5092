"""Detach keys: the sequence by which a user leaves an attached terminal without ending what runs in it.

In: `ctrl-p,ctrl-q` and what the user types. Out: what goes on to the process, and whether the user has left.
Docker CLI reference, `docker attach`, "Override the detach sequence".
"""

from weft.core.errors import InvalidError

DEFAULT = b"\x10\x11"  # ctrl-p, ctrl-q


def parse(text: str) -> bytes:
    """Raises InvalidError; empty is Docker's default."""
    if not text:
        return DEFAULT
    keys = bytearray()
    for word in text.split(","):
        key = word.removeprefix("ctrl-")
        if len(key) != 1 or not key.isascii() or (word != key and not ("a" <= key <= "z" or key in "@[\\]^_")):
            raise InvalidError(f"Unknown character: '{word}'")
        keys.append(ord(key.upper()) & 0x1F if word != key else ord(key))
    return bytes(keys)


class Keys:
    """Looks for the sequence in what comes piece by piece; its beginning is held back until it is clear."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence has come."""
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._seen]:
                self._seen += 1
                if self._seen == len(self._keys):
                    self._seen = 0
                    return bytes(out), True
                continue
            out += self._keys[: self._seen]
            self._seen = 0
            if byte == self._keys[0]:
                self._seen = 1
            else:
                out.append(byte)
        return bytes(out), False
