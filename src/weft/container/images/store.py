"""The local images: `Images` of `weft.container.base`, on a database, a content store and overlays.

Comes in: references and ids. Goes out: images, roots for containers, pulls and pushes. Pulling checks every blob by its
digest and every layer by its diff id before the image gets a name; what fails leaves no name and no half layer.
"""

import asyncio
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from weft.container.base import Credentials, Events, Image, Progress, ProgressSink, RootFilesystem
from weft.container.content import ContentStore
from weft.container.images import archives
from weft.container.images.database import Database, Entry, Layer
from weft.container.images.machine import ARCHITECTURE
from weft.container.images.threads import in_thread
from weft.container.images.transfer import Transfer
from weft.container.snapshots.overlay import Overlays
from weft.container.snapshots.pack import Packed, pack_layer, store_tar
from weft.core.clock import parse_rfc3339
from weft.core.errors import ConflictError, InvalidError, NotFoundError
from weft.oci import digest as digests
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor
from weft.oci.reference import Reference

logger = logging.getLogger(__name__)
Removed = tuple[Literal["Untagged", "Deleted"], str]


class ImageStore:
    """`in_use(image_id)` gives the ids of the containers that are made from the image."""

    def __init__(self, root: Path, events: Events, in_use: Callable[[str], Sequence[str]]) -> None:
        self._root = root
        self._events = events
        self._in_use = in_use
        self._pulls: dict[str, asyncio.Lock] = {}
        self._working = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """While this is open nothing is collected: layers and blobs on their way into an image have no name yet."""
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1

    async def open(self) -> None:
        """Reads what is known; drops layers and blobs that nothing names."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self.content = ContentStore(self._root / "content")
        self._overlays = Overlays(self._root / "overlay", self.content)
        for name in self._overlays.containers():
            if name.startswith("build-"):  # of a build that was killed
                self._overlays.unmount(name, delete=True)
        shutil.rmtree(self._root / "tmp", ignore_errors=True)  # likewise its context, and archives on their way in
        self.database = Database(self._root / "images.db")
        self._transfer = Transfer(self.database, self.content, self._overlays)
        self._collect()

    async def close(self) -> None:
        self.database.close()

    # Names

    def resolve(self, reference: str) -> Image:
        return self._image(self._find(reference))

    def list(self) -> Sequence[Image]:
        """Images with a name, and those without one that no other is built on."""
        named = {*self.database.tags.values(), *self.database.digests.values()}
        parents = {entry.parent for entry in self.database.images.values()}
        entries = [e for e in self.database.images.values() if e.id in named or e.id not in parents]
        return [self._image(entry) for entry in sorted(entries, key=lambda e: e.created, reverse=True)]

    def parent(self, image_id: str) -> str:
        """The image that this one was built on, if it is here."""
        return self.database.images[image_id].parent

    def history(self, reference: str) -> Sequence[Mapping[str, Any]]:
        """Docker's history, newest first: Id, Created, CreatedBy, Tags, Size, Comment."""
        entry = self._find(reference)
        chains = [digests.chain_id(entry.diff_ids[: index + 1]) for index in range(len(entry.layers))]
        sizes = [self._overlays.size(chain) for chain in chains]
        rows: list[Mapping[str, Any]] = []
        index = 0
        for item in entry.config.get("history") or []:
            size = 0
            if not item.get("empty_layer") and index < len(sizes):
                size, index = sizes[index], index + 1
            rows.append({
                "Id": "<missing>", "Created": int(_created(item)), "CreatedBy": item.get("created_by", ""),
                "Tags": None, "Size": size, "Comment": item.get("comment", ""),
            })  # fmt: skip
        rows.reverse()
        if rows:
            rows[0] = {**rows[0], "Id": entry.id, "Tags": list(self._image(entry).references) or None}
        return rows

    def _find(self, reference: str) -> Entry:
        database = self.database
        missing = NotFoundError(f"No such image: {reference}")
        bare = reference.removeprefix("sha256:")
        if reference.startswith("sha256:") and f"sha256:{bare}" in database.images:
            return database.images[reference]
        try:
            parsed = Reference.parse(reference)
        except InvalidError:
            parsed = None
        if parsed is not None:
            if parsed.digest:
                image = database.digests.get((parsed.name, parsed.digest))
            else:
                image = database.tags.get(f"{parsed.name}:{parsed.tag}")
            if image is not None and image in database.images:
                return database.images[image]
        if bare and all(letter in "0123456789abcdef" for letter in bare):
            found = [entry for id, entry in database.images.items() if id.startswith(f"sha256:{bare}")]
            if len(found) == 1:
                return found[0]
            if len(found) > 1:
                raise InvalidError(f"ambiguous image id: {reference} stands for {len(found)} images")
        if parsed is None:
            Reference.parse(reference)
        if parsed is not None and not reference.startswith("sha256:") and "@" not in reference:
            raise NotFoundError(f"No such image: {parsed.familiar}")
        raise missing

    def _image(self, entry: Entry) -> Image:
        references = sorted(_familiar(name) for name, id in self.database.tags.items() if id == entry.id)
        repo_digests = sorted(
            f"{_familiar_name(name)}@{digest}" for (name, digest), id in self.database.digests.items() if id == entry.id
        )
        return Image(
            entry.id, tuple(references), tuple(repo_digests), entry.config, entry.diff_ids, entry.size, entry.created
        )

    def tag(self, source: str, target: str) -> None:
        entry = self._find(source)
        reference = Reference.parse(target)
        if reference.digest:
            raise InvalidError("refusing to create a tag with a digest reference")
        self.database.tag(f"{reference.name}:{reference.tag}", entry.id)
        self._events.publish("image", "tag", entry.id, {"name": reference.familiar})

    async def remove(self, reference: str, *, force: bool = False) -> Sequence[Removed]:
        entry = self._find(reference)
        names = [name for name, id in self.database.tags.items() if id == entry.id]
        pins = [key for key, id in self.database.digests.items() if id == entry.id]
        parsed = self._named(reference, entry)
        removed: list[Removed] = []
        if parsed is not None:
            if parsed.digest:
                gone_tags, gone_pins = [], [key for key in pins if key == (parsed.name, parsed.digest)]
            else:
                gone_tags = [f"{parsed.name}:{parsed.tag}"]
                rest = {name.rsplit(":", 1)[0] for name in names if name not in gone_tags}
                gone_pins = [key for key in pins if key[0] not in rest]
            last = len(gone_tags) == len(names)
            users = self._in_use(entry.id) if last else ()
            if users and not force:
                raise ConflictError(
                    f'conflict: unable to remove repository reference "{parsed.familiar}" (must force) - '
                    f"container {users[0][:12]} is using its referenced image {_short(entry.id)}"
                )
            removed += self._untag(gone_tags, gone_pins)
            if not last or users:
                return removed
        else:
            users = self._in_use(entry.id)
            if users:
                raise ConflictError(
                    f"conflict: unable to delete {_short(entry.id)} (cannot be forced) - image is being used by "
                    f"container {users[0][:12]}"
                )
            if any(each.parent == entry.id for each in self.database.images.values()) and not names:
                raise ConflictError(
                    f"conflict: unable to delete {_short(entry.id)} (cannot be forced) - image has dependent child "
                    "images"
                )
            if len(names) > 1 and not force:
                raise ConflictError(
                    f"conflict: unable to delete {_short(entry.id)} (must be forced) - image is referenced in multiple "
                    "repositories"
                )
            removed += self._untag(names, pins)
        removed += self._delete_chain(entry)
        self._collect()
        return removed

    def _named(self, reference: str, entry: Entry) -> Reference | None:
        """The reference, where it is a name of the image and not its id."""
        try:
            parsed = Reference.parse(reference)
        except InvalidError:
            return None
        found = self.database.digests.get((parsed.name, parsed.digest)) if parsed.digest else None
        found = found or self.database.tags.get(f"{parsed.name}:{parsed.tag}")
        return parsed if found == entry.id else None

    def _untag(self, tags: Sequence[str], pins: Sequence[tuple[str, str]]) -> Sequence[Removed]:
        removed: list[Removed] = []
        for name in tags:
            self._events.publish("image", "untag", self.database.tags[name], {"name": _familiar(name)})
            self.database.untag(name)
            removed.append(("Untagged", _familiar(name)))
        for name, digest in pins:
            self.database.undigest(name, digest)
            removed.append(("Untagged", f"{_familiar_name(name)}@{digest}"))
        return removed

    def _delete_chain(self, entry: Entry) -> Sequence[Removed]:
        """The image and its unnamed parents, as far as nothing else needs them."""
        removed: list[Removed] = []
        current: Entry | None = entry
        while current is not None:
            named = current.id in self.database.tags.values() or current.id in self.database.digests.values()
            needed = any(each.parent == current.id for each in self.database.images.values())
            if named or needed or self._in_use(current.id):
                break
            self.database.delete(current.id)
            self._events.publish("image", "delete", current.id, {"name": current.id})
            removed.append(("Deleted", current.id))
            current = self.database.images.get(current.parent)
        return removed

    async def prune(self, *, dangling: bool = True) -> tuple[Sequence[Removed], int]:
        """Removes images without a name, or with `dangling` False all that no container uses; and the bytes freed."""
        before = sum((self.content.size(digest) for digest in self.content.all()), 0)
        removed: list[Removed] = []
        for entry in list(self.database.images.values()):
            if entry.id not in self.database.images or self._in_use(entry.id):
                continue
            names = [name for name, id in self.database.tags.items() if id == entry.id]
            pins = [key for key, id in self.database.digests.items() if id == entry.id]
            if names and dangling:
                continue
            removed += self._untag(names, pins)
            removed += self._delete_chain(entry)
        self._collect()
        after = sum((self.content.size(digest) for digest in self.content.all()), 0)
        return removed, max(0, before - after)

    def _collect(self) -> None:
        """Removes layers and blobs that no image names, unless work is in progress; then a later call does."""
        if self._working:
            return
        blobs, layers = set(), {"empty"}
        for entry in self.database.images.values():
            for index, layer in enumerate(entry.layers):
                blobs.add(layer.blob.digest)
                layers.add(self._overlays.short(digests.chain_id(entry.diff_ids[: index + 1])))
            blobs.add(entry.id)
        for digest in self.content.all() - blobs:
            self.content.delete(digest)
        stale = [self._overlays.discard_layer(name) for name in self._overlays.chains() - layers]
        if stale:
            threading.Thread(target=_remove_all, args=(stale,)).start()

    # Coming and going

    async def pull(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> Image:
        parsed = Reference.parse(reference)
        lock = self._pulls.setdefault(str(parsed), asyncio.Lock())
        try:
            async with lock:
                with self.working():
                    entry = await self._transfer.pull(parsed, credentials, progress or _ignore)
        finally:
            if not lock.locked():
                self._pulls.pop(str(parsed), None)
        self._events.publish("image", "pull", parsed.familiar, {"name": parsed.familiar_name})
        return self._image(entry)

    async def push(
        self, reference: str, *, credentials: Credentials | None = None, progress: ProgressSink | None = None
    ) -> str:
        parsed = Reference.parse(reference)
        with self.working():
            digest = await self._transfer.push(parsed, credentials, progress or _ignore)
        self._events.publish("image", "push", parsed.familiar, {"name": parsed.familiar_name})
        return digest

    async def save(self, references: Sequence[str], target: IO[bytes]) -> None:
        """Writes images as a tar; a repository without a tag stands for all its tags. Raises NotFoundError."""
        chosen: dict[str, dict[str, None]] = {}
        for reference in references:
            for name, entry in self._to_save(reference):
                names = chosen.setdefault(entry.id, {})
                if name:
                    names[name] = None
        entries = [self.database.images[id] for id in chosen]
        images = [(entry, self._transfer.manifest_of(entry), tuple(chosen[entry.id])) for entry in entries]
        with self.working():
            await in_thread(archives.write, target, self.content, images)

    def _to_save(self, reference: str) -> Sequence[tuple[str, Entry]]:
        """The images that a reference stands for, with the name to save each under (empty for none)."""
        entry = None
        try:
            entry = self._find(reference)
            parsed = Reference.parse(reference, default_tag=False)
        except (InvalidError, NotFoundError):
            if entry is not None:
                return [("", entry)]
            parsed = Reference.parse(reference, default_tag=False)
        if not parsed.tag and not parsed.digest:
            named = [name for name in self.database.tags if name.rsplit(":", 1)[0] == parsed.name]
            if named:
                return [(_familiar(name), self.database.images[self.database.tags[name]]) for name in sorted(named)]
        entry = self._find(reference)
        is_tag = self.database.tags.get(f"{parsed.name}:{parsed.tag}") == entry.id
        return [(parsed.familiar if is_tag else "", entry)]

    async def load(self, archive: Path) -> Sequence[tuple[Image, Sequence[str]]]:
        """Takes the images of a `save`d tar in, each with the names that it got. Raises InvalidError."""
        with self.working():
            found = await in_thread(lambda: list(archives.read(archive, self.content, ARCHITECTURE)))
            for loaded in found:
                for reference in loaded.references:
                    Reference.parse(reference)
            result: list[tuple[Image, Sequence[str]]] = []
            for loaded in found:
                sizes = await in_thread(self._unpack_all, loaded.layers)
                entry = Entry(loaded.id, loaded.config, loaded.layers, sizes, time.time())
                names = [Reference.parse(reference) for reference in loaded.references]
                self.database.add(entry, tags=[f"{name.name}:{name.tag}" for name in names])
                image = self._image(self.database.images[loaded.id])
                self._events.publish("image", "load", image.id, {"name": image.id})
                result.append((image, [name.familiar for name in names]))
            return result

    def _unpack_all(self, layers: Sequence[Layer]) -> int:
        """Unpacks what is not yet; returns the bytes of all files."""
        diff_ids = [layer.diff_id for layer in layers]
        return sum(
            self._overlays.unpack(digests.chain_id(diff_ids[: index + 1]), layer.diff_id, layer.blob.digest)
            for index, layer in enumerate(layers)
        )

    # Making images

    async def commit(self, upper: Path, parent: Image | None, config: Mapping[str, Any], comment: str = "") -> Image:
        with self.working():
            packed = await in_thread(pack_layer, str(upper), self.content) if any(upper.iterdir()) else None
            return self.make(parent, config, packed, comment)

    async def import_tar(self, read: Callable[[], bytes], config: Mapping[str, Any], comment: str = "") -> Image:
        """An image of one layer from a tar that `read` gives in blocks; the archive is checked by unpacking it."""
        with self.working():
            packed = await in_thread(store_tar, read, self.content)
            await in_thread(self._overlays.unpack, packed.diff_id, packed.diff_id, packed.digest)
            return self.make(None, config, packed, comment)

    def make(
        self, parent: Image | None, config: Mapping[str, Any], packed: Packed | None, comment: str = "",
        created_by: str = "",
    ) -> Image:  # fmt: skip
        """An image with `config` (Docker's Config) on top of `parent`, with one more layer or none."""
        base = self.database.images[parent.id] if parent is not None else None
        layers = [*base.layers] if base is not None else []
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z"
        item: dict[str, Any] = {"created": stamp, "created_by": created_by}
        if comment:
            item["comment"] = comment
        if packed is None:
            item["empty_layer"] = True
        else:
            blob = Descriptor(manifests.DOCKER_LAYER, packed.digest, packed.compressed_size)
            layers.append(Layer(packed.diff_id, blob))
        history = [*((base.config.get("history") or []) if base is not None else []), item]
        whole = {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": stamp,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": history,
        }
        raw = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
        image_id = self.content.put(raw)
        size = (base.size if base is not None else 0) + (packed.size if packed is not None else 0)
        entry = Entry(image_id, whole, tuple(layers), size, now, parent.id if parent is not None else "")
        self.database.add(entry)
        return self._image(entry)

    # Roots of containers

    async def prepare(self, container_id: str, image: Image) -> RootFilesystem:
        return await self.prepare_scratch(container_id, image)

    async def prepare_scratch(self, container_id: str, image: Image | None) -> RootFilesystem:
        """As `prepare`; without an image the root is empty."""
        layers: tuple[Layer, ...] = ()
        if image is not None:
            if image.id not in self.database.images:
                raise NotFoundError(f"No such image: {image.id}")
            layers = self.database.images[image.id].layers
        return await in_thread(self._prepare, container_id, layers)

    def _prepare(self, container_id: str, layers: Sequence[Layer]) -> RootFilesystem:
        self._unpack_all(layers)
        return self._overlays.mount(container_id, [layer.diff_id for layer in layers])

    def root(self, container_id: str) -> RootFilesystem:
        """Where a prepared container's root and changes are."""
        return self._overlays.root(container_id)

    async def release(self, container_id: str, *, delete: bool) -> None:
        await in_thread(self._overlays.unmount, container_id, delete=delete)


def _ignore(step: Progress) -> None:
    """For callers that ask for no progress."""


def _remove_all(directories: Sequence[Path]) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _created(item: Mapping[str, Any]) -> float:
    try:
        return parse_rfc3339(str(item.get("created", ""))[:19] + "Z")
    except ValueError:
        return 0.0


def _familiar(name: str) -> str:
    return Reference.parse(name).familiar


def _familiar_name(name: str) -> str:
    return Reference.parse(name).familiar_name


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
