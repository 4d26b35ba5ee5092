"""Archives that mean harm: nothing outside of the root is written, read or linked, and the error says why."""

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.container.snapshots.unpack import unpack
from weft.core.errors import InvalidError

FILE, LINK, SYMLINK, DIRECTORY, FIFO = (
    tarfile.REGTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


def archive(*entries: tuple[Any, ...]) -> io.BytesIO:
    """(name, type, link target or content)"""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, *more in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.gid = kind, os.getuid(), os.getgid()
            entry.mode = 0o755 if kind == DIRECTORY else 0o644
            content = b""
            if kind in (LINK, SYMLINK):
                entry.linkname = more[0]
            elif more:
                content = more[0]
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    data.seek(0)
    return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`tmp/outside` must stay as it is; `tmp/a/b/root` is unpacked to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("untouched")
    root = tmp_path / "a/b/root"
    root.mkdir(parents=True)
    return root


def outside(root: Path) -> list[str]:
    top = root.parents[2]
    return sorted(
        f"{path.relative_to(top)}={path.read_text() if path.is_file() else ''}:{path.lstat().st_nlink}"
        for path in top.rglob("*")
        if not path.is_relative_to(root) and not path.is_dir()
    )


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", FILE, b"x")],
        [("a/../../evil", FILE, b"x")],
        [("..", DIRECTORY)],
        [("a/..", DIRECTORY)],
        [("../../../outside/secret", FILE, b"x")],
        [("hard", LINK, "../../../outside/secret")],
        [("hard", LINK, "/../../../outside/secret")],
        [("out", SYMLINK, "../../../outside"), ("hard", LINK, "out/secret")],
        [("out", SYMLINK, "/"), ("hard", LINK, "out/etc/passwd")],
        [("hard", LINK, "missing")],
        [("file", FILE, b"x"), ("file/below", FILE, b"x")],
        [("out", SYMLINK, "../../../outside"), ("out/evil", FILE, b"x")],
        [("loop", SYMLINK, "loop"), ("loop/evil", FILE, b"x")],
        [("proc", SYMLINK, "/proc/self/root"), ("proc/evil", FILE, b"x")],
        [("d", DIRECTORY), ("hard", LINK, "d")],
        [(".wh.", FILE)],
        [(".wh...", FILE)],
        [("x" * 300, FILE, b"x")],
        [("a/" * 5000 + "x", FILE, b"x")],
    ],
)
def test_refused(root: Path, entries: list[tuple[Any, ...]]) -> None:
    before = outside(root)
    with pytest.raises(InvalidError, match=r"invalid archive"):
        unpack(archive(*entries), str(root))
    assert outside(root) == before


def test_links_lead_inside_of_the_root(root: Path) -> None:
    """An absolute link is meant from the image's own root, as it will be seen there."""
    before = outside(root)
    unpack(
        archive(
            ("/absolute", FILE, b"1"),
            ("usr/lib", DIRECTORY),
            ("lib", SYMLINK, "/usr/lib"),
            ("lib/inside", FILE, b"2"),
            ("up", SYMLINK, "../../../../usr"),
            ("up/lib/too", FILE, b"3"),
            ("dangling", SYMLINK, "/outside/secret"),
            ("dangling", FILE, b"4"),
            ("link", LINK, "lib/inside"),
            ("./dot/./name/", DIRECTORY),
        ),
        str(root),
    )
    assert outside(root) == before
    assert (root / "absolute").read_bytes() == b"1"
    assert (root / "usr/lib/inside").read_bytes() == b"2"
    assert (root / "usr/lib/too").read_bytes() == b"3"
    assert ((root / "dangling").is_symlink(), (root / "dangling").read_bytes()) == (False, b"4")
    assert (root / "link").stat().st_ino == (root / "usr/lib/inside").stat().st_ino
    assert (root / "dot/name").is_dir()


def test_kinds_change(root: Path) -> None:
    """A later entry takes the place of an earlier one, whatever both are; a directory's content goes with it."""
    unpack(
        archive(
            ("a", DIRECTORY), ("a/in", FILE, b"x"), ("a", SYMLINK, "b"), ("b", FILE, b"y"), ("b", DIRECTORY),
            ("c", DIRECTORY), ("c/kept", FILE, b"z"), ("c", DIRECTORY), ("pipe", FIFO),
        ),
        str(root),
    )  # fmt: skip
    assert os.readlink(root / "a") == "b"
    assert (root / "b").is_dir()
    assert (root / "c/kept").read_bytes() == b"z"
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)


def test_modes_times_and_attributes(root: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode in (("d", DIRECTORY, 0o1777), ("d/f", FILE, 0o4751)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = kind, mode, 1000
            entry.uid, entry.gid = os.getuid(), os.getgid()
            entry.pax_headers = {"SCHILY.xattr.user.weft": "v", "SCHILY.xattr.trusted.overlay.opaque": "y"}
            tar.addfile(entry)
    data.seek(0)
    unpack(data, str(root))
    file = root / "d/f"
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_mtime) == (0o4751, 1000)
    assert (stat.S_IMODE((root / "d").stat().st_mode), (root / "d").stat().st_mtime) == (0o1777, 1000)
    assert os.listxattr(file) in (["user.weft"], [])  # none where the file system takes none


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_files_keep_their_holes(root: Path, tmp_path: Path, form: str) -> None:
    source = tmp_path / "outside/sparse"
    with source.open("wb") as file:
        for offset, text in ((0, b"begin"), (1 << 26, b"middle"), (1 << 30, b"")):
            file.seek(offset)
            file.write(text)
        file.truncate(1 << 30)
    tar = subprocess.run(
        ["tar", "-C", str(source.parent), "-S", f"--format={form}", "-c", "sparse"], capture_output=True, check=True
    ).stdout
    size = unpack(io.BytesIO(tar), str(root))
    made = root / "sparse"
    assert (made.stat().st_size, made.stat().st_blocks * 512 <= 1 << 17, size <= 1 << 17) == (1 << 30, True, True)
    with made.open("rb") as file:
        assert file.read(6) == b"begin\0"
        file.seek(1 << 26)
        assert file.read(7) == b"middle\0"


@pytest.mark.parametrize(
    "data",
    [b"not an archive" * 100, b"\0" * 100, archive(("f", FILE, b"x" * 5000)).getvalue()[:3000]],
    ids=["text", "short", "cut"],
)
def test_no_archive(root: Path, data: bytes) -> None:
    with pytest.raises(InvalidError, match="invalid archive"):
        unpack(io.BytesIO(data), str(root))


NAMES = st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "outside", "secret", ".wh.a"]), max_size=5).map(
    "/".join
)
ENTRIES = st.lists(st.tuples(NAMES, st.sampled_from([FILE, LINK, SYMLINK, DIRECTORY, FIFO]), NAMES), max_size=8)


@settings(deadline=None, max_examples=150)
@given(ENTRIES)
def test_whatever_comes_nothing_leaves_the_root(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[Any, ...]]
) -> None:
    top = tmp_path_factory.mktemp("h")
    (top / "outside").mkdir()
    (top / "outside/secret").write_text("untouched")
    root = top / "a/b/root"
    root.mkdir(parents=True)
    before = outside(root)
    made = [(name, kind, link if kind in (LINK, SYMLINK) else b"") for name, kind, link in entries]
    try:
        unpack(archive(*made), str(root), whiteouts=False)
    except InvalidError:
        pass
    assert outside(root) == before
