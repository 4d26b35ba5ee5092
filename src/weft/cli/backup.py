"""`weft backup FILE` and `weft restore FILE`: all resources, at one revision.

The way to the store is the settings'; a server need not run for a backup, and must not for a restore.
"""

import asyncio
from pathlib import Path
from typing import Any

from weft.core.settings import Paths, Settings
from weft.store.backup import Backup
from weft.store.opening import database

# What objects depend on: their addresses and names are of these.
_KEPT = ("pod_subnet", "service_subnet", "cluster_domain")


def backup(settings: Settings, file: Path) -> str:
    """Returns what to tell the user; raises WeftError."""
    kept = {name: getattr(settings, name) for name in _KEPT}
    if settings.store:
        from weft.store import etcd_copy
        from weft.store.etcd_address import Address

        count = asyncio.run(etcd_copy.save(Address.parse(settings.store), file, kept))
    else:
        from weft.store import sqlite_copy

        count = asyncio.run(sqlite_copy.save(database(settings), file, kept))
    return f"{count} objects saved in {file}"


def restore(root: Path, file: Path, overrides: dict[str, Any]) -> str:
    """Returns what to tell the user; raises WeftError, and then nothing was changed. A new root gets its settings."""
    kept = {name: value for name, value in Backup.open(file).settings.items() if name in _KEPT}
    if Paths(root).config.exists():
        kept = {}
    settings = Settings.load_or_create(root, **{**kept, **overrides})
    if settings.store:
        from weft.store import etcd_copy
        from weft.store.etcd_address import Address

        count = asyncio.run(etcd_copy.restore(Address.parse(settings.store), file))
    else:
        from weft.store import sqlite_copy

        count = asyncio.run(sqlite_copy.restore(database(settings), file))
    return f"{count} objects restored from {file}"
