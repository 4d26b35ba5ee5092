"""`docker save` and `docker load`: images as one tar, in Docker's layout and OCI's at once.

Blobs lie under `blobs/sha256`; `manifest.json` (Docker) names configs, layers and tags, `index.json` with `oci-layout`
(OCI image spec, image-layout.md) names the manifests. Loading takes either, also from other tools: every layer is
checked against its diff id, and an image gets its names only when it is whole.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from weft.container.content import ContentStore
from weft.container.images.database import Entry, Layer
from weft.container.snapshots.pack import store_tar
from weft.container.snapshots.unpack import clean_name
from weft.core.errors import InvalidError
from weft.oci import config as configs
from weft.oci import digest as digests
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor, Manifest
from weft.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image found in an archive, its blobs stored."""

    id: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    references: tuple[str, ...]


_SMALL = 4 << 20  # manifests, configs and indexes
_DEEPEST = 4  # indexes of indexes


def write(target: IO[bytes], content: ContentStore, images: Sequence[tuple[Entry, Manifest, Sequence[str]]]) -> None:
    """Each image with its manifest and the references to save it under."""
    written: set[str] = set()
    listed: list[dict[str, Any]] = []
    index: list[dict[str, Any]] = []
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive:
        for entry, manifest, references in images:
            for digest in (entry.id, *(layer.blob.digest for layer in entry.layers)):
                if digest not in written:
                    written.add(digest)
                    info = tarfile.TarInfo(_path(digest))
                    info.size = content.size(digest)
                    with content.path(digest).open("rb") as file:
                        archive.addfile(info, file)
            if manifest.digest not in written:
                written.add(manifest.digest)
                _add(archive, _path(manifest.digest), manifest.raw)
            listed.append(
                {
                    "Config": _path(entry.id),
                    "RepoTags": list(references) or None,
                    "Layers": [_path(layer.blob.digest) for layer in entry.layers],
                }
            )
            named = Descriptor(manifest.media_type, manifest.digest, len(manifest.raw)).to_json()
            for reference in references or [""]:
                note = {
                    "io.containerd.image.name": str(Reference.parse(reference)),
                    "org.opencontainers.image.ref.name": Reference.parse(reference).tag,
                } if reference else {}  # fmt: skip
                index.append({**named, **({"annotations": note} if note else {})})
        _add(archive, "manifest.json", json.dumps(listed).encode())
        top = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": index}
        _add(archive, "index.json", json.dumps(top).encode())
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def read(archive: Path, content: ContentStore, architecture: str) -> Iterator[Loaded]:
    """The archive's images, for `architecture` where there are several; raises InvalidError."""
    try:
        with tarfile.open(archive, mode="r:") as tar:
            files = _Files(tar)
            if "manifest.json" in files.members:
                yield from _docker(files, content)
            elif "index.json" in files.members:
                yield from _oci(files, content, architecture)
            else:
                raise InvalidError("invalid archive: it has neither manifest.json nor index.json")
    except tarfile.TarError as error:
        raise InvalidError(f"invalid archive: {error}") from error


