"""Uploads in progress: one writer each, used by one request at a time.

A writer stays open between the requests of an upload, so that its hash goes on where it stood. After a restart it is
made again from the bytes that are on disk.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from weft.core.errors import NotFoundError
from weft.registry.errors import RegistryError

_OPEN = 64  # files; further uploads are closed, and resumed when they are asked for


class Writer(Protocol):
    """A blob on its way in."""

    size: int

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def write(self, data: bytes) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def commit(self, digest: str | None = None, size: int | None = None) -> str: ...
    def abort(self) -> None: ...


class Writers(Protocol):
    """Where writers come from."""

    def writer(self) -> Writer: ...
    def resume(self, writer_id: str) -> Writer: ...


@dataclass(slots=True)
class Upload:
    """An unfinished upload. Its user sets `ended` once the writer is committed or aborted."""

    id: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    writer: Writer | None = None
    ended: bool = False


class Uploads:
    """Unfinished uploads by id."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._uploads: dict[str, Upload] = {}

    def start(self) -> str:
        """Begins one and gives its id."""
        writer = self._writers.writer()
        self._uploads[writer.id] = Upload(writer.id, writer=writer)
        self._close_idle()
        return writer.id

    @asynccontextmanager
    async def use(self, id: str) -> AsyncIterator[tuple[Upload, Writer]]:
        """The upload for one request; what was written by its end survives a kill. Raises RegistryError."""
        upload = self._uploads.setdefault(id, Upload(id))
        async with upload.lock:
            if upload.writer is None and not upload.ended:
                try:
                    upload.writer = await asyncio.to_thread(self._writers.resume, id)
                except NotFoundError:
                    upload.ended = True
            if upload.ended or upload.writer is None:
                self._uploads.pop(id, None)
                raise RegistryError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
            try:
                yield upload, upload.writer
            finally:
                if upload.ended:
                    self._uploads.pop(id, None)
                else:
                    upload.writer.flush()

    def _close_idle(self) -> None:
        for upload in list(self._uploads.values())[:-_OPEN]:
            if not upload.lock.locked() and upload.writer is not None:
                upload.writer.close()
                del self._uploads[upload.id]

    def close(self) -> None:
        for upload in self._uploads.values():
            if upload.writer is not None:
                upload.writer.close()
        self._uploads.clear()
