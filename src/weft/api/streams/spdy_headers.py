"""SPDY's header blocks: name/value pairs, compressed by zlib with a dictionary that the protocol fixes.

In: the bytes of a block, or headers. Out: the other. Both directions of a session keep one compressor for all of their
blocks, so a block can be read only after all before it (SPDY draft 3.1, 2.6.10, "Name/Value Header Block").
"""

import struct
import zlib
from collections.abc import Mapping

from weft.core.errors import InvalidError

Headers = Mapping[str, str]

MAX_BLOCK = 64 * 1024

_SINGLE = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_WORDS = (*_SINGLE.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
# Draft 3.1, 2.6.10.1: words with their lengths before them, then what else is frequent.
DICTIONARY = b"".join(struct.pack("!I", len(word)) + word.encode() for word in _WORDS) + _TAIL.encode()


class HeaderWriter:
    """One direction's compressor."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def write(self, headers: Headers) -> bytes:
        parts = [struct.pack("!I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += [struct.pack("!I", len(text)), text]
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """The other direction's decompressor; after an InvalidError nothing more can be read."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> Headers:
        try:
            plain = self._inflate.decompress(block, MAX_BLOCK)
        except zlib.error as error:
            raise InvalidError(f"cannot inflate a header block: {error}") from None
        if self._inflate.unconsumed_tail:
            raise InvalidError(f"a header block has more than {MAX_BLOCK} bytes")
        return _pairs(plain)


def _pairs(plain: bytes) -> Headers:
    place = 0

    def number() -> int:
        nonlocal place
        if place + 4 > len(plain):
            raise InvalidError("a header block ends too early")
        (value,) = struct.unpack_from("!I", plain, place)
        place += 4
        return int(value)

    def text() -> str:
        nonlocal place
        length = number()
        if place + length > len(plain):
            raise InvalidError("a header block ends too early")
        raw, place = plain[place : place + length], place + length
        return raw.decode("utf-8", "replace")

    headers: dict[str, str] = {}
    for _ in range(number()):
        name, value = text(), text()
        if not name or name != name.lower() or name in headers:
            raise InvalidError(f"{name!r} may not be a header's name, or stands twice")
        headers[name] = value
    if place != len(plain):
        raise InvalidError("a header block goes on after its last header")
    return headers
