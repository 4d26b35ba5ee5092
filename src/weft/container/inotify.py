"""Waiting for a file to change without polling: inotify(7)."""

import ctypes
import os
from pathlib import Path
from typing import Self

from weft.container.runtime import pidfd

_IN_MODIFY = 0x2
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Changes of one file."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or _libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_MODIFY) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), str(path))

    async def changed(self) -> None:
        """Returns once the file has changed since the last call."""
        await pidfd.readable(self._descriptor)
        try:
            os.read(self._descriptor, 65536)
        except BlockingIOError:
            pass

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
