"""Cgroups as this machine has them: pure v2, hybrid or v1.

Comes in: a container's id and the instance's name. Goes out: paths, figures, and a host that crun accepts.
"""

from weft.core.settings import Paths


def cleanup_host(paths: Paths) -> None:
    """Undoes what the engine did to the host's cgroup mounts (see `prepare_host`); safe to call at any time."""
