"""nftables by libnftables: commands in nft(8)'s own language, each call one transaction of the kernel.

All of an instance is in one table, `inet INSTANCE`; nobody else's rules are touched.
"""

import ctypes
import threading

from weft.core.errors import UnsupportedError, WeftError

_OUTPUT_JSON = 1 << 4


class NftablesError(WeftError):
    """The library or the kernel refused a transaction, of which then nothing holds."""


class Nftables:
    """A handle of the library; safe to call from several threads, one at a time."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libnftables.so.1")
        except OSError as error:
            raise UnsupportedError("cannot set up packet rules: libnftables.so.1 is not installed") from error
        library = self._library
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        self._context = library.nft_ctx_new(0)
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_output_set_flags(self._context, _OUTPUT_JSON)
        self._lock = threading.Lock()

    def run(self, commands: str) -> str:
        """Runs commands in one transaction; returns what they print (JSON). Raises NftablesError."""
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output = self._library.nft_ctx_get_output_buffer(self._context) or b""
            errors = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            first = errors.decode(errors="replace").strip().split("\n")[0]
            raise NftablesError(f"cannot set up packet rules: {first}")
        return bytes(output).decode(errors="replace")

    def delete_table(self, name: str) -> None:
        """Removes a table; one that does not exist is no error."""
        self.run(f"add table inet {name}\ndelete table inet {name}\n")
