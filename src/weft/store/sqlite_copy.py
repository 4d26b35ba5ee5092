"""Backup and restore of the embedded store's file.

In: the file, which a server may be using (a read transaction sees one revision of it, sqlite.org/isolation.html).
Out: a backup's items; from a backup a new file, put in its place whole. Objects keep their revisions.
"""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path

from weft.core.errors import ConflictError, NotFoundError, WeftError
from weft.store import backup
from weft.store.base import KeyValue
from weft.store.sqlite import lock, open_file

_REVISION = "SELECT max(1, (SELECT ifnull(max(revision), 0) FROM log), (SELECT ifnull(max(number), 0) FROM meta))"
_PRESENT = (
    "SELECT key, value, create_revision, max(revision) FROM log GROUP BY key HAVING value IS NOT NULL ORDER BY key"
)


async def save(path: Path, to: Path, settings: Mapping[str, str]) -> int:
    """Writes the backup; the number of objects."""
    if not path.exists():
        raise NotFoundError(f"cannot back up {path}: there is no store")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
            revision = connection.execute(_REVISION).fetchone()[0]

            async def items() -> AsyncIterator[KeyValue]:
                for row in connection.execute(_PRESENT):
                    yield KeyValue(*row)

            return await backup.write(to, revision, settings, items())
    except sqlite3.Error as error:
        raise WeftError(f"cannot back up {path}: {error}") from error


async def restore(path: Path, source: Path) -> int:
    """Makes the store of a backup; raises InvalidError, ConflictError where there is a store already."""
    content = backup.Backup.open(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path):
        if path.exists() and not await _is_empty(path):
            raise ConflictError(f"cannot restore into {path}: it is not empty")
        temporary = path.with_name(path.name + ".restore")
        try:
            _write(temporary, content)
            path.with_name(path.name + "-wal").unlink(missing_ok=True)
            path.with_name(path.name + "-shm").unlink(missing_ok=True)
            temporary.replace(path)
        except sqlite3.Error as error:
            raise WeftError(f"cannot restore into {path}: {error}") from error
        finally:
            for suffix in ("", "-wal", "-shm"):
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    return content.objects


def _write(path: Path, content: backup.Backup) -> None:
    for suffix in ("", "-wal", "-shm"):  # of an earlier try that was killed
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with closing(open_file(path)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO log (revision, key, create_revision, previous_revision, value) VALUES (?, ?, ?, 0, ?)",
            ((item.mod_revision, item.key, item.create_revision, item.value) for item in content.items()),
        )
        numbers = [("compacted", content.revision), ("swept", content.revision)]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", numbers)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


async def _is_empty(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'log'").fetchone()[0]
        return not tables or connection.execute("SELECT count(*) FROM log").fetchone()[0] == 0
