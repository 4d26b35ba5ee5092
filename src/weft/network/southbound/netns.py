"""Network namespaces, pinned to a path so that they live without a process; no `ip` process is run.

`create` costs under a millisecond: a short-lived thread unshares and bind-mounts its own namespace (namespaces(7));
`create_each` and `inside_each` do many with one thread. Pins in `/run/netns` are those that ip-netns(8) shows.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from weft.core.errors import NotFoundError, UnsupportedError, WeftError

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_SHARED = 1 << 20
_MNT_DETACH = 2
SHOWN = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread of its own, whose namespace may be changed as it ends with the work."""
    result: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def create(path: Path) -> None:
    """Makes a namespace and pins it to `path`; raises FileExistsError, UnsupportedError without the right to."""
    (made,) = create_each([path], lambda _: None)
    if isinstance(made, BaseException):
        raise made


def create_each(paths: Iterable[Path], work: Callable[[Path], T]) -> list[T | WeftError | FileExistsError]:
    """Makes a namespace for each path and pins it, all in one thread; `work` is called inside each new one.

    Returns what `work` did, or why there is no namespace: an UnsupportedError without the right to make one.
    """
    paths = list(paths)
    for directory in {path.parent for path in paths}:
        directory.mkdir(parents=True, exist_ok=True)
        if directory == SHOWN:
            _share(SHOWN)

    def one(path: Path, source: bytes) -> T | WeftError | FileExistsError:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
        except FileExistsError as error:
            return error
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
            _check(_libc.mount(source, os.fsencode(path), b"none", _MS_BIND, None), f"pin it to {path}")
        except OSError as error:
            path.unlink()
            return UnsupportedError(str(error.strerror))
        try:
            return work(path)
        except WeftError as error:
            delete(path)
            return error
        except BaseException:
            delete(path)
            raise

    def all_of_them() -> list[T | WeftError | FileExistsError]:
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net".encode()
        return [one(path, source) for path in paths]

    return _in_thread(all_of_them)


def in_own(work: Callable[[], T]) -> T:
    """Runs `work` in a new namespace without a name, which lives as long as the sockets that were opened in it."""

    def body() -> T:
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
        except OSError as error:
            raise UnsupportedError(str(error.strerror)) from error
        return work()

    return _in_thread(body)


def _share(directory: Path) -> None:
    """What ip-netns(8) does to its directory at first use: a shared mount of its own. If it came to that later, it
    would cover our pins, and they could not be taken away."""
    name = os.fsencode(directory)
    if _libc.mount(b"", name, b"none", _MS_SHARED | _MS_REC, None) == 0 or ctypes.get_errno() != errno.EINVAL:
        return
    _libc.mount(name, name, b"none", _MS_BIND | _MS_REC, None)
    _libc.mount(b"", name, b"none", _MS_SHARED | _MS_REC, None)


def delete(path: Path) -> None:
    """Unpins the namespace, which ends when its last process does; one that does not exist is no error."""
    try:
        while True:
            try:
                path.unlink(missing_ok=True)
                return
            except OSError as error:  # EBUSY: something is mounted on it
                if error.errno != errno.EBUSY or _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
                    raise
    except OSError as error:
        raise WeftError(f"cannot remove network namespace {path}: {error.strerror}") from error


def exists(path: Path) -> bool:
    """Whether a namespace is pinned there (and not just an empty file left over)."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def inside(path: Path, work: Callable[[], T]) -> T:
    """Runs `work` in the namespace, in a thread of its own; sockets opened there stay in it.

    Raises NotFoundError where there is no such namespace.
    """
    (result,) = inside_each([path], lambda _: work())
    if isinstance(result, WeftError):
        raise result
    return result


def inside_each(paths: Iterable[Path], work: Callable[[Path], T]) -> list[T | WeftError]:
    """What `work` returned, or why it could not, in each of the namespaces; one thread goes through them all."""

    def enter(path: Path) -> T | WeftError:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return NotFoundError(f"there is no network namespace {path}")
        try:
            if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                return WeftError(f"cannot enter network namespace {path}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(descriptor)
        try:
            return work(path)
        except WeftError as error:
            return error

    return _in_thread(lambda: [enter(path) for path in paths])
