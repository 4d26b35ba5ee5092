"""A store of blobs by the digest of their content: what is in it is whole and is what its name says.

Writers work in a file of their own and move it into place when size and digest are right, so a kill leaves only a
temporary file, which the next start removes.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

from weft.core.errors import InvalidError, NotFoundError
from weft.core.ids import hex_id
from weft.oci import digest as digests

_WRITERS_KEPT = 7 * 24 * 3600.0  # seconds that an upload waits to be resumed


class Writer:
    """A blob on its way in; `commit` or `abort` ends it. `close` keeps it for `ContentStore.resume`."""

    def __init__(self, store: "ContentStore", path: Path) -> None:
        self._store = store
        self._path = path
        self._hash = hashlib.sha256()
        self.size = 0
        self._file: BinaryIO = path.open("ab+")
        self._file.seek(0)
        while block := self._file.read(1 << 20):
            self._hash.update(block)
            self.size += len(block)

    @property
    def id(self) -> str:
        return self._path.name

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes | bytearray) -> int:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def commit(self, digest: str | None = None, size: int | None = None) -> str:
        """Moves the blob into place; raises InvalidError, and keeps nothing, where it is not what was expected."""
        found = self.digest
        if (digest is not None and digest != found) or (size is not None and size != self.size):
            self.abort()
            expected = digest if digest is not None and digest != found else f"{size} bytes"
            raise InvalidError(f"content is not what it should be: expected {expected}, got {found}, {self.size} bytes")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._store.path(found)
        if target.exists():
            self._path.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self._path, target)
        return found

    def abort(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class ContentStore:
    """Blobs under `root/sha256`, writers under `root/ingest`."""

    def __init__(self, root: Path, *, keep_writers: bool = False) -> None:
        self.root = root
        self._ingest = root / "ingest"
        if not keep_writers:
            shutil.rmtree(self._ingest, ignore_errors=True)
        for directory in (self._ingest, root / "sha256"):
            directory.mkdir(parents=True, exist_ok=True)
        for stale in self._ingest.iterdir():
            if stale.stat().st_mtime < time.time() - _WRITERS_KEPT:
                stale.unlink()

    def path(self, digest: str) -> Path:
        return self.root / "sha256" / digests.check(digest).removeprefix("sha256:")

    def exists(self, digest: str) -> bool:
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFoundError(f"content {digest} is not here") from None

    def read(self, digest: str) -> bytes:
        """The whole blob, checked; for manifests and configs."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"content {digest} is not here") from None
        if digests.of(data) != digest:
            raise InvalidError(f"content {digest} is damaged on disk")
        return data

    def put(self, data: bytes) -> str:
        digest = digests.of(data)
        if not self.exists(digest):
            writer = self.writer()
            writer.write(data)
            writer.commit(digest)
        return digest

    def writer(self) -> Writer:
        return Writer(self, self._ingest / hex_id()[:32])

    def resume(self, writer_id: str) -> Writer:
        """Goes on with a writer that was closed; raises NotFoundError."""
        path = self._ingest / writer_id
        if not writer_id.isalnum() or not path.exists():
            raise NotFoundError(f"upload {writer_id} is not known")
        return Writer(self, path)

    def link_from(self, source: Path, digest: str) -> bool:
        """Takes a blob from another store of the same file system without a copy; whether it is here then."""
        target = self.path(digest)
        if target.exists():
            return True
        try:
            os.link(source, target)
        except FileExistsError:
            return True
        except OSError:
            return False
        return True

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def all(self) -> set[str]:
        return {f"sha256:{entry.name}" for entry in (self.root / "sha256").iterdir()}
