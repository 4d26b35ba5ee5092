"""Docker's grammar of references (distribution/reference): what they stand for, what is refused and how."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.oci import digest as digests
from weft.oci.reference import Reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/shop:v1", "localhost:5000/shop:v1", "localhost:5000/shop:v1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("ghcr.io/a/b_c.d-e__f", "ghcr.io/a/b_c.d-e__f:latest", "ghcr.io/a/b_c.d-e__f:latest"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"r.io/x:v1@{DIGEST}", f"r.io/x:v1@{DIGEST}", f"r.io/x:v1@{DIGEST}"),
        ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128, "a:" + "t" * 128),
    ],
)
def test_normalised(text: str, full: str, familiar: str) -> None:
    parsed = Reference.parse(text)
    assert str(parsed) == full
    assert parsed.familiar == familiar
    assert Reference.parse(full) == parsed
    assert Reference.parse(familiar) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "@", "/", "a:", "a@", ":v1", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a b", "a\n", "a:b\n",
        "ä",
        "a:" + "t" * 129, "a" * 256, "a:-v", "a@sha256:12", f"a@{DIGEST.upper()}", "a@md5:" + "0" * 32, "http://a/b",
        "a:v1:v2", "[::1]", "localhost:port/a", "a.b:5000", "a/b:c/d",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    if text == "a.b:5000":  # as Docker: a name and a tag
        assert Reference.parse(text).tag == "5000"
        return
    with pytest.raises(InvalidError, match=r"invalid (reference format|checksum digest format)"):
        Reference.parse(text)


def test_refused_in_dockers_words() -> None:
    with pytest.raises(
        InvalidError, match=r"repository name \(library/Shop\) must be lowercase|\(Shop\) must be lower"
    ):
        Reference.parse("Shop")
    with pytest.raises(InvalidError, match="cannot specify 64-byte hexadecimal strings"):
        Reference.parse("ab" * 32)


@given(st.text(max_size=60))
def test_anything_else_is_refused_cleanly(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except InvalidError:
        return
    assert Reference.parse(str(parsed)) == parsed


def test_chain_ids() -> None:
    """The example of the OCI image spec: ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B))."""
    first, second = digests.of(b"a"), digests.of(b"b")
    assert digests.chain_id([first]) == first
    assert digests.chain_id([first, second]) == digests.of(f"{first} {second}".encode())
