"""Writes what COPY and ADD name into a mounted root, following links of the image only inside of it."""

import contextlib
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

from weft.container.images.build.context import Found, walk
from weft.container.snapshots.unpack import Unpacker, open_in_root
from weft.core.errors import InvalidError

Owner = tuple[int, int] | None


def place(
    root: str,
    sources: Sequence[Found],
    documents: Sequence[tuple[str, str]],
    target: str,
    *,
    owner: Owner,
    mode: int | None,
    extract: bool,
) -> None:
    """Copies `sources` (directories: what is in them) and here-documents (name, text) to the absolute `target`.

    Without an `owner` all belongs to root, as Docker has it; `extract` unpacks archives.
    """
    into = target.endswith("/") or is_directory(root, target)
    base = os.path.normpath(target).strip("/")
    base = "" if base == "." else base
    with Unpacker(root, whiteouts=False) as unpacker:
        for name, text in documents:
            data = text.encode()
            entry = tarfile.TarInfo(_join(base, name) if into else base)
            entry.size, entry.mode = len(data), 0o644 if mode is None else mode
            _own(entry, owner)
            import io

            unpacker.add(entry, io.BytesIO(data))
        for found in sources:
            source = found.path
            status = source.lstat()
            if stat.S_ISDIR(status.st_mode):
                _copy(unpacker, root, source, base, owner, mode)
            elif extract and stat.S_ISREG(status.st_mode) and _is_archive(source):
                _extract(unpacker, source, base, root)
            else:
                _copy(unpacker, root, source, _join(base, found.name) if into else base, owner, mode)


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def is_directory(root: str, path: str) -> bool:
    """Whether `path` is a directory inside `root`, links followed there."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_in_root(descriptor, path.strip("/"), os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _own(entry: tarfile.TarInfo, owner: Owner) -> None:
    entry.uid, entry.gid = owner if owner is not None else (0, 0)


def _copy(unpacker: Unpacker, root: str, source: Path, target: str, owner: Owner, mode: int | None) -> None:
    links: dict[tuple[int, int], str] = {}
    for item in walk(source):
        path = _join(target, item.name) if stat.S_ISDIR(source.lstat().st_mode) and item.name else target
        kind = stat.S_IFMT(item.status.st_mode)
        if kind == stat.S_IFDIR and is_directory(root, path):
            continue  # merged into what is there
        entry = tarfile.TarInfo(path)
        entry.mode = stat.S_IMODE(item.status.st_mode) if mode is None else mode
        entry.mtime = int(item.status.st_mtime)
        _own(entry, owner)
        if kind == stat.S_IFREG:
            key = (item.status.st_dev, item.status.st_ino)
            if item.status.st_nlink > 1 and key in links:
                entry.type, entry.linkname = tarfile.LNKTYPE, links[key]
                unpacker.add(entry)
                continue
            links[key] = path
            entry.size = item.status.st_size
            with item.path.open("rb") as file:
                unpacker.add(entry, file)
            continue
        if kind == stat.S_IFDIR:
            entry.type = tarfile.DIRTYPE
        elif kind == stat.S_IFLNK:
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(item.path)
        else:
            continue  # sockets, pipes and devices are no content
        unpacker.add(entry)


def _is_archive(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False


def _extract(unpacker: Unpacker, source: Path, target: str, root: str) -> None:
    try:
        with tarfile.open(source) as archive:
            for entry in archive:
                entry.name = _join(target, entry.name.lstrip("/"))
                if entry.islnk():
                    entry.linkname = _join(target, entry.linkname.lstrip("/"))
                if entry.isdir() and is_directory(root, entry.name):
                    continue
                unpacker.add(entry, archive.extractfile(entry) if entry.isreg() else None)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidError(f"ADD failed: {source.name}: {error}") from error


def owner_of(text: str, root: str) -> Owner:
    """`user`, `user:group`, by name or number, from the image's own files; None for an empty text."""
    if not text:
        return None
    user, _, group = text.partition(":")
    uid, login_group = _look_up(user, root, "passwd")
    gid = _look_up(group, root, "group")[0] if group else (uid if login_group is None else login_group)
    return uid, gid


def _look_up(name: str, root: str, file: str) -> tuple[int, int | None]:
    if name.isdigit():
        return int(name), None
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError), os.fdopen(open_in_root(descriptor, f"etc/{file}", os.O_RDONLY)) as lines:
            for line in lines:
                fields = line.rstrip("\n").split(":")
                if len(fields) > 3 and fields[0] == name and fields[2].isdigit():
                    return int(fields[2]), int(fields[3]) if file == "passwd" and fields[3].isdigit() else None
    finally:
        os.close(descriptor)
    kind = "user" if file == "passwd" else "group"
    raise InvalidError(f"unable to convert uid/gid chown string to host mapping: can't find {kind} {name}")


def mode_of(text: str) -> int | None:
    """`--chmod`: octal digits."""
    if not text:
        return None
    try:
        value = int(text, 8)
    except ValueError:
        raise InvalidError(f"invalid chmod parameter: '{text}'. it should be octal string") from None
    if not 0 <= value <= 0o7777:
        raise InvalidError(f"invalid chmod parameter: '{text}'. it should be between 0 and 07777")
    return value


def make_directory(root: str, path: str) -> None:
    """WORKDIR's directory, made where it is missing."""
    if is_directory(root, path):
        return
    entry = tarfile.TarInfo(path.strip("/"))
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    with Unpacker(root, whiteouts=False) as unpacker:
        unpacker.add(entry)
