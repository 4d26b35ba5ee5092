"""Manifests and indexes, of OCI and of Docker: read with checks, written in the one form that they came in.

Source: OCI image spec 1.1 manifest.md, image-index.md; distribution `docs/spec/manifest-v2-2.md`.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from weft.core.errors import InvalidError
from weft.oci import digest as digests

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
ALL = (*MANIFESTS, *INDEXES)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content: its media type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    platform: dict[str, Any] = field(default_factory=dict)
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any, where: str) -> "Descriptor":
        if not isinstance(value, dict):
            raise InvalidError(f"manifest invalid: {where} is not a descriptor")
        size = value.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidError(f"manifest invalid: {where}.size is not a length in bytes")
        media_type = value.get("mediaType")
        if not isinstance(media_type, str) or not media_type:
            raise InvalidError(f"manifest invalid: {where}.mediaType is missing")
        platform = value.get("platform") or {}
        if not isinstance(platform, dict):
            raise InvalidError(f"manifest invalid: {where}.platform is not an object")
        return cls(
            media_type, digests.check(value.get("digest")), size, platform,
            str(value.get("artifactType") or ""), _annotations(value, where),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            value["platform"] = self.platform
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = self.annotations
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image's manifest (config and layers) or, with `manifests`, an index."""

    media_type: str
    raw: bytes
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def digest(self) -> str:
        return digests.of(self.raw)


def parse(raw: bytes, media_type: str = "") -> Manifest:
    """Reads and checks a manifest or index; `media_type` is what the transport said. Raises InvalidError."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"manifest invalid: not JSON: {error}") from None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise InvalidError("manifest invalid: schemaVersion is not 2")
    if not isinstance(value.get("mediaType", ""), str):
        raise InvalidError("manifest invalid: mediaType is not a text")
    kind = value.get("mediaType") or media_type.split(";")[0].strip()
    if not kind:
        kind = OCI_INDEX if "manifests" in value else OCI_MANIFEST
    if media_type and value.get("mediaType") and media_type.split(";")[0].strip() != kind:
        raise InvalidError(f"manifest invalid: mediaType {kind} differs from Content-Type {media_type}")
    subject = Descriptor.parse(value["subject"], "subject") if value.get("subject") else None
    annotations = _annotations(value, "manifest")
    common: dict[str, Any] = {
        "subject": subject,
        "artifact_type": str(value.get("artifactType") or ""),
        "annotations": annotations,
    }
    if kind in INDEXES:
        entries = _list(value, "manifests")
        return Manifest(
            kind, raw, manifests=tuple(Descriptor.parse(e, f"manifests[{i}]") for i, e in enumerate(entries)), **common
        )
    if kind not in MANIFESTS:
        raise InvalidError(f"manifest invalid: media type {kind} is not supported")
    layers = tuple(Descriptor.parse(e, f"layers[{i}]") for i, e in enumerate(_list(value, "layers")))
    return Manifest(kind, raw, config=Descriptor.parse(value.get("config"), "config"), layers=layers, **common)


def _annotations(value: dict[str, Any], where: str) -> dict[str, str]:
    found = value.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise InvalidError(f"manifest invalid: annotations of {where} are not texts by name")
    return found


def _list(value: dict[str, Any], key: str) -> list[Any]:
    entries = value.get(key)
    if not isinstance(entries, list):
        raise InvalidError(f"manifest invalid: {key} is not a list")
    return entries


def build(config: Descriptor, layers: list[Descriptor]) -> Manifest:
    """A Docker schema 2 manifest of a local image, the form that every client takes."""
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    raw = json.dumps(value, indent=3).encode()
    return Manifest(DOCKER_MANIFEST, raw, config=config, layers=tuple(layers))


def choose(index: Manifest, architecture: str, variant: str = "") -> Descriptor | None:
    """The entry of an index for linux on `architecture`."""
    found = None
    for entry in index.manifests:
        platform = entry.platform
        if platform.get("os", "linux") != "linux" or platform.get("architecture") != architecture:
            continue
        if entry.media_type not in MANIFESTS:
            continue
        if not variant or platform.get("variant", variant) == variant:
            return entry
        found = found or entry
    return found
