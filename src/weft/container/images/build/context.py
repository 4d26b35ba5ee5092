"""The build context: an untarred directory, what .dockerignore leaves of it, and the files that a COPY names."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weft.container.snapshots.unpack import open_in_root
from weft.core.errors import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Source:
    """A file, directory or link to copy: where it is, and its name relative to what was asked for."""

    path: Path
    name: str
    status: os.stat_result


def _regex(pattern: str) -> "re.Pattern[str]":
    """filepath.Match with `**` (moby/patternmatcher)."""
    out, index = "", 0
    while index < len(pattern):
        letter = pattern[index]
        if letter == "*":
            if pattern[index : index + 3] == "**/":
                out, index = out + "(?:.*/)?", index + 3
                continue
            if pattern[index : index + 2] == "**":
                out, index = out + ".*", index + 2
                continue
            out += "[^/]*"
        elif letter == "?":
            out += "[^/]"
        elif letter == "[":
            end = pattern.find("]", index + 2)
            if end < 0:
                raise InvalidError(f"syntax error in pattern {pattern!r}")
            body = pattern[index + 1 : end].replace("\\", "\\\\")
            out, index = out + "[" + ("^" + body[1:] if body[:1] in "^!" else body) + "]", end + 1
            continue
        elif letter == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += re.escape(letter)
        index += 1
    try:
        return re.compile(out)
    except re.error as error:
        raise InvalidError(f"syntax error in pattern {pattern!r}: {error}") from None


class Ignore:
    """.dockerignore: the last pattern that matches decides, `!` takes back."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in text.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            keep = pattern.startswith("!")
            cleaned = os.path.normpath(pattern.removeprefix("!").strip()).lstrip("/")
            if cleaned and cleaned != ".":
                self._rules.append((keep, _regex(cleaned)))

    def excludes(self, path: str) -> bool:
        excluded = False
        parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
        for keep, rule in self._rules:
            if rule.fullmatch(path) or any(rule.fullmatch(parent) for parent in parents):
                excluded = not keep
        return excluded

    def apply(self, root: Path) -> None:
        """Removes what is excluded from the directory, be it the Dockerfile or .dockerignore itself."""
        if not self._rules:
            return
        for directory, _, names in os.walk(root, topdown=False):
            for name in names:
                full = os.path.join(directory, name)
                relative = os.path.relpath(full, root)
                if self.excludes(relative):
                    os.unlink(full)
            relative = os.path.relpath(directory, root)
            if relative != "." and self.excludes(relative) and not os.listdir(directory):
                os.rmdir(directory)


@dataclass(frozen=True, slots=True)
class Found:
    """A source of COPY or ADD: where it really is, and the name that it was asked for by."""

    path: Path
    name: str


def find(root: Path, pattern: str, keyword: str = "COPY") -> list[Found]:
    """What a source names below `root`. Links are followed, all as if `root` were the whole file system.

    Raises NotFoundError where nothing is there.
    """
    cleaned = os.path.normpath("/" + pattern).lstrip("/")
    names = [cleaned]
    if any(letter in pattern for letter in "*?["):
        rule = _regex(cleaned)
        depth = cleaned.count("/") + 1
        names = [
            str(path.relative_to(root))
            for path in sorted(root.rglob("*"))
            if ("**" in cleaned or len(path.relative_to(root).parts) == depth)
            and rule.fullmatch(str(path.relative_to(root)))
        ]
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = []
    try:
        for name in names:
            with suppress(OSError):
                descriptor = open_in_root(top, name, os.O_PATH)
                try:
                    found.append(Found(Path(os.readlink(f"/proc/self/fd/{descriptor}")), PurePosixPath(name).name))
                finally:
                    os.close(descriptor)
    finally:
        os.close(top)
    if not found:
        raise NotFoundError(
            f"{keyword} failed: file not found in build context or excluded by .dockerignore: "
            f"stat {cleaned}: file does not exist"
        )
    return found


def walk(path: Path) -> Iterator[Source]:
    """A file itself, or the content of a directory, parents first, in a fixed order."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        yield Source(path, path.name, status)
        return
    yield Source(path, "", status)
    for directory, names, files in os.walk(path):
        names.sort()
        for name in sorted([*names, *files]):
            full = Path(directory) / name
            yield Source(full, str(full.relative_to(path)), full.lstat())


def digest(sources: Sequence[Found]) -> str:
    """The content of what is copied, for the cache: names, modes and bytes, not times."""
    total = hashlib.sha256()
    for each in sources:
        for source in walk(each.path):
            kind = stat.S_IFMT(source.status.st_mode)
            name = source.name if source.path != each.path else each.name
            total.update(f"{name}\0{source.status.st_mode}\0".encode(errors="surrogateescape"))
            if kind == stat.S_IFREG:
                with source.path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            elif kind == stat.S_IFLNK:
                total.update(os.readlink(source.path).encode())
    return total.hexdigest()
