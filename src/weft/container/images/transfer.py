"""Pull and push: images between a registry and the local database, content and layers.

Pulling checks every blob by its digest and every layer by its diff id before the image gets a name; what fails leaves
no name and no half layer. What was fetched whole stays until the next collection, so a second try is short.
"""

import asyncio
import time

from weft.container.base import Credentials, Progress, ProgressSink
from weft.container.content import ContentStore
from weft.container.images.database import Database, Entry, Layer
from weft.container.images.machine import ARCHITECTURE
from weft.container.images.remote import Remote
from weft.container.images.threads import in_thread
from weft.container.snapshots.overlay import Overlays
from weft.core.errors import InvalidError, NotFoundError
from weft.oci import config as configs
from weft.oci import digest as digests
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor, Manifest
from weft.oci.reference import Reference

_PARALLEL = 3  # layers at once, as Docker


class Transfer:
    """The caller sees to it that nothing is collected meanwhile."""

    def __init__(self, database: Database, content: ContentStore, overlays: Overlays) -> None:
        self._database, self._content, self._overlays = database, content, overlays

    async def pull(self, parsed: Reference, credentials: Credentials | None, tell: ProgressSink) -> Entry:
        async with Remote(parsed, credentials) as remote:
            return await self._pull(parsed, remote, tell)

    async def _pull(self, parsed: Reference, remote: Remote, tell: ProgressSink) -> Entry:
        top = await remote.manifest(parsed.target)
        tell(Progress(f"Pulling from {parsed.path}", id=parsed.target))
        chosen = top
        if top.is_index:
            entry = manifests.choose(top, ARCHITECTURE)
            if entry is None:
                raise NotFoundError(f"no matching manifest for linux/{ARCHITECTURE} in the manifest list entries")
            chosen = await remote.manifest(entry.digest)
        image, fresh = await self._fetch(remote, chosen, tell)
        tags = (f"{parsed.name}:{parsed.tag}",) if parsed.tag and not parsed.digest else ()
        self._database.add(image, tags=tags, digests=((parsed.name, top.digest),))
        tell(Progress(f"Digest: {top.digest}"))
        what = "Downloaded newer image" if fresh else "Image is up to date"
        tell(Progress(f"Status: {what} for {parsed.familiar}"))
        return self._database.images[image.id]

    async def _fetch(self, remote: Remote, chosen: Manifest, tell: ProgressSink) -> tuple[Entry, bool]:
        """Config and layers of a manifest, all checked; whether anything had to be fetched."""
        assert chosen.config is not None
        if present := self._database.images.get(chosen.config.digest):
            return present, False
        if not self._content.exists(chosen.config.digest):
            await remote.fetch_blob(chosen.config, self._content, lambda _: None)
        config = configs.parse(self._content.read(chosen.config.digest))
        diff_ids = config["rootfs"]["diff_ids"]
        if len(diff_ids) != len(chosen.layers):
            raise InvalidError(f"image has {len(chosen.layers)} layers, its config names {len(diff_ids)}")
        slots = asyncio.Semaphore(_PARALLEL)
        ready = [asyncio.Event() for _ in diff_ids]
        sizes = [0] * len(diff_ids)

        async def layer(index: int) -> None:
            blob, short = chosen.layers[index], _short(chosen.layers[index].digest)
            chain = digests.chain_id(diff_ids[: index + 1])
            tell(Progress("Pulling fs layer", id=short))
            if self._content.exists(blob.digest):
                tell(Progress("Already exists", id=short))
            else:
                async with slots:
                    await remote.fetch_blob(
                        blob, self._content, lambda done: tell(Progress("Downloading", short, done, blob.size))
                    )
                tell(Progress("Download complete", id=short))
            if index:
                await ready[index - 1].wait()
            sizes[index] = await in_thread(self._overlays.unpack, chain, diff_ids[index], blob.digest)
            ready[index].set()
            tell(Progress("Pull complete", id=short))

        try:
            async with asyncio.TaskGroup() as group:
                for index in range(len(diff_ids)):
                    group.create_task(layer(index))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        layers = tuple(Layer(diff_id, blob) for diff_id, blob in zip(diff_ids, chosen.layers, strict=True))
        return Entry(chosen.config.digest, config, layers, sum(sizes), time.time(), "", chosen.raw), True

    async def push(self, parsed: Reference, credentials: Credentials | None, tell: ProgressSink) -> str:
        """Returns the manifest's digest."""
        image = self._database.tags.get(f"{parsed.name}:{parsed.tag}")
        if image is None:
            raise NotFoundError(f"An image does not exist locally with the tag: {parsed.familiar_name}")
        entry = self._database.images[image]
        tell(Progress(f"The push refers to repository [{parsed.name}]"))
        manifest = self.manifest_of(entry)
        assert manifest.config is not None
        async with Remote(parsed, credentials) as remote:
            for layer in entry.layers:
                tell(Progress("Preparing", id=_short(layer.diff_id)))
            for layer in entry.layers:
                await self._push_blob(remote, layer.blob, _short(layer.diff_id), tell)
            config = Descriptor(manifest.config.media_type, entry.id, len(self._content.read(entry.id)))
            if not await remote.has_blob(config.digest):
                await remote.push_blob(config, self._content.path(config.digest), lambda _: None)
            await remote.push_manifest(manifest.raw, manifest.media_type, parsed.tag)
        self._database.add_digest(parsed.name, manifest.digest, entry.id)
        tell(Progress(f"{parsed.tag}: digest: {manifest.digest} size: {len(manifest.raw)}"))
        aux = {"Tag": parsed.tag, "Digest": manifest.digest, "Size": len(manifest.raw)}
        tell(Progress("", aux=aux))
        return manifest.digest

    async def _push_blob(self, remote: Remote, blob: Descriptor, short: str, tell: ProgressSink) -> None:
        if await remote.has_blob(blob.digest):
            tell(Progress("Layer already exists", id=short))
            return
        path = self._content.path(blob.digest)
        await remote.push_blob(blob, path, lambda done: tell(Progress("Pushing", short, done, blob.size)))
        tell(Progress("Pushed", id=short))

    def manifest_of(self, entry: Entry) -> Manifest:
        """As it was pulled; one that was made here gets the same one each time."""
        if entry.manifest is not None:
            return manifests.parse(entry.manifest)
        size = len(self._content.read(entry.id))
        config = Descriptor(manifests.DOCKER_CONFIG, entry.id, size)
        return manifests.build(config, [layer.blob for layer in entry.layers])


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
