"""Base images from Debian's packages, for machines that reach no image registry.

`busybox` is busybox-static with its applets; `debian` a minimal Debian by mmdebstrap, kept as a tar so that the second
time takes no network. Both come out as a tar that is then imported like any other.
"""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weft.core.errors import InvalidError, UnsupportedError, WeftError

SUITE = "bookworm"
Say = Callable[[str], None]
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


_PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Made:
    """An archive to import, the references to give it, and the Dockerfile instructions that set its config."""

    archive: Path
    references: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`write` makes the archive; what is `kept` from an earlier time is used again."""

    references: tuple[str, ...]
    changes: tuple[str, ...]
    write: Callable[[Path, Say], None]
    kept: bool


def _busybox(target: Path, say: Say) -> None:
    """Raises UnsupportedError where busybox-static is missing."""
    program = next((p for p in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if p.exists()), None)
    if program is None:
        raise UnsupportedError("cannot make the busybox image: install Debian's busybox-static")
    if b"/ld-linux" in program.read_bytes():
        raise UnsupportedError(f"cannot make the busybox image: {program} is not static; install busybox-static")
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    say(f"busybox with {len(applets)} applets from {program}")
    with tarfile.open(target, "w") as archive:
        for name, mode in (
            ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755), ("root", 0o700),
            ("sys", 0o755), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("sbin", 0o755),
            ("var", 0o755), ("var/tmp", 0o1777), ("var/spool", 0o755), ("var/www", 0o755), ("lib", 0o755),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            archive.addfile(info)
        for name, text in (("etc/passwd", _PASSWD), ("etc/group", _GROUP)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            archive.addfile(info, file)
        for applet in applets:
            if applet != "busybox":
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname = tarfile.LNKTYPE, "bin/busybox"
                archive.addfile(info)


def _debian(target: Path, say: Say) -> None:
    """Takes a minute; raises UnsupportedError where mmdebstrap is missing, WeftError where it fails."""
    if os.geteuid() != 0:
        raise WeftError("cannot make the debian image: it needs root")
    if shutil.which("mmdebstrap") is None:
        raise UnsupportedError("cannot make the debian image: install Debian's mmdebstrap")
    say(f"fetching Debian {SUITE} by mmdebstrap (the next time it comes from the cache)")
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar",
        "--aptopt=Apt::Install-Recommends false", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*", SUITE, str(target),
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WeftError(f"cannot make the debian image: mmdebstrap: {done.stderr.strip()[-500:]}")


IMAGES = {
    "busybox": Recipe(("busybox:latest",), (_PATH, 'CMD ["sh"]'), _busybox, kept=False),
    "debian": Recipe((f"debian:{SUITE}", "debian:latest"), (_PATH, 'CMD ["bash"]'), _debian, kept=True),
}


def make(name: str, cache: Path, say: Say, *, refresh: bool = False) -> Made:
    """Raises InvalidError for a name that has no recipe; what fails leaves no archive."""
    recipe = IMAGES.get(name)
    if recipe is None:
        raise InvalidError(f"cannot make image {name!r}: there are recipes for {', '.join(sorted(IMAGES))}")
    target = cache / f"{name}.tar"
    if recipe.kept and target.exists() and not refresh:
        say(f"{name} from {target}")
        return Made(target, recipe.references, recipe.changes)
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f".{name}.{os.getpid()}.tar"
    try:
        recipe.write(partial, say)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return Made(target, recipe.references, recipe.changes)
