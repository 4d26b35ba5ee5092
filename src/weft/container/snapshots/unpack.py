"""Writes archive entries below a root directory and never outside of it, whatever their names and links say.

Parents are resolved by the kernel inside the root (openat2(2), RESOLVE_IN_ROOT), and the entry itself is made relative
to the parent's descriptor without following links, so that no race can redirect it. Whiteouts become what overlayfs
understands. Source: OCI image spec, layer.md; kernel Documentation/filesystems/overlayfs.rst.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import IO, Any, cast

from weft.core.errors import InvalidError

_OPENAT2 = 437
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02
_BUFFER = 1 << 20
_LARGEST = 1 << 42  # bytes of one file, holes included
_OPAQUE, _WHITEOUT = ".wh..wh..opq", ".wh."
_XATTR = "SCHILY.xattr."
_libc = ctypes.CDLL(None, use_errno=True)


def open_in_root(root: int, path: str, flags: int) -> int:
    """openat2 of `path` with `root` as its root directory."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    descriptor = _libc.syscall(_OPENAT2, root, os.fsencode(path or "."), how, len(how))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(descriptor)


def clean_name(name: str) -> str:
    """The entry's path below the root, without `.` and slashes at its ends; raises InvalidError for `..` and NUL."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InvalidError(f"invalid archive: entry {name!r} leaves the directory that it is unpacked to")
    return "/".join(parts)


class Unpacker:
    """Writes entries below `root`; `whiteouts` tells whether `.wh.` names mean deletions (layers) or just files.

    `close` sets the times of directories, which their entries would have moved.
    """

    def __init__(self, root: str, *, whiteouts: bool = True, limit: int = 1 << 40) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._whiteouts = whiteouts
        self._left = limit
        self._parent: tuple[str, int] | None = None
        self._times: dict[str, tuple[int, int]] = {}
        self.size = 0

    def __enter__(self) -> "Unpacker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for path, times in reversed(self._times.items()):
            with contextlib.suppress(OSError):
                descriptor = open_in_root(self._root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                os.utime(descriptor, ns=times)
                os.close(descriptor)
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None
        os.close(self._root)

    def add(self, entry: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Makes one entry; raises InvalidError where it may not be made."""
        path = clean_name(entry.name)
        if not path:
            if entry.isdir():
                os.chmod(self._root, entry.mode & 0o7777)
                os.chown(self._root, entry.uid, entry.gid)
            return
        try:
            self._add(path, entry, content)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InvalidError(f"invalid archive: cannot make {entry.name!r}: {error.strerror}") from error

    def _add(self, path: str, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        parent_path, _, name = path.rpartition("/")
        parent = self._open_parent(parent_path)
        if self._whiteouts and name.startswith(_WHITEOUT):
            self._whiteout(parent, name)
            return
        self._make_room(parent, name, entry)
        if entry.isdir():
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            self._times[path] = (int(entry.mtime * 1e9), int(entry.mtime * 1e9))
        elif entry.isreg() or entry.type in (tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE):
            self._write(parent, name, entry, content)
        elif entry.issym():
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.islnk():
            self._link(parent, name, entry)
            return
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK if entry.isblk() else stat.S_IFIFO
            device = os.makedev(entry.devmajor, entry.devminor) if not entry.isfifo() else 0
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        else:
            raise InvalidError(f"invalid archive: entry {entry.name!r} is of an unknown type {entry.type!r}")
        self._finish(parent, name, entry)

    def _open_parent(self, path: str) -> int:
        if self._parent is not None:
            if self._parent[0] == path:
                return self._parent[1]
            os.close(self._parent[1])
            self._parent = None
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            descriptor = open_in_root(self._root, path, flags)
        except FileNotFoundError:
            current = os.dup(self._root)
            built = ""
            for part in path.split("/"):
                built = f"{built}/{part}" if built else part
                try:
                    following = open_in_root(self._root, built, flags)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=current)
                    following = open_in_root(self._root, built, flags)
                os.close(current)
                current = following
            descriptor = current
        self._parent = (path, descriptor)
        return descriptor

    def _make_room(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        """A later entry of the same name takes the place of the earlier one; a directory stays one."""
        try:
            present = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(present.st_mode):
            if not entry.isdir():
                _remove_tree(parent, name)
        else:
            os.unlink(name, dir_fd=parent)

    def _whiteout(self, parent: int, name: str) -> None:
        if name == _OPAQUE:
            os.setxattr(parent, "trusted.overlay.opaque", b"y")
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise InvalidError(f"invalid archive: whiteout {name!r} names nothing")
        with contextlib.suppress(FileExistsError):
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _write(self, parent: int, name: str, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # (offset, size) of what is data; a sparse file keeps its holes
        pieces: Sequence[tuple[int, int]] = [(0, entry.size)]
        if entry.issparse():
            pieces = cast("Sequence[tuple[int, int]]", entry.sparse)
        if sum(size for _, size in pieces) > self._left or entry.size > _LARGEST:
            raise InvalidError("invalid archive: it is larger than it may be")
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
        with os.fdopen(descriptor, "wb") as file:
            source: Any = content
            for offset, size in pieces if content is not None else ():
                if entry.issparse():
                    # tarfile's own object: its buffer refuses to seek in a stream, though only forward is asked for
                    source = getattr(content, "raw", content)
                    source.seek(offset)
                    file.seek(offset)
                while size and (block := source.read(min(size, 1 << 20))):
                    file.write(block)
                    size -= len(block)
                    self._left -= len(block)
                    self.size += len(block)
            if entry.issparse():
                file.truncate(entry.size)

    def _link(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        target = PurePosixPath(clean_name(entry.linkname))
        directory = open_in_root(self._root, str(target.parent), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(target.name, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(directory)

    def _finish(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        """Owner first: chown takes set-user-id bits away."""
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.issym():
            stamp = int(entry.mtime * 1e9)
            os.utime(name, ns=(stamp, stamp), dir_fd=parent, follow_symlinks=False)
            return
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            own = f"/proc/self/fd/{descriptor}"
            os.chmod(own, entry.mode & 0o7777)
            for key, value in entry.pax_headers.items():
                if key.startswith(_XATTR) and not key.startswith(f"{_XATTR}trusted.overlay."):
                    with contextlib.suppress(OSError):  # as Docker: not every file system takes every attribute
                        os.setxattr(own, key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
            if not entry.isdir():
                stamp = int(entry.mtime * 1e9)
                os.utime(own, ns=(stamp, stamp))
        finally:
            os.close(descriptor)


def _remove_tree(parent: int, name: str) -> None:
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        for entry in os.listdir(directory):
            if stat.S_ISDIR(os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode):
                _remove_tree(directory, entry)
            else:
                os.unlink(entry, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)


def unpack(stream: IO[bytes], root: str, *, whiteouts: bool = True) -> int:
    """Unpacks a tar stream; returns the bytes of its files. Raises InvalidError for what is no (safe) archive."""
    try:
        with (
            tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER) as archive,
            Unpacker(root, whiteouts=whiteouts) as unpacker,
        ):
            for entry in archive:
                unpacker.add(entry, archive.extractfile(entry) if entry.isreg() else None)
            return unpacker.size
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InvalidError(f"invalid archive: {error}") from error