class _Files:
    """The archive's regular files by clean name; older Dockers wrote symbolic links for layers that are the same."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, tarfile.TarInfo] = {}
        for member in tar:
            if member.isreg() or member.issym():
                self.members[clean_name(member.name)] = member

    def open(self, name: Any) -> IO[bytes]:
        if not isinstance(name, str):
            raise InvalidError("invalid archive: a file name is not a text")
        member = self.members.get(clean_name(name))
        if member is not None and member.issym():
            directory = os.path.dirname(clean_name(name))
            member = self.members.get(os.path.normpath(os.path.join(directory, member.linkname)))
        stream = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if stream is None:
            raise InvalidError(f"invalid archive: it has no file {name!r}")
        return stream

    def small(self, name: Any) -> bytes:
        data = self.open(name).read(_SMALL + 1)
        if len(data) > _SMALL:
            raise InvalidError(f"invalid archive: {name} is larger than {_SMALL} bytes")
        return data

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.small(name))
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"invalid archive: {name}: {error}") from error

    def store(self, name: str, content: ContentStore, expected: str) -> None:
        """A file as the blob that it should be."""
        writer = content.writer()
        try:
            stream = self.open(name)
            while block := stream.read(1 << 20):
                writer.write(block)
            writer.commit(expected)
        except BaseException:
            writer.abort()
            raise

    def layer(self, name: Any, content: ContentStore) -> Descriptor:
        """A layer as a blob; a plain tar is compressed, as registries like it."""
        start = self.open(name).read(4)
        stream = self.open(name)
        if start[:2] != b"\x1f\x8b" and start != b"\x28\xb5\x2f\xfd":
            packed = store_tar(lambda: stream.read(1 << 20), content)
            return Descriptor(manifests.DOCKER_LAYER, packed.digest, packed.compressed_size)
        writer = content.writer()
        try:
            while block := stream.read(1 << 20):
                writer.write(block)
            size = writer.size
            kind = manifests.DOCKER_LAYER if start[:2] == b"\x1f\x8b" else manifests.OCI_LAYER_ZSTD
            return Descriptor(kind, writer.commit(), size)
        except BaseException:
            writer.abort()
            raise


def _docker(files: _Files, content: ContentStore) -> Iterator[Loaded]:
    listed = files.json("manifest.json")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InvalidError("invalid archive: manifest.json is not a list of images")
    for item in listed:
        raw = files.small(item.get("Config"))
        config = configs.parse(raw)
        names, diff_ids = item.get("Layers") or [], config["rootfs"]["diff_ids"]
        if not isinstance(names, list) or len(names) != len(diff_ids):
            raise InvalidError("invalid archive: layers of manifest.json and of the config differ")
        layers = []
        for name, diff_id in zip(names, diff_ids, strict=True):
            layers.append(Layer(diff_id, files.layer(name, content)))
        tags = item.get("RepoTags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise InvalidError("invalid archive: RepoTags is not a list of names")
        yield Loaded(content.put(raw), config, tuple(layers), tuple(tags))


def _oci(files: _Files, content: ContentStore, architecture: str) -> Iterator[Loaded]:
    index = manifests.parse(files.small("index.json"))
    for top in index.manifests:
        manifest = _image_of(files, top, architecture, 0)
        if manifest is None or manifest.config is None:
            continue
        raw = files.small(_path(manifest.config.digest))
        if digests.of(raw) != manifest.config.digest:
            raise InvalidError(f"invalid archive: {manifest.config.digest} is damaged")
        config = configs.parse(raw)
        diff_ids = config["rootfs"]["diff_ids"]
        if len(diff_ids) != len(manifest.layers):
            raise InvalidError("invalid archive: layers of the manifest and of the config differ")
        layers = []
        for blob, diff_id in zip(manifest.layers, diff_ids, strict=True):
            files.store(_path(blob.digest), content, blob.digest)
            layers.append(Layer(diff_id, blob))
        name = top.annotations.get("io.containerd.image.name") or ""
        given = top.annotations.get("org.opencontainers.image.ref.name") or ""
        names = (name,) if name else (given,) if ":" in given or "/" in given else ()
        yield Loaded(content.put(raw), config, tuple(layers), names)


def _image_of(files: _Files, entry: Descriptor, architecture: str, depth: int) -> Manifest | None:
    """The manifest for this machine; an index of several platforms may hold only some of them."""
    raw = files.small(_path(entry.digest))
    if digests.of(raw) != entry.digest:
        raise InvalidError(f"invalid archive: {entry.digest} is damaged")
    found = manifests.parse(raw, entry.media_type)
    if not found.is_index:
        return found
    chosen = manifests.choose(found, architecture)
    if chosen is None or depth >= _DEEPEST:
        return None
    return _image_of(files, chosen, architecture, depth + 1)
