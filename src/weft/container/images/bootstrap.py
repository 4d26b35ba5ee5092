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
from pathlib import Path

from weft.core.errors import InvalidError, UnsupportedError, WeftError

SUITE = "bookworm"
Say = Callable[[str], None]
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


def busybox(cache: Path, say: Say) -> tuple[Path, tuple[str, ...], dict[str, object]]:
    """(tar, references, config) of the busybox image; raises UnsupportedError where busybox-static is missing."""
    program = next((p for p in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if p.exists()), None)
    if program is None:
        raise UnsupportedError("cannot make the busybox image: install Debian's busybox-static")
    if b"INTERP" in subprocess.run(["readelf", "-l", program], capture_output=True, check=False).stdout:
        raise UnsupportedError(f"cannot make the busybox image: {program} is not static; install busybox-static")
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    say(f"busybox with {len(applets)} applets from {program}")
    target = cache / "busybox.tar"
    cache.mkdir(parents=True, exist_ok=True)
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
    return target, ("busybox:latest",), {"Cmd": ["sh"], "Env": [_PATH]}


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def debian(cache: Path, say: Say) -> tuple[Path, tuple[str, ...], dict[str, object]]:
    """(tar, references, config) of a minimal Debian; takes a minute the first time."""
    target = cache / f"debian-{SUITE}.tar"
    if target.exists():
        say(f"Debian {SUITE} from {target}")
    else:
        if os.geteuid() != 0:
            raise WeftError("cannot make the debian image: it needs root")
        if shutil.which("mmdebstrap") is None:
            raise UnsupportedError("cannot make the debian image: install Debian's mmdebstrap")
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".debian-{SUITE}.{os.getpid()}.tar"
        say(f"fetching Debian {SUITE} by mmdebstrap (the next time it comes from {target})")
        command = [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--aptopt=Apt::Install-Recommends false",
            "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*", SUITE, str(partial),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise WeftError(f"cannot make the debian image: mmdebstrap: {done.stderr.strip()[-500:]}")
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
    return target, (f"debian:{SUITE}", "debian:latest"), {"Cmd": ["bash"], "Env": [_PATH]}


IMAGES = {"busybox": busybox, "debian": debian}


def make(name: str, cache: Path, say: Say) -> tuple[Path, tuple[str, ...], dict[str, object]]:
    """Raises InvalidError for a name that has no recipe."""
    if name not in IMAGES:
        raise InvalidError(f"cannot make image {name!r}: there are recipes for {', '.join(sorted(IMAGES))}")
    return IMAGES[name](cache, say)
