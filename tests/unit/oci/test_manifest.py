"""Manifests and indexes: read, refused, chosen from by platform."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.oci import digest as digests
from weft.oci import manifest as manifests
from weft.oci.manifest import Descriptor

D = digests.of(b"x")
CONFIG = {"mediaType": manifests.OCI_CONFIG, "digest": D, "size": 1}
LAYER = {"mediaType": manifests.OCI_LAYER, "digest": D, "size": 2}


def raw(**values: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **values}).encode()


def test_kinds() -> None:
    found = manifests.parse(raw(config=CONFIG, layers=[LAYER]))
    assert (found.media_type, found.is_index, found.layers[0].size) == (manifests.OCI_MANIFEST, False, 2)
    assert found.digest == digests.of(found.raw)
    docker = manifests.parse(raw(mediaType=manifests.DOCKER_MANIFEST, config=CONFIG, layers=[]))
    assert docker.media_type == manifests.DOCKER_MANIFEST
    index = manifests.parse(raw(manifests=[{**CONFIG, "platform": {"os": "linux"}}]))
    assert (index.is_index, index.manifests[0].platform) == (True, {"os": "linux"})


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"{}", b'{"schemaVersion":1}', b"\xff",
        raw(), raw(layers=[]), raw(config=CONFIG), raw(config=CONFIG, layers={}), raw(config=CONFIG, layers=[None]),
        raw(config={**CONFIG, "size": -1}, layers=[]), raw(config={**CONFIG, "size": True}, layers=[]),
        raw(config={**CONFIG, "size": "1"}, layers=[]), raw(config={**CONFIG, "digest": "sha256:12"}, layers=[]),
        raw(config={**CONFIG, "mediaType": ""}, layers=[]), raw(config=CONFIG, layers=[], annotations=[]),
        raw(config=CONFIG, layers=[], subject=7), raw(mediaType="text/plain", config=CONFIG, layers=[]),
        raw(mediaType=7, config=CONFIG, layers=[]), raw(mediaType={}, config=CONFIG, layers=[]),
        raw(config={**CONFIG, "annotations": 7}, layers=[]), raw(config={**CONFIG, "annotations": "x"}, layers=[]),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_refused(data: bytes) -> None:
    with pytest.raises(InvalidError):
        manifests.parse(data)


def test_a_lie_about_the_media_type() -> None:
    with pytest.raises(InvalidError, match="differs from Content-Type"):
        manifests.parse(raw(mediaType=manifests.OCI_MANIFEST, config=CONFIG, layers=[]), manifests.DOCKER_MANIFEST)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(D),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "digest", "size", "mediaType", "platform", "annotations"]),
        inner, max_size=4,
    ),
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["config", "layers", "manifests", "mediaType", "subject", "annotations"]), values)
)
def test_nothing_but_its_own_error(value: dict[str, Any]) -> None:
    try:
        manifests.parse(json.dumps({"schemaVersion": 2, **value}).encode())
    except InvalidError:
        pass


def test_choice_by_platform() -> None:
    def entry(architecture: str, variant: str = "", **more: Any) -> dict[str, Any]:
        platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {}), **more}
        digest = digests.of(f"{architecture}{variant}{more}".encode())
        return {"mediaType": manifests.OCI_MANIFEST, "digest": digest, "size": 1, "platform": platform}

    entries = [entry("amd64", os="windows"), entry("arm", "v6"), entry("arm", "v7"), entry("amd64")]
    index = manifests.parse(raw(manifests=entries))

    def chosen(architecture: str, variant: str = "") -> str:
        found = manifests.choose(index, architecture, variant)
        return found.digest if found is not None else ""

    assert chosen("amd64") == entries[3]["digest"]
    assert chosen("arm", "v7") == entries[2]["digest"]
    assert chosen("s390x") == ""


def test_descriptors_round_trip() -> None:
    value = {**LAYER, "platform": {"os": "linux"}, "artifactType": "a/b", "annotations": {"k": "v"}}
    assert Descriptor.parse(value, "layer").to_json() == value
