"""What is known of images, in SQLite: configs, layers, tags and where they came from; durable before it is answered."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weft.oci.manifest import Descriptor

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, config TEXT NOT NULL, layers TEXT NOT NULL, size INTEGER NOT NULL,
    created REAL NOT NULL, parent TEXT NOT NULL, manifest BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (name TEXT PRIMARY KEY, image TEXT NOT NULL, updated REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (
    name TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (name, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (key TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (name TEXT NOT NULL, image TEXT NOT NULL, at REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a local image: its content unpacked (`diff_id`) and the blob that holds it."""

    diff_id: str
    blob: Descriptor


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `images`."""

    id: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    size: int
    created: float
    parent: str = ""
    manifest: bytes | None = None

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return tuple(layer.diff_id for layer in self.layers)


class Database:
    """All entries and names, also kept in memory: reads never touch the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        rows = self._connection.execute("SELECT id, config, layers, size, created, parent, manifest FROM images")
        self.images: dict[str, Entry] = {row[0]: _entry(row) for row in rows}
        self.tags: dict[str, str] = dict(self._connection.execute("SELECT name, image FROM tags"))
        found = self._connection.execute("SELECT name, digest, image FROM digests")
        self.digests: dict[tuple[str, str], str] = {(name, digest): image for name, digest, image in found}

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def add(self, entry: Entry, *, tags: Sequence[str] = (), digests: Sequence[tuple[str, str]] = ()) -> None:
        """Adds an image (or keeps the one that is there) and gives it names, in one transaction."""
        layers = json.dumps([{"diff_id": each.diff_id, "blob": each.blob.to_json()} for each in entry.layers])
        with self.transaction():
            self._connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "manifest = coalesce(manifest, excluded.manifest)",
                (entry.id, json.dumps(entry.config), layers, entry.size, entry.created, entry.parent, entry.manifest),
            )
            for name in tags:
                self._set_tag(name, entry.id)
            for name, digest in digests:
                self._connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, digest, entry.id))
        known = self.images.setdefault(entry.id, entry)
        if known.manifest is None and entry.manifest is not None:
            self.images[entry.id] = replace(known, manifest=entry.manifest)
        self.tags |= dict.fromkeys(tags, entry.id)
        self.digests |= dict.fromkeys(digests, entry.id)

    def _set_tag(self, name: str, image: str) -> None:
        now = time.time()
        self._connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (name, image, now))
        self._connection.execute("INSERT INTO history VALUES (?, ?, ?)", (name, image, now))

    def tag(self, name: str, image: str) -> None:
        with self.transaction():
            self._set_tag(name, image)
        self.tags[name] = image

    def add_digest(self, name: str, digest: str, image: str) -> None:
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, digest, image))
        self.digests[(name, digest)] = image

    def untag(self, name: str) -> None:
        with self.transaction():
            self._connection.execute("DELETE FROM tags WHERE name = ?", (name,))
        self.tags.pop(name, None)

    def undigest(self, name: str, digest: str) -> None:
        with self.transaction():
            self._connection.execute("DELETE FROM digests WHERE name = ? AND digest = ?", (name, digest))
        self.digests.pop((name, digest), None)

    def delete(self, image: str) -> None:
        """Drops an image with all names and cache entries that point to it."""
        with self.transaction():
            self._connection.execute("DELETE FROM images WHERE id = ?", (image,))
            for table in ("tags", "digests", "builds"):
                self._connection.execute(f"DELETE FROM {table} WHERE image = ?", (image,))
        self.images.pop(image, None)
        self.tags = {name: target for name, target in self.tags.items() if target != image}
        self.digests = {key: target for key, target in self.digests.items() if target != image}

    def built(self, key: str) -> str | None:
        """The image that a build step with this key made."""
        row = self._connection.execute("SELECT image FROM builds WHERE key = ?", (key,)).fetchone()
        return row[0] if row and row[0] in self.images else None

    def remember_build(self, key: str, image: str) -> None:
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO builds VALUES (?, ?)", (key, image))


def _entry(row: tuple[Any, ...]) -> Entry:
    layers = tuple(Layer(each["diff_id"], Descriptor.parse(each["blob"], "layer")) for each in json.loads(row[2]))
    return Entry(row[0], json.loads(row[1]), layers, row[3], row[4], row[5], row[6])
