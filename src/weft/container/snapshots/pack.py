"""A directory as a layer: its entries as a tar, overlayfs' marks of deletion as whiteouts. The same tree gives the same
bytes. Source: OCI image spec, layer.md.
"""

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from weft.container.content import ContentStore
from weft.container.snapshots import deflate

_SKIPPED = ("trusted.overlay.", "security.selinux")
# What the runtime makes to mount things on; in a layer it would hide what is below.
_MOUNT_FILES = frozenset(("etc/hostname", "etc/hosts", "etc/resolv.conf", ".dockerenv"))
_MOUNT_DIRECTORIES = frozenset(("dev", "proc", "sys"))


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer: the digest of its tar, of its compressed blob, and both sizes in bytes."""

    diff_id: str
    digest: str
    size: int
    compressed_size: int


class _Sink:
    """Takes tar bytes; hashes them, compresses them, writes them on."""

    def __init__(self, write: Callable[[bytes], int], *, compress: bool) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self._deflate = deflate.compressor() if compress else None
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        if self._deflate is None:
            self._write(data)
        elif compressed := self._deflate.compress(data):
            self._write(compressed)
        return len(data)

    def finish(self) -> str:
        if self._deflate is not None:
            self._write(self._deflate.flush())
        return "sha256:" + self._hash.hexdigest()


def pack_layer(directory: str, content: ContentStore) -> Packed:
    """Stores an overlay's upper directory as a gzip-compressed layer."""
    writer = content.writer()
    try:
        sink = _Sink(writer.write, compress=True)
        write_tar(directory, sink, whiteouts=True)
        diff_id = sink.finish()
        compressed = writer.size
        return Packed(diff_id, writer.commit(), sink.size, compressed)
    except BaseException:
        writer.abort()
        raise


def store_tar(stream: "Callable[[], bytes]", content: ContentStore) -> Packed:
    """Stores a tar (blocks until an empty one) as a gzip-compressed layer."""
    writer = content.writer()
    try:
        sink = _Sink(writer.write, compress=True)
        while block := stream():
            sink.write(block)
        diff_id = sink.finish()
        compressed = writer.size
        return Packed(diff_id, writer.commit(), sink.size, compressed)
    except BaseException:
        writer.abort()
        raise


class Sink(Protocol):
    """Where a tar goes."""

    def write(self, data: bytes, /) -> int: ...


def write_tar(directory: str, sink: Sink, *, whiteouts: bool, prefix: str = "") -> None:
    """Writes the tree below `directory`, sorted by name."""
    links: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive:  # type: ignore[call-overload]
        _walk(archive, directory, prefix, links, whiteouts)


def _walk(
    archive: tarfile.TarFile, directory: str, prefix: str, links: dict[tuple[int, int], str], whiteouts: bool
) -> None:
    for entry in sorted(os.scandir(directory), key=lambda each: each.name):
        path = f"{prefix}{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if whiteouts and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            archive.addfile(tarfile.TarInfo(f"{prefix}.wh.{entry.name}"))
            continue
        if stat.S_ISSOCK(status.st_mode):
            continue  # a socket has no form in an archive
        if whiteouts and _is_mount_point(entry.path, path, status):
            continue
        info = _info(entry.path, path, status, links)
        if info.isreg():
            with open(entry.path, "rb") as file:
                archive.addfile(info, file)
        else:
            archive.addfile(info)
        if stat.S_ISDIR(status.st_mode):
            if whiteouts and _opaque(entry.path):
                archive.addfile(tarfile.TarInfo(f"{path}/.wh..wh..opq"))
            _walk(archive, entry.path, f"{path}/", links, whiteouts)


def _is_mount_point(source: str, path: str, status: os.stat_result) -> bool:
    if stat.S_ISREG(status.st_mode):
        return path in _MOUNT_FILES and status.st_size == 0
    return path in _MOUNT_DIRECTORIES and stat.S_ISDIR(status.st_mode) and not os.listdir(source)


def _opaque(path: str) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _info(source: str, path: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, int(status.st_mtime)
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
        else:
            links[key] = path
            info.size = status.st_size
    elif kind == stat.S_IFDIR:
        info.type = tarfile.DIRTYPE
    elif kind == stat.S_IFLNK:
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(source)
    elif kind == stat.S_IFIFO:
        info.type = tarfile.FIFOTYPE
    else:
        info.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    if kind != stat.S_IFLNK:
        info.pax_headers = {
            f"SCHILY.xattr.{name}": os.getxattr(source, name).decode("utf-8", "surrogateescape")
            for name in sorted(os.listxattr(source))
            if not name.startswith(_SKIPPED)
        }
    return info
