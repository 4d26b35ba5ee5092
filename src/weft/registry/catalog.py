"""What the registry holds, in SQLite: repositories, their blobs, manifests and tags; durable before it is answered."""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (repo TEXT, digest TEXT, PRIMARY KEY (repo, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS manifests (
    repo TEXT, digest TEXT, media_type TEXT NOT NULL, raw BLOB NOT NULL, subject TEXT NOT NULL,
    artifact_type TEXT NOT NULL, annotations TEXT NOT NULL, PRIMARY KEY (repo, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (repo TEXT, tag TEXT, digest TEXT NOT NULL, PRIMARY KEY (repo, tag)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_subject ON manifests (repo, subject);
"""
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


def is_name(text: str) -> bool:
    return len(text) <= 255 and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it was put."""

    digest: str
    media_type: str
    raw: bytes
    artifact_type: str = ""
    annotations: str = "{}"


class Catalog:
    """All calls are short transactions."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def link(self, repo: str, digest: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (repo, digest))

    def linked(self, repo: str, digest: str) -> bool:
        found = self._db.execute("SELECT 1 FROM blobs WHERE repo = ? AND digest = ?", (repo, digest))
        return found.fetchone() is not None

    def unlink(self, repo: str, digest: str) -> bool:
        """Whether no repository has the blob any more."""
        self._db.execute("DELETE FROM blobs WHERE repo = ? AND digest = ?", (repo, digest))
        return self._db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is None

    def exists(self, repo: str) -> bool:
        query = "SELECT 1 FROM manifests WHERE repo = ? UNION SELECT 1 FROM blobs WHERE repo = ?"
        return self._db.execute(query, (repo, repo)).fetchone() is not None

    def put(self, repo: str, stored: Stored, subject: str, tag: str) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    repo, stored.digest, stored.media_type, stored.raw, subject,
                    stored.artifact_type, stored.annotations,
                ),
            )  # fmt: skip
            if tag:
                self._db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (repo, tag, stored.digest))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def get(self, repo: str, reference: str) -> Stored | None:
        """By tag or digest."""
        digest: str | None = reference
        if ":" not in reference:
            row = self._db.execute("SELECT digest FROM tags WHERE repo = ? AND tag = ?", (repo, reference)).fetchone()
            digest = row[0] if row else None
        query = (
            "SELECT digest, media_type, raw, artifact_type, annotations FROM manifests WHERE repo = ? AND digest = ?"
        )
        row = self._db.execute(query, (repo, digest)).fetchone()
        return Stored(*row) if row else None

    def delete(self, repo: str, reference: str) -> bool:
        """A tag, or a manifest with its tags; whether there was any."""
        if ":" not in reference:
            return self._db.execute("DELETE FROM tags WHERE repo = ? AND tag = ?", (repo, reference)).rowcount > 0
        self._db.execute("BEGIN IMMEDIATE")
        count = self._db.execute("DELETE FROM manifests WHERE repo = ? AND digest = ?", (repo, reference)).rowcount
        self._db.execute("DELETE FROM tags WHERE repo = ? AND digest = ?", (repo, reference))
        self._db.execute("COMMIT")
        return count > 0

    def tags(self, repo: str, last: str, limit: int) -> Sequence[str]:
        query = "SELECT tag FROM tags WHERE repo = ? AND tag > ? ORDER BY tag LIMIT ?"
        return [row[0] for row in self._db.execute(query, (repo, last, limit))]

    def repositories(self, last: str, limit: int) -> Sequence[str]:
        query = "SELECT DISTINCT repo FROM manifests WHERE repo > ? ORDER BY repo LIMIT ?"
        return [row[0] for row in self._db.execute(query, (last, limit))]

    def referrers(self, repo: str, subject: str) -> Sequence[Stored]:
        query = (
            "SELECT digest, media_type, raw, artifact_type, annotations FROM manifests WHERE repo = ? AND subject = ?"
        )
        return [Stored(*row) for row in self._db.execute(query, (repo, subject))]
