"""Image references: `busybox`, `localhost:5000/shop:v1`, `name@sha256:...` and what they stand for in full.

Source: distribution/reference `reference.go` (grammar) and `normalize.go` (docker.io, library/, latest).
"""

import re
from dataclasses import dataclass
from typing import Self

from weft.core.errors import InvalidError
from weft.oci import digest as digests

DEFAULT_DOMAIN = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference; `tag` and `digest` may both be empty."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str, *, default_tag: bool = True) -> Self:
        """Raises InvalidError in Docker's words. Without tag and digest it means `latest` (unless told not to)."""
        rest, tag, digest = text, "", ""
        if "@" in rest:
            rest, _, digest = rest.partition("@")
            digests.check(digest) if digest.startswith("sha256:") else _refuse()
        last = rest.rfind("/")
        if (colon := rest.rfind(":")) > last:
            rest, tag = rest[:colon], rest[colon + 1 :]
            if not _TAG.fullmatch(tag):
                _refuse()
        domain, path = _split_domain(rest)
        if not path or len(path) > 255:
            _refuse()
        if path.lower() != path:
            raise InvalidError(f"invalid reference format: repository name ({path}) must be lowercase")
        if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(domain):
            _refuse()
        if domain == DEFAULT_DOMAIN and "/" not in path:
            if _HEX.fullmatch(path):
                raise InvalidError(f"invalid repository name ({path}), cannot specify 64-byte hexadecimal strings")
            path = f"library/{path}"
        if not tag and not digest and default_tag:
            tag = "latest"
        return cls(domain, path, tag, digest)

    @property
    def name(self) -> str:
        """The repository in full: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as users write it: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """As users write it, with tag or digest: `busybox:latest`."""
        text = self.familiar_name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text

    @property
    def target(self) -> str:
        """What to ask a registry for: the digest before the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return ("docker.io", rest) if first == "index.docker.io" else (first, rest)
    return DEFAULT_DOMAIN, text


def _refuse() -> None:
    raise InvalidError("invalid reference format")
