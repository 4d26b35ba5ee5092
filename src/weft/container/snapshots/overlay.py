"""Layers by chain, and overlay mounts of a container's writable top over them.

A layer directory has a short name, so that an image of more than a hundred layers still fits mount(2)'s one page of
options. State is the directory tree itself: a mount that an earlier process made is found and used again.
"""

import ctypes
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from weft.container.base import RootFilesystem
from weft.container.content import ContentStore
from weft.container.snapshots import deflate
from weft.container.snapshots.unpack import unpack
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.ids import hex_id
from weft.oci import digest as digests

_DAMAGED: tuple[type[Exception], ...] = (*deflate.ERRORS, OSError, EOFError)
_CLONE_FS = 0x200
_BLOCK = 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class _Inflate:
    """A layer blob as a tar stream: gzip, zstd or plain, told by its first bytes; hashes the tar as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        import hashlib

        self._hash = hashlib.sha256()
        start = file.read(4)
        file.seek(0)
        self._source: Any = file
        if start[:2] == b"\x1f\x8b":
            self._source = _Gzip(file)
        elif start == b"\x28\xb5\x2f\xfd":
            import zstandard

            self._source = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self._source.read(size)
        except _DAMAGED as error:
            raise InvalidError(f"invalid layer: {error}") from error
        self._hash.update(data)
        return data

    def finish(self) -> str:
        """Reads to the end, past the archive's own, and gives the diff id."""
        while self.read(1 << 20):
            pass
        return "sha256:" + self._hash.hexdigest()


class _Gzip:
    """Inflates blocks of a megabyte; the standard module's reader spends most of its time on bookkeeping."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = deflate.decompressor()
        self._buffer = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if self._inflate.eof:
                rest = self._inflate.unused_data or self._file.read(_BLOCK)
                if not rest:
                    break
                self._inflate = deflate.decompressor()
                self._buffer += self._inflate.decompress(rest, _BLOCK)
                continue
            block = self._inflate.unconsumed_tail or self._file.read(_BLOCK)
            if not block:
                raise EOFError("it ends in the middle")
            self._buffer += self._inflate.decompress(block, _BLOCK)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


class Overlays:
    """Layers under `root/l`, containers' tops and mounts under `root/c`. Its calls block: use threads."""

    def __init__(self, root: Path, content: ContentStore) -> None:
        self._layers, self._tops = root / "l", root / "c"
        self._content = content
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        for directory in (self._layers, self._tops):
            directory.mkdir(parents=True, exist_ok=True)
        for stale in self._layers.glob("tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)

    def _layer(self, chain: str) -> Path:
        return self._layers / chain.removeprefix("sha256:")[:20]

    def unpack(self, chain: str, diff_id: str, blob: str) -> int:
        """Unpacks a layer once; returns its size. Raises InvalidError where its content is not `diff_id`'s."""
        with self._guard:
            lock = self._locks.setdefault(chain, threading.Lock())
        with lock:
            target = self._layer(chain)
            if target.is_dir():
                return int((self._layers / f"{target.name}.size").read_text() or 0)
            work = self._layers / f"tmp-{hex_id()[:16]}"
            work.mkdir(mode=0o755)
            try:
                with self._content.path(blob).open("rb") as file:
                    stream = _Inflate(file)
                    size = unpack(stream, str(work))  # type: ignore[arg-type]
                    found = stream.finish()
                if found != diff_id:
                    raise InvalidError(f"invalid layer: its content is {found}, its image says {diff_id}")
                (self._layers / f"{target.name}.size").write_text(str(size))
                os.rename(work, target)
                return size
            except FileNotFoundError as error:
                raise NotFoundError(f"layer {blob} is not here") from error
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def discard_layer(self, name: str) -> Path:
        """Takes a layer (by its short name) out of use at once; the caller removes the directory that it is now."""
        (self._layers / f"{name}.size").unlink(missing_ok=True)
        discarded = self._layers / f"tmp-{hex_id()[:16]}"
        os.rename(self._layers / name, discarded)
        return discarded

    def size(self, chain: str) -> int:
        """The bytes of a layer's files; 0 where it is not unpacked."""
        try:
            return int((self._layers / f"{self.short(chain)}.size").read_text() or 0)
        except FileNotFoundError:
            return 0

    def chains(self) -> set[str]:
        """The short names of the layers that are unpacked."""
        return {entry.name for entry in self._layers.iterdir() if entry.is_dir() and not entry.name.startswith("tmp-")}

    def short(self, chain: str) -> str:
        return self._layer(chain).name

    def root(self, container_id: str) -> RootFilesystem:
        top = self._tops / container_id
        return RootFilesystem(top / "merged", top / "diff")

    def mount(self, container_id: str, diff_ids: Sequence[str]) -> RootFilesystem:
        """Mounts the layers under the container's top; one that is mounted is left as it is."""
        found = self.root(container_id)
        if found.path.is_dir() and os.path.ismount(found.path):
            return found
        for directory in (found.path, found.upper, found.path.parent / "work"):
            directory.mkdir(parents=True, exist_ok=True)
        names = [self.short(digests.chain_id(diff_ids[: index + 1])) for index in range(len(diff_ids))]
        if not names:
            (self._layers / "empty").mkdir(exist_ok=True)
            names = ["empty"]
        top = f"../c/{container_id}"
        options = f"lowerdir={':'.join(reversed(names))},upperdir={top}/diff,workdir={top}/work"
        if len(options) > 4095:
            raise UnsupportedError(f"cannot mount an image of {len(names)} layers: too many for this kernel")
        # The root of the mount has the attributes of its uppermost directory.
        lower = (self._layers / names[-1]).stat()
        if not any(found.upper.iterdir()):
            os.chown(found.upper, lower.st_uid, lower.st_gid)
            os.chmod(found.upper, lower.st_mode & 0o7777)
        error = _mount_at(self._layers, f"{top}/merged", options)
        if error:
            raise WeftError(f"cannot mount the root of {container_id[:12]}: overlay: {os.strerror(error)}")
        return found

    def unmount(self, container_id: str, *, delete: bool) -> None:
        top = self._tops / container_id
        if not top.exists():
            return
        merged = top / "merged"
        while merged.exists() and os.path.ismount(merged):
            if _libc.umount2(os.fsencode(merged), _MNT_DETACH) != 0:
                break
        if delete:
            shutil.rmtree(top, ignore_errors=True)

    def containers(self) -> set[str]:
        return {entry.name for entry in self._tops.iterdir()}


def _mount_at(directory: Path, target: str, options: str) -> int:
    """mount(2) with paths relative to `directory`, in a thread that has a working directory of its own."""
    result: list[int] = []

    def work() -> None:
        if _libc.unshare(_CLONE_FS) != 0:
            result.append(ctypes.get_errno())
            return
        os.chdir(directory)
        failed = _libc.mount(b"overlay", target.encode(), b"overlay", 0, options.encode())
        result.append(ctypes.get_errno() if failed else 0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result[0] if result else 5
