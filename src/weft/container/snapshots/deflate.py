"""gzip for layers. ISA-L's deflate where package `isal` is installed: some fifteen times faster than zlib on layers.

The digest of a layer's blob depends on which of the two made it; its diff id, and so the image's id, does not.
"""

import zlib
from typing import Any

_backend: Any
try:
    from isal import isal_zlib as _backend
except ImportError:  # not on every architecture
    _backend = zlib
_GZIP = 31  # window bits: the largest window, with gzip's header and trailer
ERRORS: tuple[type[Exception], ...] = (zlib.error, _backend.error)  # of a decompressor


def compressor() -> Any:
    """As zlib.compressobj."""
    return _backend.compressobj(1, _backend.DEFLATED, _GZIP)


def decompressor() -> Any:
    """As zlib.decompressobj."""
    return _backend.decompressobj(_GZIP)
