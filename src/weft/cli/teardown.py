"""The end of an instance: containers, then every kernel object and run-time file that bears its name.

It works from what the kernel shows, not from what Weft remembers, so it is the same after a clean stop and after
everything was killed. The state under `var/lib/weft` stays unless it is purged.
"""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from weft.core.errors import WeftError
from weft.core.settings import Settings

_CGROUPS = Path("/sys/fs/cgroup")


def teardown(settings: Settings, seconds: float) -> None:
    """Ends containers (SIGTERM, after `seconds` SIGKILL) and removes mounts, network, cgroups and run-time files."""
    _end_processes(lambda: container_processes(settings), seconds)
    _end_processes(lambda: monitors(settings), 2.0)
    _end_processes(lambda: switches(settings), 2.0)
    _unmount(settings)
    _remove_network(settings)
    _unmount(settings)
    _remove_cgroups(settings)
    from weft.container.runtime.cgroups import cleanup_host

    cleanup_host(settings.paths)
    shutil.rmtree(settings.paths.run, ignore_errors=True)
    if settings.paths.run.exists():
        raise WeftError(f"cannot remove {settings.paths.run}: something in it is still in use")


def purge_state(settings: Settings) -> None:
    """Removes images, volumes, resources and configuration."""
    for directory in (settings.paths.lib, settings.paths.etc):
        shutil.rmtree(directory, ignore_errors=True)


def _cgroup_of(path: str, instance: str) -> bool:
    return f"/{instance}/" in f"{path}/"


def container_processes(settings: Settings) -> set[int]:
    """All processes in the instance's cgroups, by /proc: monitors live outside of them."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            ours = any(_cgroup_of(line.split(":", 2)[2], settings.instance) for line in lines)
            if ours and not _has_ended(pid):
                found.add(pid)
    return found - monitors(settings) - {os.getpid()}


def _has_ended(pid: int) -> bool:
    """A zombie: it runs no more, and only its parent can make it go."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def monitors(settings: Settings) -> set[int]:
    """The conmon processes of the instance, known by the paths in their command lines."""
    run, lib = (str(path).encode() for path in (settings.paths.run, settings.paths.lib))
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"conmon") and any(word.startswith((run + b"/", lib + b"/")) for word in words):
                found.add(pid)
    return found


def switches(settings: Settings) -> set[int]:
    """The Open vSwitch processes of labs, known by their sockets below the run directory."""
    here = f"--unixctl={settings.paths.run}/".encode()
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith((b"ovsdb-server", b"ovs-vswitchd")) and any(word.startswith(here) for word in words):
                found.add(pid)
    return found


def _pids() -> Iterable[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _end_processes(find: Callable[[], set[int]], seconds: float) -> None:
    """SIGTERM to all, SIGKILL to those that stay, again for what was started meanwhile."""
    deadline = time.monotonic() + seconds
    _signal_and_wait(find(), signal.SIGTERM, deadline)
    for _ in range(10):
        left = find()
        if not left:
            return
        _signal_and_wait(left, signal.SIGKILL, time.monotonic() + 5)
        time.sleep(0.02)
    raise WeftError(f"cannot end processes {sorted(find())}")


def _signal_and_wait(pids: set[int], number: signal.Signals, deadline: float) -> None:
    """pidfds make sure that only these very processes are meant."""
    descriptors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            descriptors.append(descriptor)
            signal.pidfd_send_signal(descriptor, number)
    waiting = set(descriptors)
    while waiting and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        waiting -= {descriptor for descriptor, _ in poll.poll(left * 1000)}
    for descriptor in descriptors:
        os.close(descriptor)


def _unmount(settings: Settings) -> None:
    """All mounts below the instance's directories, the innermost first."""
    roots = tuple(f"{path}/" for path in (settings.paths.run, settings.paths.lib))
    for _ in range(3):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
        mine = [point for point in points if point.startswith(roots)]
        if not mine:
            return
        for point in reversed(mine):
            _umount(point)


def _umount(point: str) -> None:
    import ctypes

    lazy = 2  # MNT_DETACH: a file that somebody still holds open must not keep the mount
    ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(point), lazy)


def _remove_network(settings: Settings) -> None:
    from weft.network.cluster.cleanup import remove_all

    asyncio.run(remove_all(settings))


def _remove_cgroups(settings: Settings) -> None:
    """The instance's cgroup in every hierarchy, children first; ones still busy are tried again for a second."""
    for _ in range(20):
        tops = [path for path in _instance_cgroups(settings.instance) if path.exists()]
        if not tops:
            return
        for top in tops:
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        time.sleep(0.05)


def _instance_cgroups(instance: str) -> list[Path]:
    return [
        _CGROUPS / instance,
        *(hierarchy / instance for hierarchy in _CGROUPS.glob("*/") if hierarchy.is_dir()),
    ]
